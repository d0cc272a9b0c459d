import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { gbrtHistogram, HISTOGRAM_CELLS } from '../../lib/ops/gbrt_histogram.js'
import { gbrtHistogram as reference } from '../../lib/reference/gbrt_histogram.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import type { Device } from '../../lib/runtime/device.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { permutation } from '../support/tables.js'

const SHIFT = 30

/** A matrix, and gradients within the general format: |g| ≤ w·2²⁰, 0 ≤ h ≤ w·2¹⁷. */
async function problem(device: Device, rows: number, features: number, weight = 1, extreme = false) {
  const random = new TestRandom(rows * 31 + features)
  // Skewed: some columns have few values, so that one cell takes most rows.
  const columns = Array.from({ length: features }, (_, f) =>
    Float32Array.from({ length: rows }, () => (f % 3 === 0 ? random.integer(0, 3) ** 3 : random.normal())),
  )
  const matrix = await BinnedMatrix.from(device, { columns })
  const g = new BigInt64Array(rows)
  const h = new BigInt64Array(rows)
  const packed = new BigInt64Array(rows)
  for (let r = 0; r < rows; r++) {
    const w = extreme ? weight : random.integer(1, weight)
    g[r] = BigInt((extreme ? (rows % 2 ? -1 : 1) * 2 ** 20 : random.integer(-(2 ** 20), 2 ** 20)) * w)
    h[r] = BigInt((extreme ? 2 ** 17 : random.integer(0, 2 ** 17)) * w)
    packed[r] = (g[r] << BigInt(SHIFT)) + h[r]
  }
  const halves = Tensor.from(device, new Int32Array(packed.buffer), [rows, 2])
  return { matrix, bins: await matrix.read(), g, h, halves }
}

type Problem = Awaited<ReturnType<typeof problem>>

async function histogram(p: Problem, rows: Int32Array | null, weight = 1): Promise<BigInt64Array> {
  const { device } = p.matrix
  const index = rows ? Tensor.from(device, rows) : undefined
  return new BigInt64Array((await gbrtHistogram(p.matrix, p.halves, SHIFT, index, weight).read()).buffer)
}

const expected = (p: Problem, rows: Iterable<number>) =>
  reference(p.bins, p.matrix.features, p.g, p.h, rows, HISTOGRAM_CELLS)

describe('gbrt_histogram', () => {
  describe.each(everyVariant())('%s', (variant, device) => {
    it.each([
      [1, 1],
      [7, 3],
      [300, 8],
      [4097, 31],
      [9000, 33],
      [500, 70],
    ])('equals the reference, (%i, %i)', async (rows, features) => {
      const p = await problem(device, rows, features)
      expect(await histogram(p, null)).toEqual(expected(p, p.g.keys()))
      const some = permutation(rows, 3).subarray(0, Math.ceil(rows / 3))
      expect(await histogram(p, some)).toEqual(expected(p, some))
    })

    it('equals the reference for weights up to 8191', async () => {
      for (const weight of [2, 3, 30, 100, 4096, 8191]) {
        const p = await problem(device, 600, 5, weight)
        expect(await histogram(p, null, weight)).toEqual(expected(p, p.g.keys()))
      }
    })

    it('does not overflow where every row has the largest gradient and one bin', async () => {
      for (const rows of [8191, 8192, 20_000, 20_001]) {
        const p = await problem(device, rows, 3, 1, true)
        expect(await histogram(p, null)).toEqual(expected(p, p.g.keys()))
      }
      const heavy = await problem(device, 50, 3, 8191, true)
      expect(await histogram(heavy, null, 8191)).toEqual(expected(heavy, heavy.g.keys()))
    })

    it('gives the same for 1, 2 and 3 threads', async () => {
      const results = await Promise.all(
        [1, 2, 3].map(async threads => histogram(await problem(openDevice({ variant, threads }), 30_000, 9), null)),
      )
      expect(results[1]).toEqual(results[0])
      expect(results[2]).toEqual(results[0])
    })
  })

  it('of a parent is the sum of those of its children, in any order of rows', async () => {
    const p = await problem(openDevice(), 10_000, 12)
    const order = permutation(10_000, 9)
    const parent = await histogram(p, order)
    const left = await histogram(p, order.subarray(0, 3333))
    const right = await histogram(p, order.subarray(3333))
    expect(left.map((value, i) => value + right[i])).toEqual(parent)
    expect(await histogram(p, null)).toEqual(parent)
  })

  it('takes no rows', async () => {
    const p = await problem(openDevice(), 10, 2)
    expect(await histogram(p, new Int32Array(0))).toEqual(expected(p, []))
  })

  it('refuses rows outside the matrix, wrong shapes and foreign handles', async () => {
    const device = openDevice()
    const p = await problem(device, 10, 2)
    await expect(histogram(p, Int32Array.of(3, 10))).rejects.toThrow(/row_index in \[0, rows\) but received 10/)
    await expect(histogram(p, Int32Array.of(-1))).rejects.toThrow(RangeError)
    const short = Tensor.zeros(device, 'int32', [9, 2])
    expect(() => gbrtHistogram(p.matrix, short, SHIFT)).toThrow(/packed of shape \(10, 2\)/)
    expect(() => gbrtHistogram(p.matrix, p.halves, 63)).toThrow(RangeError)
    expect(() => gbrtHistogram(p.matrix, p.halves, SHIFT, undefined, 8192)).toThrow(RangeError)
    const out = Tensor.zeros(device, 'int32', [2, 2, 256, 2])
    const notMatrix = p.halves.handle as never
    const call = () => binding.gbrt_histogram(device.handle, notMatrix, p.halves.handle, null, 30, 1, out.handle)
    expect(call).toThrow(/expected a binned matrix but received int32 tensor/)
    const other = Tensor.zeros(openDevice(), 'int32', [10, 2])
    expect(() => gbrtHistogram(p.matrix, other, SHIFT)).toThrow(/another/)
    p.matrix.dispose()
    expect(() => gbrtHistogram(p.matrix, p.halves, SHIFT)).toThrow(/freed/)
  })
})
