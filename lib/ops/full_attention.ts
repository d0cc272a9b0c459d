import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, type Offsets, Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'
import { attentionWidth } from './attention_width.js'
import { convert, headsNeedFloat32 } from './convert.js'

export interface FullAttentionOptions {
  /** Divides the width; heads may have up to 256 columns. */
  readonly heads: number
}

/**
 * Multi-head softmax attention over each whole sequence, in O(Σ length²) time and O(events) memory:
 * `out[t] = Σ_u softmax_u(q[t]·k[u] / √(width/heads)) v[u]` over all events u of t's sequence, for every head.
 * @param qkv     (events, 3·width): queries, keys and values side by side, each with its heads side by side
 * @param offsets where the sequences start
 * @returns       (events, width), stored as qkv
 * @throws {RangeError} if heads does not divide the width
 * Same bits for any batch around a sequence and any number of threads.
 * Source: Vaswani et al. 2017, eq. 1; tiles with a running softmax as in Dao et al. 2022.
 */
export function fullAttention<T extends FloatType>(
  qkv: Tensor<T>,
  offsets: Offsets,
  options: FullAttentionOptions,
): Tensor<T> {
  expectOptions('fullAttention', options, ['heads'])
  const { heads } = options
  const { device } = qkv
  const width = attentionWidth('fullAttention', 'qkv', qkv, 3, heads)
  if (headsNeedFloat32(qkv, width / heads)) {
    return convert(fullAttention(convert(qkv, 'float32'), offsets, options), qkv.dtype)
  }
  const tape = currentTape()
  const out = Tensor.empty(device, qkv.dtype, [qkv.shape[0], width])
  const lse = tape && Tensor.empty(device, 'float32', [qkv.shape[0], heads])
  binding.full_attention_forward(device.handle, qkv.handle, offsets.handle, heads, out.handle, lse?.handle)
  tape?.add(out, [qkv], dout => {
    const dqkv = tape.slot(qkv)!
    binding.full_attention_backward(
      device.handle,
      qkv.handle,
      offsets.handle,
      heads,
      out.handle,
      lse!.handle,
      dout.handle,
      dqkv.tensor.handle,
      dqkv.accumulate,
    )
  })
  return out
}
