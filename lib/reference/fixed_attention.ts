// Float64 reference of fixed_attention: each sequence and head by itself.

import { addRows, attend, attendBackward, cutRows } from './attention.js'

export interface FixedAttentionProblem {
  readonly offsets: ArrayLike<number>
  readonly width: number
  readonly heads: number
  readonly slots: number
}

export function fixedAttentionWriteForward(
  queries: Float64Array,
  kv: Float64Array,
  p: FixedAttentionProblem,
): Float64Array {
  const memory = new Float64Array((p.offsets.length - 1) * p.slots * p.width)
  forEachHead(p, (sequence, begin, end, column, dim) => {
    const q = cutRows(queries, p.width, 0, p.slots, column, dim)
    const k = cutRows(kv, 2 * p.width, begin, end, column, dim)
    const v = cutRows(kv, 2 * p.width, begin, end, p.width + column, dim)
    addRows(memory, p.width, sequence * p.slots, column, attend(q, k, v))
  })
  return memory
}

export function fixedAttentionWriteBackward(
  queries: Float64Array,
  kv: Float64Array,
  dmemory: Float64Array,
  p: FixedAttentionProblem,
): { dqueries: Float64Array; dkv: Float64Array } {
  const dqueries = new Float64Array(queries.length)
  const dkv = new Float64Array(kv.length)
  forEachHead(p, (sequence, begin, end, column, dim) => {
    const q = cutRows(queries, p.width, 0, p.slots, column, dim)
    const k = cutRows(kv, 2 * p.width, begin, end, column, dim)
    const v = cutRows(kv, 2 * p.width, begin, end, p.width + column, dim)
    const dout = cutRows(dmemory, p.width, sequence * p.slots, (sequence + 1) * p.slots, column, dim)
    const { dq, dk, dv } = attendBackward(q, k, v, dout)
    addRows(dqueries, p.width, 0, column, dq)
    addRows(dkv, 2 * p.width, begin, column, dk)
    addRows(dkv, 2 * p.width, begin, p.width + column, dv)
  })
  return { dqueries, dkv }
}

export function fixedAttentionReadForward(q: Float64Array, kv: Float64Array, p: FixedAttentionProblem): Float64Array {
  const out = new Float64Array(q.length)
  forEachHead(p, (sequence, begin, end, column, dim) => {
    const rows = cutRows(q, p.width, begin, end, column, dim)
    const [k, v] = slotRows(kv, p, sequence, column, dim)
    addRows(out, p.width, begin, column, attend(rows, k, v))
  })
  return out
}

export function fixedAttentionReadBackward(
  q: Float64Array,
  kv: Float64Array,
  dout: Float64Array,
  p: FixedAttentionProblem,
): { dq: Float64Array; dkv: Float64Array } {
  const dq = new Float64Array(q.length)
  const dkv = new Float64Array(kv.length)
  forEachHead(p, (sequence, begin, end, column, dim) => {
    const rows = cutRows(q, p.width, begin, end, column, dim)
    const [k, v] = slotRows(kv, p, sequence, column, dim)
    const back = attendBackward(rows, k, v, cutRows(dout, p.width, begin, end, column, dim))
    addRows(dq, p.width, begin, column, back.dq)
    addRows(dkv, 2 * p.width, sequence * p.slots, column, back.dk)
    addRows(dkv, 2 * p.width, sequence * p.slots, p.width + column, back.dv)
  })
  return { dq, dkv }
}

function slotRows(kv: Float64Array, p: FixedAttentionProblem, sequence: number, column: number, dim: number) {
  const [begin, end] = [sequence * p.slots, (sequence + 1) * p.slots]
  return [0, p.width].map(part => cutRows(kv, 2 * p.width, begin, end, part + column, dim))
}

function forEachHead(
  p: FixedAttentionProblem,
  f: (sequence: number, begin: number, end: number, column: number, dim: number) => void,
): void {
  const dim = p.width / p.heads
  for (let s = 0; s + 1 < p.offsets.length; s++) {
    if (p.offsets[s] === p.offsets[s + 1]) continue
    for (let column = 0; column < p.width; column += dim) f(s, p.offsets[s], p.offsets[s + 1], column, dim)
  }
}
