import { expect, test } from 'vitest'
import { ArrayPool } from '../../lib/util/array_pool.js'

test('gives arrays of the wanted type and length, none over another', () => {
  const pool = new ArrayPool()
  for (const length of [0, 1, 4095, 4096, 10_001]) {
    const arrays = [pool.int32(length), pool.float32(length), pool.float64(length), pool.int32(length)]
    expect(arrays.map(({ length }) => length)).toEqual(Array(4).fill(length))
    expect(arrays[0]).toBeInstanceOf(Int32Array)
    expect(arrays[1]).toBeInstanceOf(Float32Array)
    expect(arrays[2]).toBeInstanceOf(Float64Array)
    expect(new Set(arrays.map(({ buffer }) => buffer)).size).toBe(4)
  }
})

test('gives memory again once it may, and to one at a time', () => {
  const pool = new ArrayPool()
  const first = pool.int32(10_000)
  expect(pool.int32(10_000).buffer).not.toBe(first.buffer)
  pool.reuse()
  // A little longer than before still fits.
  const again = [pool.float32(10_500), pool.int32(9000)]
  expect(again.map(({ buffer }) => buffer)).toContain(first.buffer)
  expect(again[0].buffer).not.toBe(again[1].buffer)
})

test('lets go of what one round had no use for', () => {
  const pool = new ArrayPool()
  const { buffer } = pool.int32(100_000)
  pool.reuse()
  pool.reuse()
  expect(pool.int32(100_000).buffer).not.toBe(buffer)
})
