// Several cards in one machine: each device has its own, and none notices the other.

import { describe, expect, it } from 'vitest'
import { encodeSource, fitEncoding } from '../../lib/events/index.js'
import { toLightgbm } from '../../lib/export/lightgbm.js'
import { cudaStatus, Device, Encoder, GbrtTrainer, IsolationForest, Tensor } from '../../lib/index.js'
import { add } from '../../lib/ops/add.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { smallSource } from '../support/small_source.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 1 ? '' : ` (skipped: ${missing || 'there is one'})`

describe.skipIf(devices.length < 2)(`cards${reason}`, () => {
  const open = (index: number) => openDevice({ kind: 'cuda', index })

  /** Uploads of all sizes, kernels of both kinds, and the host in between. */
  async function results(device: Device) {
    const random = new TestRandom(3)
    const values = Float32Array.from({ length: 300_000 }, () => random.normal())
    const [x, y] = [Tensor.from(device, values), Tensor.from(device, values)]
    const sums = await add(x, y).read()
    const columns = [0, 1, 2].map(c => values.slice(c * 500, (c + 1) * 500))
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { objective: 'logistic', numIterations: 2 })
    const { model } = await trainer.fit({ targets: columns[0].map(value => Number(value > 0)) })
    trainer.dispose()
    matrix.dispose()
    const forest = await IsolationForest.fit(device, { columns }, { trees: 5 })
    const scores = await forest.score({ columns })
    const source = smallSource(6)
    const encoding = await fitEncoding(source)
    const encoder = new Encoder(encoding, { width: 16, blocks: 1, heads: 2 }, { device })
    const { vectors } = await encoder.encodeBlock(await encodeSource(source, encoding))
    encoder.dispose()
    return { sums, model: toLightgbm(model), scores, vectors }
  }

  it('work side by side, with the bits of one alone', async () => {
    const alone = await results(open(0))
    expect(alone.vectors.every(Number.isFinite)).toBe(true)
    for (const one of await Promise.all([0, 1].map(index => results(open(index))))) expect(one).toEqual(alone)
  })

  it('are closed one by one', async () => {
    const [first, second] = [new Device({ kind: 'cuda', index: 0 }), open(1)]
    const x = Tensor.from(second, Float32Array.of(1, 2, 3))
    first.close()
    expect([...(await add(x, x).read())]).toEqual([2, 4, 6])
    const again = open(0)
    expect([...(await Tensor.from(again, Float32Array.of(7)).read())]).toEqual([7])
  })

  it('do not mix: an op takes tensors of one', () => {
    const [x, y] = [0, 1].map(index => Tensor.from(open(index), Float32Array.of(1)))
    expect(() => add(x, y)).toThrow(/a tensor of another/)
  })

  it('have numbers', () => {
    expect(() => open(devices.length)).toThrow(
      `expected a card from 0 to ${devices.length - 1} but received ${devices.length}`,
    )
  })
})
