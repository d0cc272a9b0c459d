import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'
import { parameterGradient } from './gradients.js'

/**
 * Layer normalisation over the last axis: `out[t] = (x[t] − mean) / sqrt(variance + eps) ⊙ weight + bias`.
 * @param x       (rows, width) float32
 * @param weight  (width) float32
 * @param bias    (width) float32
 * @returns       (rows, width) float32
 * @throws {RangeError} if a shape differs
 * Source: Ba, Kiros, Hinton 2016.
 */
export function layerNorm(
  x: Tensor<'float32'>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  eps = 1e-5,
): Tensor<'float32'> {
  const { device } = x
  const tape = currentTape()
  const out = Tensor.empty(device, 'float32', x.shape)
  const mean = tape && Tensor.empty(device, 'float32', [x.shape[0]])
  const rstd = tape && Tensor.empty(device, 'float32', [x.shape[0]])
  binding.layer_norm_forward(
    device.handle,
    x.handle,
    weight.handle,
    bias.handle,
    eps,
    out.handle,
    mean?.handle,
    rstd?.handle,
  )
  tape?.add(out, [x, weight, bias], dout => {
    const dx = tape.slot(x)
    binding.layer_norm_backward(
      device.handle,
      x.handle,
      weight.handle,
      mean!.handle,
      rstd!.handle,
      dout.handle,
      dx?.tensor.handle,
      dx?.accumulate ?? false,
      parameterGradient(tape, weight).handle,
      parameterGradient(tape, bias).handle,
    )
  })
  return out
}
