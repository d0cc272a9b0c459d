import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, type Offsets, Tensor } from '../runtime/tensor.js'

export interface UnfoldOptions {
  /** Events side by side: odd, 1 … 255. */
  readonly width: number
  /** Steps between them. Default 1. */
  readonly dilation?: number
  /** The event and those before it, in place of those around it. Default false. */
  readonly causal?: boolean
}

/**
 * The neighbours of every event side by side, zeros outside its own sequence: `out[t] = (x[t − r⌊width/2⌋], …)`. A linear
 * map after it is a dense convolution.
 * @param x  (events, channels) float32
 * @returns  (events, width · channels) float32
 * @throws {RangeError} for an even width, or a shape that differs.  Deterministic.
 */
export function unfold<T extends FloatType>(x: Tensor<T>, offsets: Offsets, options: UnfoldOptions): Tensor<T> {
  const { width, dilation = 1, causal = false } = options
  const { device } = x
  const tape = currentTape()
  const [events, channels] = x.shape
  const out = Tensor.empty(device, x.dtype, [events, width * channels])
  binding.unfold_forward(device.handle, x.handle, offsets.handle, width, dilation, causal, out.handle)
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    const { tensor, accumulate } = dx
    const window = [width, dilation, causal] as const
    binding.unfold_backward(device.handle, tensor.handle, offsets.handle, ...window, dout.handle, accumulate)
  })
  return out
}
