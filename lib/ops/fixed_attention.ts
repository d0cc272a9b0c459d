import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, type Offsets, Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'
import { attentionWidth } from './attention_width.js'
import { convert, headsNeedFloat32 } from './convert.js'
import { parameterGradient } from './gradients.js'

export interface FixedAttentionWriteOptions {
  /** Divides the width; heads may have up to 256 columns. */
  readonly heads: number
}

export interface FixedAttentionReadOptions extends FixedAttentionWriteOptions {
  /** Memory slots per sequence. */
  readonly slots: number
}

/**
 * Each sequence's events into a fixed number of memory slots, for every head:
 * `memory[s·slots + j] = Σ_t softmax_t(queries[j]·k[t] / √(width/heads)) v[t]` over the events t of sequence s.
 * @param queries (slots, width) float32, learned, the same for all sequences
 * @param kv      (events, 2·width) float32: keys and values side by side, each with its heads side by side
 * @param offsets where the sequences start
 * @returns       (sequences·slots, width) float32; zeros for a sequence without events
 * @throws {RangeError} if heads does not divide the width, or a shape differs
 * Same bits for any batch around a sequence (but for the gradient of the queries) and any number of threads.
 * Source: Britz et al. 2017; learned queries as in Lee et al. 2019, section 3.2.
 */
export function fixedAttentionWrite<T extends FloatType>(
  queries: Tensor<'float32'>,
  kv: Tensor<T>,
  offsets: Offsets,
  options: FixedAttentionWriteOptions,
): Tensor<T> {
  expectOptions('fixedAttentionWrite', options, ['heads'])
  const { heads } = options
  const { device } = kv
  const width = attentionWidth('fixedAttentionWrite', 'queries', queries, 1, heads)
  if (headsNeedFloat32(kv, width / heads)) {
    return convert(fixedAttentionWrite(queries, convert(kv, 'float32'), offsets, options), kv.dtype)
  }
  const rows = offsets.sequences * queries.shape[0]
  const tape = currentTape()
  const memory = Tensor.empty(device, kv.dtype, [rows, width])
  const lse = tape && Tensor.empty(device, 'float32', [rows, heads])
  const problem = [device.handle, queries.handle, kv.handle, offsets.handle, heads] as const
  binding.fixed_attention_write_forward(...problem, memory.handle, lse?.handle)
  tape?.add(memory, [queries, kv], dmemory => {
    const dkv = tape.slot(kv)
    binding.fixed_attention_write_backward(
      ...problem,
      memory.handle,
      lse!.handle,
      dmemory.handle,
      tape.wants(queries) ? parameterGradient(tape, queries).handle : null,
      dkv?.tensor.handle,
      dkv?.accumulate ?? false,
    )
  })
  return memory
}

/**
 * Each event reads from its sequence's memory slots, for every head:
 * `out[t] = Σ_j softmax_j(q[t]·k[s·slots + j] / √(width/heads)) v[s·slots + j]` for event t of sequence s.
 * @param q       (events, width) float32
 * @param kv      (sequences·slots, 2·width) float32: the slots' keys and values side by side
 * @param offsets where the sequences start
 * @returns       (events, width) float32
 * @throws {RangeError} if heads does not divide the width, or a shape differs
 * Same bits for any batch around a sequence and any number of threads.
 * Source: Britz et al. 2017; Lee et al. 2019, section 3.2.
 */
export function fixedAttentionRead<T extends FloatType>(
  q: Tensor<T>,
  kv: Tensor<T>,
  offsets: Offsets,
  options: FixedAttentionReadOptions,
): Tensor<T> {
  expectOptions('fixedAttentionRead', options, ['heads', 'slots'])
  const { heads, slots } = options
  const { device } = q
  const width = attentionWidth('fixedAttentionRead', 'q', q, 1, heads)
  if (headsNeedFloat32(q, width / heads)) {
    return convert(fixedAttentionRead(convert(q, 'float32'), convert(kv, 'float32'), offsets, options), q.dtype)
  }
  const tape = currentTape()
  const out = Tensor.empty(device, q.dtype, q.shape)
  const lse = tape && Tensor.empty(device, 'float32', [q.shape[0], heads])
  const problem = [device.handle, q.handle, kv.handle, offsets.handle, heads, slots] as const
  binding.fixed_attention_read_forward(...problem, out.handle, lse?.handle)
  tape?.add(out, [q, kv], dout => {
    const dq = tape.slot(q)
    const dkv = tape.slot(kv)
    binding.fixed_attention_read_backward(
      ...problem,
      out.handle,
      lse!.handle,
      dout.handle,
      dq?.tensor.handle,
      dq?.accumulate ?? false,
      dkv?.tensor.handle,
      dkv?.accumulate ?? false,
    )
  })
  return out
}
