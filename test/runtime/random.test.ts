import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { fastPhilox, keyed } from '../../lib/runtime/random.js'
import { Philox, philox4x32 } from '../../lib/util/philox.js'
import { TestRandom } from '../support/random.js'

const seeds: readonly [seed: number, stream: number][] = [
  [0, 0],
  [1, 7],
  [7 + 2 ** 32, 0xffffffff],
  [Number.MAX_SAFE_INTEGER, 0x80000000],
]

describe('philox_blocks', () => {
  it.each([0, 1, 7, 8, 9, 31])('writes %i blocks as philox4x32 defines them', blocks => {
    for (const [seed, stream] of seeds) {
      for (const first of [0, 5, 2 ** 32 - 4, 2 ** 40]) {
        const got = new Uint32Array(4 * blocks + 4).fill(0xabcdef)
        binding.philox_blocks(seed, stream, first, got.subarray(0, 4 * blocks))
        const want = new Uint32Array(4 * blocks + 4).fill(0xabcdef)
        for (let b = 0; b < blocks; b++) {
          const n = first + b
          const [low, high] = [n >>> 0, Math.floor(n / 2 ** 32)]
          philox4x32(low, high, stream, 0, seed >>> 0, Math.floor(seed / 2 ** 32), want, 4 * b)
        }
        expect(got).toEqual(want)
      }
    }
  })

  it('refuses what it cannot fill', () => {
    const fill = (seed: unknown, stream: unknown, first: unknown, out: unknown) => () =>
      binding.philox_blocks(seed as number, stream as number, first as number, out as Uint32Array)
    expect(fill(1, 0, 0, new Uint32Array(6))).toThrow(/out of four words/)
    expect(fill(1, 0, 0, new Int32Array(4))).toThrow(TypeError)
    expect(fill(1, 0, 0, new Uint32Array(new SharedArrayBuffer(16)))).toThrow(/shared memory/)
    expect(fill(-1, 0, 0, new Uint32Array(4))).toThrow(/seed/)
    expect(fill(1, 2 ** 32, 0, new Uint32Array(4))).toThrow(/stream/)
    expect(fill(1, 0, 0.5, new Uint32Array(4))).toThrow(/first/)
    const gone = new Uint32Array(4)
    structuredClone(gone, { transfer: [gone.buffer] })
    expect(fill(1, 0, 0, gone)).toThrow(TypeError)
  })
})

describe('fastPhilox', () => {
  it('draws the numbers of Philox, over all lengths that it draws ahead', () => {
    for (const [seed, stream] of seeds) {
      const got = fastPhilox(seed, stream)
      const want = new Philox(seed, stream)
      let differing = 0
      for (let i = 0; i < 60_000; i++) if (got.uint32() !== want.uint32()) differing++
      expect(differing).toBe(0)
    }
  })

  it('draws the same, whatever is asked for in between', () => {
    const random = new TestRandom(4)
    for (const [seed, stream] of seeds) {
      const got = fastPhilox(seed, stream)
      const want = new Philox(seed, stream)
      for (let i = 0; i < 300; i++) {
        const kind = random.integer(0, 5)
        const count = random.integer(1, 300)
        const draw = (rng: Philox) => {
          if (kind === 0) return rng.uint32()
          if (kind === 1) return rng.uniform()
          if (kind === 2) return rng.below(count)
          if (kind === 3) return rng.normal()
          if (kind === 4) return [...rng.shuffle(Int32Array.from({ length: count }, (_, v) => v))]
          return [...rng.lots(count, 0.3)]
        }
        expect(draw(got)).toEqual(draw(want))
      }
    }
  })
})

describe('keyed', () => {
  it('leaves no bit of a seed out, and is another seed for another key', () => {
    const given = [0, 1, 0x5eed, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER]
    const keys = [0x5eed, 0x5a3c, 2 ** 32 - 1]
    for (const key of keys) {
      const made = given.map(seed => keyed(seed, key))
      expect(made.every(seed => Number.isSafeInteger(seed) && seed >= 0)).toBe(true)
      expect(made.map(seed => keyed(seed, key))).toEqual(given)
    }
    for (const seed of given) expect(new Set(keys.map(key => keyed(seed, key))).size).toBe(keys.length)
    // Runs with seeds below 2³² rest on these bits.
    expect(keyed(1, 0x5eed)).toBe(0x5eec)
    expect(keyed(2 ** 32 - 1, 0x5eed)).toBe(0xffffa112)
  })
})
