import { describe, expect, it } from 'vitest'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { GbrtModel } from '../../lib/trees/model.js'
import { openDevice } from '../support/devices.js'
import { watchTurns } from '../support/turns.js'

const device = openDevice({ threads: 1 })

/** One tree, each node of which sends the categories of the one list there is to a leaf; node i is split on featureOf(i). */
function listed(nodes: number, words: Int32Array, features = 1, featureOf = (_: number) => 0): GbrtModel {
  const leaves = new Float64Array(nodes + 1).fill(1)
  const zeros = new Float64Array(nodes)
  const names = Array.from({ length: features }, (_, f) => `f${f}`)
  return new GbrtModel(
    { objective: 'squared', numClass: 1, names, featureInfos: names.map(() => '0:1:2') },
    {
      numLeaves: Int32Array.of(nodes + 1),
      splitFeature: Int32Array.from(zeros, (_, i) => featureOf(i)),
      threshold: zeros,
      decision: new Uint8Array(nodes).fill(1),
      leftChild: Int32Array.from(zeros, (_, i) => -1 - i),
      rightChild: Int32Array.from(zeros, (_, i) => (i < nodes - 1 ? i + 1 : -1 - nodes)),
      leafValue: leaves,
      leafWeight: leaves,
      leafCount: leaves,
      internalCount: zeros,
      internalWeight: zeros,
      internalValue: zeros,
      splitGain: zeros,
      categoryStart: Int32Array.of(0, words.length),
      categoryWords: words,
    },
  )
}

/** Columns of the categories from 0 below each of these numbers. */
function binned(...categories: number[]): Promise<BinnedMatrix> {
  const columns = categories.map(count => Int32Array.from({ length: 600 }, (_, r) => r % count))
  return BinnedMatrix.from(device, { columns }, { categorical: categories.map((_, f) => f) })
}

describe('predictions of bins', () => {
  // Other processes may keep this one from the cores for as long: hence the further tries.
  it('let the event loop run where very many nodes name one long list, and stop when told', { retry: 4 }, async () => {
    const words = new Int32Array(65_535)
    words[0] = 0b11
    const [matrix, model] = [await binned(2), listed(20_000, words)]
    let predicted: Float64Array | undefined
    const { longest, total } = await watchTurns(async () => {
      predicted = await model.predictBinned(matrix)
    })
    expect(predicted).toEqual(new Float64Array(600).fill(1))
    // Reading the list for each node would take minutes.
    expect(total).toBeLessThan(1000)
    expect(longest).toBeLessThan(50)
    const controller = new AbortController()
    const stopped = listed(20_000, words).predictBinned(matrix, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(stopped).rejects.toThrow('enough')
  })

  it('are refused for a list with a category that a column does not have, whoever else names the list', async () => {
    const list = Int32Array.of(0b101, 0, 1 << 31)
    await expect(listed(3, list).predictBinned(await binned(3))).rejects.toThrow(/a matrix with category 95 but/)
    const shared = listed(4, Int32Array.of(0b100), 2, i => i % 2)
    expect((await shared.predictBinned(await binned(3, 3))).length).toBe(600)
    await expect(shared.predictBinned(await binned(3, 2))).rejects.toThrow(/a matrix with category 2 but/)
    const all = listed(1, new Int32Array(2048).fill(-1))
    await expect(all.predictBinned(await binned(3))).rejects.toThrow(/a matrix with category 3 but/)
  })
})
