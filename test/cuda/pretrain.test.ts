// The whole of training and encoding on a card: near the CPU's numbers, the same bits in two runs and resumed, cancelled
// at once, and clear about what it lacks.

import { describe, expect, it } from 'vitest'
import { gruConfig } from '../../lib/encoder/config.js'
import { cudaStatus, Device, type PretrainOptions, pretrain, Tensor } from '../../lib/index.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { smallSource } from '../support/small_source.js'
import { stopAfter } from '../support/stops.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`
const source = smallSource()
const small: PretrainOptions = {
  width: 16,
  blocks: 2,
  heads: 2,
  attentionSize: 8,
  dropout: 0.1,
  batchEvents: 256,
  epochs: 3,
  seed: 1,
}

async function train(options: PretrainOptions) {
  const { encoder, log } = await pretrain(source, options)
  const values = await Promise.all(encoder.parameters.map(parameter => parameter.value.read()))
  const { vectors } = await encoder.encode(source)
  encoder.dispose()
  return { weights: Float32Array.from(values.flatMap(array => [...array])), vectors, loss: log.at(-1)!.loss }
}

// What trains there needs one; the name says why there is none.
describe.skipIf(devices.length === 0)(`training on a card${reason}`, () => {
  it('comes near the CPU, and to the same bits twice', async () => {
    const cpu = await train({ ...small, device: openDevice() })
    const first = await train({ ...small, device: openDevice({ kind: 'cuda' }) })
    const second = await train({ ...small, device: openDevice({ kind: 'cuda' }) })
    expectSameBits(second.weights, first.weights, 'weights')
    expectSameBits(second.vectors, first.vectors, 'vectors')
    // Rounding differs from the first step on, and AdamW divides by small gradients' sizes.
    expect(Math.abs(first.loss - cpu.loss)).toBeLessThan(1e-3 * cpu.loss)
    expectClose(first.vectors, cpu.vectors, { absolute: 0, relative: 2e-2 }, 'vectors')
  })

  it.each(['block', 'fixed', 'full'] as const)('trains with %s attention in bfloat16', async attention => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    const { log, encoder } = await pretrain(source, { ...small, attention, epochs: 8, device })
    expect(log.at(-1)!.loss).toBeLessThan(0.9 * log[0].loss)
    encoder.dispose()
  })

  it('trains a recurrent encoder near the CPU, to the same bits twice', async () => {
    const options = { ...small, ...gruConfig(16), dropout: 0 }
    const cpu = await train({ ...options, device: openDevice() })
    const [first, second] = [
      await train({ ...options, device: openDevice({ kind: 'cuda' }) }),
      await train({ ...options, device: openDevice({ kind: 'cuda' }) }),
    ]
    expectSameBits(second.weights, first.weights, 'weights')
    expect(Math.abs(first.loss - cpu.loss)).toBeLessThan(1e-3 * cpu.loss)
  })

  it('trains in bfloat16 to the same bits twice, and near float32', async () => {
    const [exact, first, second] = [
      await train({ ...small, device: openDevice({ kind: 'cuda' }) }),
      await train({ ...small, device: openDevice({ kind: 'cuda', precision: 'bfloat16' }) }),
      await train({ ...small, device: openDevice({ kind: 'cuda', precision: 'bfloat16' }) }),
    ]
    expectSameBits(second.weights, first.weights, 'weights')
    expectSameBits(second.vectors, first.vectors, 'vectors')
    // Each activation errs by up to 2⁻⁸ of itself in every step, and AdamW divides by small gradients' sizes.
    expect(Math.abs(first.loss - exact.loss)).toBeLessThan(3e-2 * exact.loss)
  })

  it.each(['float32', 'bfloat16'] as const)(
    'resumes to the same bits as an uninterrupted run (%s)',
    async precision => {
      const device = openDevice({ kind: 'cuda', precision })
      const whole = await train({ ...small, device })
      const out = temporaryFolder()
      await stopAfter(5, control => pretrain(source, { ...small, device, out, ...control }))
      const resumed = await train({ ...small, device, out, resume: true })
      expectSameBits(resumed.weights, whole.weights, 'weights')
    },
  )

  it('takes the card for enough work, and the CPU for little', () => {
    for (const [options, kind] of [
      [{}, 'cpu'],
      [{ work: 1e12 }, 'cuda'],
      [{ tableValues: 1e8 }, 'cuda'],
    ] as const) {
      const device = new Device(options)
      expect(device.kind).toBe(kind)
      device.close()
    }
  })

  it('names the sizes when memory is out, and works on', async () => {
    const device = openDevice({ kind: 'cuda', guard: false })
    const tebi = 2 ** 38 // floats
    expect(() => Tensor.empty(device, 'float32', [tebi])).toThrow(
      expect.objectContaining({ code: 'OUT_OF_MEMORY', message: expect.stringMatching(/1099511627776 bytes/) }),
    )
    const x = Tensor.from(device, Float32Array.of(1, 2, 3))
    expect([...(await x.read())]).toEqual([1, 2, 3])
  })

  it('refuses a card that is not there', () => {
    expect(() => new Device({ kind: 'cuda', index: 1000 })).toThrow(/expected a card from 0 to/)
  })

  // Other processes may keep this one from the cores for as long: hence the further tries.
  it('cancels within 100 ms', { retry: 4 }, async () => {
    const device = openDevice({ kind: 'cuda', guard: false })
    const x = Tensor.zeros(device, 'float32', [2 ** 26])
    const y = Tensor.zeros(device, 'float32', [2 ** 26])
    for (let i = 0; i < 20_000; i++) y.copyFrom(x)
    const reading = y.view(0, [1]).read()
    const begun = performance.now()
    device.cancel()
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' })
    expect(performance.now() - begun).toBeLessThan(100)
    expect([...(await x.view(0, [1]).read())]).toEqual([0])
  })
})

// What is said where a card is missing can be seen there alone.
describe.skipIf(devices.length > 0)('without a card', () => {
  it('says what is missing', () => {
    expect(missing).not.toBe('')
    expect(() => new Device({ kind: 'cuda' })).toThrow(
      expect.objectContaining({ code: 'NO_CUDA', message: expect.stringContaining("use device 'cpu' or 'auto'") }),
    )
    expect(new Device({ work: 1e12 }).kind).toBe('cpu')
  })
})
