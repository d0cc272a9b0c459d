import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, type Offsets, Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'
import { attentionWidth } from './attention_width.js'
import { convert, headsNeedFloat32 } from './convert.js'

export interface BlockAttentionOptions {
  /** Divides the width; heads may have up to 256 columns. */
  readonly heads: number
  /** Events per block, at least 1. */
  readonly block: number
  /** Makes the first block of every sequence ⌊block/2⌋ long, so that information crosses the usual cuts. */
  readonly shift?: boolean
}

/**
 * Multi-head softmax attention inside blocks of each sequence, in O(events · block):
 * `out[t] = Σ_u softmax_u(q[t]·k[u] / √(width/heads)) v[u]` over the events u of t's block, for every head.
 * Sequences are cut every `block` events; the last block may be shorter.
 * @param qkv     (events, 3·width): queries, keys and values side by side, each with its heads side by side
 * @param offsets where the sequences start
 * @returns       (events, width), stored as qkv
 * @throws {RangeError} if heads does not divide the width, or a size or option is out of range
 * Same bits for any batch around a sequence and any number of threads.
 * Source: Vaswani et al. 2017, eq. 1; blocks as in Child et al. 2019.
 */
export function blockAttention<T extends FloatType>(
  qkv: Tensor<T>,
  offsets: Offsets,
  options: BlockAttentionOptions,
): Tensor<T> {
  expectOptions('blockAttention', options, ['heads', 'block', 'shift'])
  const { heads, block, shift = false } = options
  const { device } = qkv
  const width = attentionWidth('blockAttention', 'qkv', qkv, 3, heads)
  if (headsNeedFloat32(qkv, width / heads)) {
    return convert(blockAttention(convert(qkv, 'float32'), offsets, options), qkv.dtype)
  }
  const tape = currentTape()
  const out = Tensor.empty(device, qkv.dtype, [qkv.shape[0], width])
  const lse = tape && Tensor.empty(device, 'float32', [qkv.shape[0], heads])
  const { handle } = device
  binding.block_attention_forward(handle, qkv.handle, offsets.handle, heads, block, shift, out.handle, lse?.handle)
  tape?.add(out, [qkv], dout => {
    const dqkv = tape.slot(qkv)!
    binding.block_attention_backward(
      handle,
      qkv.handle,
      offsets.handle,
      heads,
      block,
      shift,
      out.handle,
      lse!.handle,
      dout.handle,
      dqkv.tensor.handle,
      dqkv.accumulate,
    )
  })
  return out
}
