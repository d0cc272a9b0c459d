import { binding } from '../native.js'
import { currentTape, type Tape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { accumulateGradient, parameterGradient } from './gradients.js'

type Float = Tensor<'float32'>

/** In the order of their numbers in the binding. */
const activations = ['none', 'relu', 'gelu'] as const
export const NO_ACTIVATION = activations.indexOf('none')

export type Activation = (typeof activations)[number]

export interface LinearOptions<R extends FloatType = FloatType> {
  /** Default `none`. `gelu` is the exact one, x·Φ(x). */
  readonly activation?: Activation
  /** (rows, outFeatures), added after the activation. */
  readonly residual?: Tensor<R> | null
  /** What `packLinear` made of this very weight: saves the packing where few rows meet one weight again and again. */
  readonly packed?: Float | null
}

/**
 * `out = act(x · weightᵀ + bias) + residual`.
 * @param x       (rows, inFeatures)
 * @param weight  (outFeatures, inFeatures) float32
 * @param bias    (outFeatures) float32, or null for none
 * @returns       (rows, outFeatures), stored as the residual, or as x where there is none
 * @throws {RangeError} if a shape differs or the activation is unknown
 * A row has the same bits alone and among any others, for any number of threads. GELU: Hendrycks, Gimpel 2016.
 */
export function linear<R extends FloatType>(
  x: Tensor<FloatType>,
  weight: Float,
  bias: Float | null,
  options: LinearOptions<R> & { readonly residual: Tensor<R> },
): Tensor<R>
export function linear<T extends FloatType>(
  x: Tensor<T>,
  weight: Float,
  bias?: Float | null,
  options?: LinearOptions<T>,
): Tensor<T>
export function linear(
  x: Tensor<FloatType>,
  weight: Float,
  bias: Float | null = null,
  options: LinearOptions = {},
): Tensor<FloatType> {
  expectOptions('linear', options, ['activation', 'residual', 'packed'])
  const { activation = 'none', residual, packed } = options
  expectRange(
    activations.includes(activation),
    'linear',
    `activation to be one of ${activations.join(', ')}`,
    activation,
  )
  const code = activations.indexOf(activation)
  const { device } = x
  const shape = [x.shape[0], weight.shape[0]]
  const tape = currentTape()
  const out = Tensor.empty(device, residual?.dtype ?? x.dtype, shape)
  // The slope of ReLU can be read off its own output, unless something was added to it.
  const keepsSums = tape && (activation === 'gelu' || (activation === 'relu' && residual))
  const sums = keepsSums ? Tensor.empty(device, x.dtype, shape) : null
  binding.linear_forward(
    device.handle,
    x.handle,
    weight.handle,
    packed?.handle,
    bias?.handle,
    code,
    residual?.handle,
    out.handle,
    sums?.handle,
  )
  recordLinear(tape, out, { x, weight, bias, residual, activationCode: code, sums })
  return out
}

interface LinearCall {
  readonly x: Tensor<FloatType>
  readonly weight: Float
  readonly bias: Float | null
  readonly residual?: Tensor<FloatType> | null | undefined
  /** As the binding counts activations. */
  readonly activationCode: number
  /** Before the activation, where `out` does not tell its slope. */
  readonly sums?: Tensor<FloatType> | null
}

/** `out` is what `linear` makes of that, whoever computed it. */
export function recordLinear(tape: Tape | null, out: Tensor<FloatType>, call: LinearCall): void {
  const { x, weight, bias, residual, activationCode, sums } = call
  tape?.add(out, [x, weight, bias, residual], dout => {
    const dx = tape.slot(x)
    const passed = residual && residual !== x && tape.passOn(residual, dout)
    const dresidual = residual && !passed ? tape.slot(residual) : null
    const isAlike = dresidual?.tensor.dtype === dout.dtype
    binding.linear_backward(
      x.device.handle,
      x.handle,
      weight.handle,
      activationCode,
      activationCode === NO_ACTIVATION ? null : (sums ?? out).handle,
      dout.handle,
      dx?.tensor.handle,
      dx?.accumulate ?? false,
      tape.wants(weight) ? parameterGradient(tape, weight).handle : null,
      bias && tape.wants(bias) ? parameterGradient(tape, bias).handle : null,
      isAlike ? dresidual?.tensor.handle : null,
    )
    if (residual && dresidual && !isAlike) accumulateGradient(tape, residual, dout)
  })
}

/**
 * A weight in the order that `linear` reads it in, for `packed`. It does not follow later changes of the weight.
 * @param weight  (outFeatures, inFeatures) float32
 * @returns       for this device's `linear` alone
 */
export function packLinear(weight: Float): Float {
  const { device } = weight
  const [outFeatures, inFeatures] = weight.shape
  const packed = Tensor.empty(device, 'float32', [Math.ceil(outFeatures / 32) * 32, inFeatures])
  binding.linear_pack(device.handle, weight.handle, packed.handle)
  return packed
}
