import { binding } from '../native.js'
import { currentTape, type Tape } from '../runtime/tape.js'
import { type FloatType, type Offsets, Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'
import { parameterGradient } from './gradients.js'

export interface ConvolutionOptions {
  /** Events between two taps. Default 1. */
  readonly dilation?: number
  /** Read only an event itself and earlier ones. Default: the filter is centred. */
  readonly causal?: boolean
}

/**
 * Depthwise convolution with a gate, channel by channel, inside each sequence of a packed batch:
 *   `out[t] = (Σ_k weight[k] ⊙ x[t + r(k − o)] + bias) ⊙ σ(Σ_k gateWeight[k] ⊙ x[t + r(k − o)] + gateBias)`
 * with r the dilation and o = ⌊width/2⌋, or width − 1 when causal; x is 0 outside its own sequence.
 * @param x           (events, channels)
 * @param weight      (width, channels) float32, width odd, 1 … 255
 * @param bias        (channels) float32
 * @param gateWeight  (width, channels) float32
 * @param gateBias    (channels) float32
 * @returns           (events, channels), stored as x. A sequence gets the same bits alone and in any batch.
 * @throws {RangeError} for an even or larger width, a dilation below 1, or a shape that differs
 * Source: gated linear units, Dauphin et al. 2017, eq. 1, with depthwise filters.
 */
export function gatedDwconv<T extends FloatType>(
  x: Tensor<T>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  gateWeight: Tensor<'float32'>,
  gateBias: Tensor<'float32'>,
  offsets: Offsets,
  options: ConvolutionOptions = {},
): Tensor<T> {
  expectOptions('gatedDwconv', options, ['dilation', 'causal'])
  return convolve(x, [weight, bias], [gateWeight, gateBias], offsets, options)
}

/**
 * Depthwise convolution without a gate: `out[t] = Σ_k weight[k] ⊙ x[t + r(k − o)] + bias`, otherwise like gatedDwconv.
 * @throws {RangeError} for an even or larger width, a dilation below 1, or a shape that differs
 */
export function dwconv<T extends FloatType>(
  x: Tensor<T>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  offsets: Offsets,
  options: ConvolutionOptions = {},
): Tensor<T> {
  expectOptions('dwconv', options, ['dilation', 'causal'])
  return convolve(x, [weight, bias], null, offsets, options)
}

/** A filter and its bias. */
export type Filter = readonly [weight: Tensor<'float32'>, bias: Tensor<'float32'>]

function convolve<T extends FloatType>(
  x: Tensor<T>,
  filter: Filter,
  gate: Filter | null,
  offsets: Offsets,
  options: ConvolutionOptions,
): Tensor<T> {
  const { device } = x
  const out = Tensor.empty(device, x.dtype, x.shape)
  binding.gated_dwconv_forward(device.handle, ...convolutionInputs(x, filter, gate, offsets, options), out.handle)
  recordConvolution(currentTape(), out, x, filter, gate, offsets, options)
  return out
}

/** What the kernels of convolutions take first. */
export function convolutionInputs(
  x: Tensor<FloatType>,
  [weight, bias]: Filter,
  gate: Filter | null,
  offsets: Offsets,
  { dilation = 1, causal = false }: ConvolutionOptions,
) {
  return [
    x.handle,
    weight.handle,
    bias.handle,
    gate?.[0].handle,
    gate?.[1].handle,
    offsets.handle,
    dilation,
    causal,
  ] as const
}

/** `out` is that convolution of `x`, whoever computed it. */
export function recordConvolution(
  tape: Tape | null,
  out: Tensor<FloatType>,
  x: Tensor<FloatType>,
  filter: Filter,
  gate: Filter | null,
  offsets: Offsets,
  options: ConvolutionOptions,
): void {
  tape?.add(out, [x, ...filter, ...(gate ?? [])], dout => {
    const dx = tape.slot(x)
    const [weight, bias] = filter
    binding.gated_dwconv_backward(
      x.device.handle,
      ...convolutionInputs(x, filter, gate, offsets, options),
      dout.handle,
      dx?.tensor.handle,
      dx?.accumulate ?? false,
      parameterGradient(tape, weight).handle,
      parameterGradient(tape, bias).handle,
      gate && parameterGradient(tape, gate[0]).handle,
      gate && parameterGradient(tape, gate[1]).handle,
    )
  })
}
