// What a cancel of the device leaves of trees and clusters: the addon's own functions, as the classes above them free
// what they were cancelled on.

import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { openDevice } from '../support/devices.js'

const ABORTED = { code: 'ABORTED' }
/** Of a trainer of three classes and many leaves, as lib/ops/gbrt_trainer.ts puts them. */
const OPTIONS = [2, 3, 64, -1, 0.1, 1, 1e-3, 0, 0, 0, 1, 0, 1, 0, 32, 4, 10, 10, 100, 1, 1, 0, 0]

/** Work of some milliseconds, behind which a cancel finds what was queued. */
function hold(device: ReturnType<typeof openDevice>): void {
  const tensor = Tensor.empty(device, 'float32', [1 << 24])
  for (let i = 0; i < 4; i++) tensor.fill(i)
}

describe('a cancel of the device', () => {
  const [rows, features] = [20_000, 20]
  const values = Float32Array.from({ length: rows * features }, (_, i) => (i * 7919) % 1009)

  it('leaves whole trees to a trainer, which begins anew', async () => {
    const device = openDevice({ threads: 2 })
    const matrix = await BinnedMatrix.from(device, { values, features })
    const trainer = binding.gbrt_trainer_create(matrix.handle, OPTIONS, null)
    const targets = Float32Array.from({ length: rows }, (_, r) => values[r * features] % 3)
    const begin = () => binding.gbrt_trainer_begin(trainer, targets, null, null, null, 0)
    for (const rounds of [1, 2, 3, 5, 7]) {
      await begin()
      const boosted = binding.gbrt_trainer_boost(trainer, 1000, 0, null, null, null)
      while (binding.gbrt_trainer_rounds(trainer) < rounds) await new Promise(resolve => setImmediate(resolve))
      binding.stream_cancel(device.handle)
      await expect(boosted).rejects.toMatchObject(ABORTED)
      const { numLeaves, splitFeature, leafValue } = binding.gbrt_trainer_model(trainer)
      const leaves = numLeaves.reduce((sum, count) => sum + count, 0)
      expect(numLeaves.length).toBe(3 * binding.gbrt_trainer_rounds(trainer))
      expect([leafValue.length, splitFeature.length]).toEqual([leaves, leaves - numLeaves.length])
      const again = binding.gbrt_trainer_boost(trainer, 1, 0, null, null, null)
      await expect(again).rejects.toThrow(/a fit that has begun before boost but received none/)
    }
    await begin()
    await binding.gbrt_trainer_boost(trainer, 1, 0, null, null, null)
    expect(binding.gbrt_trainer_model(trainer).numLeaves.length).toBe(3)
  })

  it('is no row of a matrix: what was not written is not read', async () => {
    const device = openDevice({ threads: 1 })
    const matrix = await BinnedMatrix.from(device, { values, features })
    const like = binding.binned_like(matrix.handle)
    binding.binned_reserve(like, rows)
    hold(device)
    const half = rows / 2
    const first = binding.binned_append(like, 0, values, 0, half)
    binding.stream_cancel(device.handle)
    await expect(first).rejects.toMatchObject(ABORTED)
    await binding.binned_append(like, half, values, half, half)
    const missing = /a matrix whose rows were all written but received 200000 of 400000 bins/
    await expect(binding.binned_read(like, 0, 10)).rejects.toThrow(missing)
    await expect(binding.binned_check(like)).rejects.toThrow(missing)
    const trainer = binding.gbrt_trainer_create(like, OPTIONS, null)
    const targets = new Float32Array(rows)
    await expect(binding.gbrt_trainer_begin(trainer, targets, null, null, null, 0)).rejects.toThrow(missing)
    // Also what a promise of the addon resolves to: the handle that it was called with.
    expect(await binding.binned_append(like, 0, values, 0, half)).toBe(like)
    expect(await binding.binned_read(like, 0, rows * features)).toEqual(await matrix.readKept())
  })

  it('is no row of K-Means', async () => {
    const device = openDevice({ threads: 1 })
    const problem = binding.kmeans_create(device.handle, 1000, 2, 3, 0, 1)
    hold(device)
    const appended = binding.kmeans_append(problem, values.subarray(0, 2000), 0, 1000)
    binding.stream_cancel(device.handle)
    await expect(appended).rejects.toMatchObject(ABORTED)
    await expect(binding.kmeans_begin(problem, null)).rejects.toThrow(/all rows to be written but received 0/)
  })

  it('leaves K-Means no bounds that are wrong: rows still find their nearest centre', async () => {
    // Most of a step's time is spent on how far centres are apart, and far centres that begin together move much.
    const [points, clusters, width] = [6000, 1500, 2]
    const device = openDevice({ threads: 2 })
    const data = Float32Array.from({ length: points * width }, (_, i) => Math.sin(i * i))
    const start = Float32Array.from({ length: clusters * width }, (_, i) => Math.sin(i * i * i) / 100)
    for (let attempt = 0; attempt < 40; attempt++) {
      const problem = binding.kmeans_create(device.handle, points, width, clusters, 0, 1)
      await binding.kmeans_append(problem, data, 0, points)
      await binding.kmeans_begin(problem, start)
      await binding.kmeans_step(problem, 1 + (attempt % 4))
      const step = binding.kmeans_step(problem, 1).then(
        () => 'ended',
        () => 'cancelled',
      )
      for (const until = performance.now() + (attempt % 10) * 0.7; performance.now() < until; );
      binding.stream_cancel(device.handle)
      await step
      const { centers, assigned } = await binding.kmeans_finish(problem)
      const distance = (row: number, k: number) => {
        let sum = 0
        for (let f = 0; f < width; f++) sum += (data[row * width + f] - centers[k * width + f]) ** 2
        return sum
      }
      for (let row = 0; row < points; row++) {
        const own = distance(row, assigned[row])
        for (let k = 0; k < clusters; k++) {
          // float32 sums of two squares.
          if (distance(row, k) < own - 1e-5) expect.fail(`row ${row} is nearer to ${k} than to ${assigned[row]}`)
        }
      }
    }
  })
})
