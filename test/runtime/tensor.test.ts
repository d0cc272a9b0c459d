import { describe, expect, it } from 'vitest'
import { AdamW } from '../../lib/runtime/optimizer.js'
import { Parameter } from '../../lib/runtime/tape.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { openDevice } from '../support/devices.js'

describe('what is derived from a tensor', () => {
  const twice = (tensor: Tensor<'float32'>) => Tensor.zeros(tensor.device, 'float32', tensor.shape).copyFrom(tensor)

  it('is made once, and lives on behind the scope that it was made in', async () => {
    const tensor = Tensor.from(openDevice(), Float32Array.of(1, 2))
    scope(() => void tensor.derived(() => twice(tensor)))
    const derived = tensor.derived((): Tensor => expect.unreachable('made a second time'))
    expect([...(await derived.read())]).toEqual([1, 2])
  })

  const device = openDevice()
  const other = Tensor.from(device, Float32Array.of(5, 6))
  const changes: [string, (tensor: Tensor<'float32'>) => void][] = [
    ['written', tensor => void tensor.write(Float32Array.of(3, 4))],
    ['filled', tensor => void tensor.fill(7)],
    ['copied over', tensor => void tensor.copyFrom(other)],
    [
      'taken a step of the optimiser',
      tensor => {
        const parameter = new Parameter('x', tensor)
        parameter.gradient.fill(1)
        new AdamW([parameter]).step(0.1)
      },
    ],
  ]
  it.each(changes)('is made anew when the tensor was %s', async (_, change) => {
    const tensor = Tensor.from(device, Float32Array.of(1, 2))
    const before = tensor.derived(() => twice(tensor))
    change(tensor)
    const after = tensor.derived(() => twice(tensor))
    expect(after).not.toBe(before)
    const values = await after.read()
    expect([...values]).toEqual([...(await tensor.read())])
    expect([...values]).not.toEqual([1, 2])
    expect(() => before.read()).toThrow(/a freed one/)
  })

  it('is freed with the tensor', () => {
    const tensor = Tensor.from(device, Float32Array.of(1, 2))
    const derived = tensor.derived(() => twice(tensor))
    tensor.dispose()
    expect(() => derived.read()).toThrow(/a freed one/)
  })
})
