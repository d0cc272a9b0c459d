// Float64 reference of full_attention: one block per sequence.

import { blockAttentionBackward, blockAttentionForward } from './block_attention.js'

export interface FullAttentionProblem {
  readonly offsets: ArrayLike<number>
  readonly width: number
  readonly heads: number
}

export function fullAttentionForward(qkv: Float64Array, p: FullAttentionProblem): Float64Array {
  return blockAttentionForward(qkv, { ...p, block: Number.POSITIVE_INFINITY, shift: false })
}

export function fullAttentionBackward(qkv: Float64Array, dout: Float64Array, p: FullAttentionProblem): Float64Array {
  return blockAttentionBackward(qkv, dout, { ...p, block: Number.POSITIVE_INFINITY, shift: false })
}
