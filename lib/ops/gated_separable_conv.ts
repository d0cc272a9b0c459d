import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, type Offsets, Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'
import { type ConvolutionOptions, convolutionInputs, type Filter, recordConvolution } from './gated_dwconv.js'
import { NO_ACTIVATION, recordLinear } from './linear.js'

type Float = Tensor<'float32'>

export interface SeparableFilters {
  /** (width, channels) each, width odd, 1 … 255, and (channels) each; see `gatedDwconv`. */
  readonly weight: Float
  readonly bias: Float
  readonly gateWeight: Float
  readonly gateBias: Float
  /** (outFeatures, channels) and (outFeatures); `packed` is what `packLinear` made of that weight. */
  readonly pointWeight: Float
  readonly pointBias: Float | null
  readonly packed?: Float | null
}

/**
 * Gated depthwise separable convolution with a residual: `out = gatedDwconv(x) · pointWeightᵀ + pointBias + residual`.
 * It has the bits of `gatedDwconv` and `linear` one after the other; on a card in bfloat16 one kernel does both, for the widths and
 * filters that it is made for (docs/cuda.md).
 * @param x         (events, channels)
 * @param residual  (events, outFeatures)
 * @returns         (events, outFeatures), stored as the residual. A sequence gets the same bits alone and in any batch.
 * @throws {RangeError} for an even or larger width, a dilation below 1, or a shape that differs
 * Source: depthwise separable convolutions, Chollet 2017; the gate, Dauphin et al. 2017, eq. 1.
 */
export function gatedSeparableConv<R extends FloatType>(
  x: Tensor<FloatType>,
  filters: SeparableFilters,
  residual: Tensor<R>,
  offsets: Offsets,
  options: ConvolutionOptions = {},
): Tensor<R> {
  expectOptions('gatedSeparableConv', options, ['dilation', 'causal'])
  const { weight, bias, gateWeight, gateBias, pointWeight, pointBias, packed } = filters
  const filter: Filter = [weight, bias]
  const gate: Filter = [gateWeight, gateBias]
  const { device } = x
  const tape = currentTape()
  const between = Tensor.empty(device, x.dtype, x.shape)
  const out = Tensor.empty(device, residual.dtype, [x.shape[0], pointWeight.shape[0]])
  binding.gated_separable_conv_forward(
    device.handle,
    ...convolutionInputs(x, filter, gate, offsets, options),
    between.handle,
    tape !== null,
    pointWeight.handle,
    packed?.handle,
    pointBias?.handle,
    residual.handle,
    out.handle,
  )
  recordConvolution(tape, between, x, filter, gate, offsets, options)
  recordLinear(tape, out, {
    ...{ x: between, weight: pointWeight, bias: pointBias, residual },
    activationCode: NO_ACTIVATION,
  })
  return out
}
