import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'
import { parameterGradient } from './gradients.js'

/** What is added to the variance where nothing is said. */
export const LAYER_NORM_EPS = 1e-5

/**
 * Layer normalisation over the last axis: `out[t] = (x[t] − mean) / sqrt(variance + eps) ⊙ weight + bias`.
 * @param x       (rows, width) float32
 * @param weight  (width) float32
 * @param bias    (width) float32
 * @param stored  how the result is stored: float32 by default
 * @returns       (rows, width)
 * @throws {RangeError} if a shape differs
 * Source: Ba, Kiros, Hinton 2016.
 */
export function layerNorm(
  x: Tensor<'float32'>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  eps?: number,
): Tensor<'float32'>
export function layerNorm<T extends FloatType>(
  x: Tensor<'float32'>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  eps: number,
  stored: T,
): Tensor<T>
export function layerNorm(
  x: Tensor<'float32'>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  eps: number = LAYER_NORM_EPS,
  stored: FloatType = 'float32',
): Tensor<FloatType> {
  const { device } = x
  const tape = currentTape()
  const out = Tensor.empty(device, stored, x.shape)
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
