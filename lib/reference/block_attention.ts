// Float64 reference of block_attention: each block and head by itself.

import { addRows, attend, attendBackward, cutRows, type Rows } from './attention.js'

export interface BlockAttentionProblem {
  readonly offsets: ArrayLike<number>
  readonly width: number
  readonly heads: number
  readonly block: number
  readonly shift: boolean
}

export function blockAttentionForward(qkv: Float64Array, p: BlockAttentionProblem): Float64Array {
  const out = new Float64Array(qkv.length / 3)
  forEachHead(qkv, p, (begin, _end, column, q, k, v) => addRows(out, p.width, begin, column, attend(q, k, v)))
  return out
}

export function blockAttentionBackward(qkv: Float64Array, dout: Float64Array, p: BlockAttentionProblem): Float64Array {
  const dqkv = new Float64Array(qkv.length)
  forEachHead(qkv, p, (begin, end, column, q, k, v) => {
    const rows = cutRows(dout, p.width, begin, end, column, q[0].length)
    const { dq, dk, dv } = attendBackward(q, k, v, rows)
    addRows(dqkv, 3 * p.width, begin, column, dq)
    addRows(dqkv, 3 * p.width, begin, p.width + column, dk)
    addRows(dqkv, 3 * p.width, begin, 2 * p.width + column, dv)
  })
  return dqkv
}

/** The [begin, end) of every block: the first of a sequence is ⌊block/2⌋ long with shift, if that is not 0. */
export function blocksOf(p: Pick<BlockAttentionProblem, 'offsets' | 'block' | 'shift'>): [number, number][] {
  const blocks: [number, number][] = []
  const first = (p.shift && Math.floor(p.block / 2)) || p.block
  for (let s = 0; s + 1 < p.offsets.length; s++) {
    let begin = p.offsets[s]
    let end = begin + first
    while (begin < p.offsets[s + 1]) {
      blocks.push([begin, Math.min(end, p.offsets[s + 1])])
      begin = end
      end += p.block
    }
  }
  return blocks
}

function forEachHead(
  qkv: Float64Array,
  p: BlockAttentionProblem,
  f: (begin: number, end: number, column: number, q: Rows, k: Rows, v: Rows) => void,
): void {
  const dim = p.width / p.heads
  for (const [begin, end] of blocksOf(p)) {
    for (let column = 0; column < p.width; column += dim) {
      const part = (i: number) => cutRows(qkv, 3 * p.width, begin, end, i * p.width + column, dim)
      f(begin, end, column, part(0), part(1), part(2))
    }
  }
}
