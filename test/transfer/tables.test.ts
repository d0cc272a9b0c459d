// Tables side by side: columns of vectors, and columns of other tables in the order of some ids.

import { describe, expect, it } from 'vitest'
import { alignColumn, type FeatureTable, vectorColumns } from '../../lib/index.js'

describe('vectorColumns', () => {
  it('has a column per number of a vector, named as in files', async () => {
    const vectors = Float32Array.of(1, 2, 3, 4, 5, 6)
    expect(await vectorColumns({ ids: ['a', 'b'], width: 3, vectors })).toEqual({
      v0: Float64Array.of(1, 4),
      v1: Float64Array.of(2, 5),
      v2: Float64Array.of(3, 6),
    })
    expect(await vectorColumns({ ids: [], width: 1, vectors: new Float32Array(0) })).toEqual({
      v0: new Float64Array(0),
    })
    expect(vectors).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6))
  })

  it('covers more rows than are copied between two turns of the event loop', async () => {
    const rows = 150_001
    const ids = Array.from({ length: rows }, (_, i) => `u${i}`)
    const { v0, v1 } = await vectorColumns({
      ids,
      width: 2,
      vectors: Float32Array.from({ length: 2 * rows }, (_, i) => i),
    })
    expect(v0.every((value, i) => value === 2 * i)).toBe(true)
    expect(v1.every((value, i) => value === 2 * i + 1)).toBe(true)
  })

  it('refuses sizes that disagree', async () => {
    const vectors = new Float32Array(5)
    const message = '[vectorColumns] expected 6 values of vectors (2 × 3) but received 5'
    await expect(vectorColumns({ ids: ['a', 'b'], width: 3, vectors })).rejects.toThrow(new RangeError(message))
    await expect(vectorColumns({ ids: [], width: 0, vectors })).rejects.toThrow(/vectors of width ≥ 1 but received 0/)
  })
})

describe('alignColumn', () => {
  const table: FeatureTable = { ids: ['b', 'c', 'a'], columns: { risk: Float64Array.of(1, Number.NaN, 0) } }

  it('has one number per id: that of the table, or NaN', async () => {
    const want = Float64Array.of(0, 1, Number.NaN, Number.NaN, 0)
    expect(await alignColumn(table, 'risk', ['a', 'b', 'c', 'stranger', 'a'])).toEqual(want)
    expect(await alignColumn(table, 'risk', [])).toEqual(new Float64Array(0))
    const ids = Array.from({ length: 5000 }, (_, i) => `u${(7 * i) % 5000}`)
    const places = Float64Array.from(ids, id => Number(id.slice(1)))
    const many = { ids, columns: { place: places } }
    expect(await alignColumn(many, 'place', ids.toReversed())).toEqual(places.toReversed())
  })

  it('refuses a column that is not there, and ids that repeat', async () => {
    for (const name of ['risks', 'toString']) {
      const message = `[alignColumn] expected a column '${name}' but received [risk]; columns of numbers count`
      await expect(alignColumn(table, name, ['a'])).rejects.toThrow(new RangeError(message))
    }
    const twice = { ...table, ids: ['b', 'c', 'b'] }
    await expect(alignColumn(twice, 'risk', ['a'])).rejects.toThrow(/every id of the table once but received \[b, b\]/)
  })
})
