// Problems for linear, and what a device makes of them.

import { type Activation, linear } from '../../lib/ops/linear.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { TestRandom } from './random.js'

export interface LinearProblem {
  readonly rows: number
  readonly inFeatures: number
  readonly outFeatures: number
  readonly activation: Activation
  readonly x: Float64Array
  readonly weight: Float64Array
  readonly bias: Float64Array | null
  readonly residual: Float64Array | null
  readonly dout: Float64Array
}

/** With a bias and a residual; the same for the same sizes. */
export function linearProblem(
  rows: number,
  inFeatures: number,
  outFeatures: number,
  activation: Activation = 'none',
): LinearProblem {
  const random = new TestRandom(rows * 1_000_003 + inFeatures * 1009 + outFeatures)
  return {
    rows,
    inFeatures,
    outFeatures,
    activation,
    x: random.normals(rows * inFeatures),
    weight: random.normals(outFeatures * inFeatures, 1 / Math.sqrt(inFeatures)),
    bias: random.normals(outFeatures),
    residual: random.normals(rows * outFeatures),
    dout: random.normals(rows * outFeatures),
  }
}

/** Forward and backward on a device. */
export async function runLinear(device: Device, p: LinearProblem) {
  const parameter = (name: string, values: Float64Array | null, shape: number[]) =>
    values && new Parameter(name, Tensor.from(device, Float32Array.from(values), shape))
  const x = parameter('x', p.x, [p.rows, p.inFeatures])!
  const weight = parameter('weight', p.weight, [p.outFeatures, p.inFeatures])!
  const bias = parameter('bias', p.bias, [p.outFeatures])
  const residual = parameter('residual', p.residual, [p.rows, p.outFeatures])
  const tape = new Tape()
  const out = scope(() => {
    const options = { activation: p.activation, residual: residual?.value }
    const out = keep(tape.record(() => linear(x.value, weight.value, bias?.value, options)))
    const dout = Tensor.from(device, Float32Array.from(p.dout), [p.rows, p.outFeatures])
    tape.backward([{ loss: out, dout }])
    return out
  })
  const none = Promise.resolve(new Float32Array())
  const [values, dx, dweight, dbias, dresidual] = await Promise.all([
    out.read(),
    x.gradient.read(),
    weight.gradient.read(),
    bias?.gradient.read() ?? none,
    residual?.gradient.read() ?? none,
  ])
  for (const item of [out, x, weight, bias, residual]) item?.dispose()
  await device.sync()
  return { out: values, dx, dweight, dbias, dresidual }
}
