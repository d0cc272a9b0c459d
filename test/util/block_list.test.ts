import { describe, expect, it } from 'vitest'
import { BlockList } from '../../lib/util/block_list.js'

describe('BlockList', () => {
  it.each([0, 1, 4095, 4096, 4097, 10_000])('keeps %i values where they were put', length => {
    const list = new BlockList<number>()
    for (let i = 0; i < length; i++) list.push(3 * i)
    for (let i = 0; i < length; i += 5) list.set(i, -i)
    expect(list.length).toBe(length)
    const want = Array.from({ length }, (_, i) => (i % 5 === 0 ? -i : 3 * i))
    expect(Array.from({ length }, (_, i) => list.get(i))).toEqual(want)
  })
})
