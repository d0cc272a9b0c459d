import { currentTape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'
import { accumulateGradient } from './gradients.js'

/** Wider heads are worked on in float32. */
const BFLOAT16_MAX_HEAD_DIM = 128

/** `x` stored as `dtype`: itself where it is. */
export function convert<T extends FloatType>(x: Tensor<FloatType>, dtype: T): Tensor<T> {
  if (x.dtype === dtype) return x as Tensor<FloatType> as Tensor<T>
  const out = Tensor.empty(x.device, dtype, x.shape).copyFrom(x as never)
  const tape = currentTape()
  tape?.add(out, [x], dout => accumulateGradient(tape, x, dout))
  return out
}

/** Whether attention over rows of that type has to be worked on in float32. */
export function headsNeedFloat32({ dtype }: Tensor<FloatType>, headDim: number): boolean {
  return dtype === 'bfloat16' && headDim > BFLOAT16_MAX_HEAD_DIM
}
