// Float64 softmax attention of some query rows on some key rows, one head: what the references of the attention ops
// share. Matrices are arrays of rows.

export type Rows = Float64Array[]

/** out_i = Σ_j p_ij v_j with p_i = softmax_j(q_i·k_j / √d); no keys give zeros. */
export function attend(q: Rows, k: Rows, v: Rows): Rows {
  return probabilities(q, k).map(p => combine(p, v, q[0].length))
}

/** The gradients of Σ_i dout_i·out_i. */
export function attendBackward(q: Rows, k: Rows, v: Rows, dout: Rows): { dq: Rows; dk: Rows; dv: Rows } {
  const dim = q[0].length
  const zeros = (rows: Rows) => rows.map(() => new Float64Array(dim))
  const [dq, dk, dv] = [zeros(q), zeros(k), zeros(v)]
  probabilities(q, k).forEach((p, i) => {
    const dp = v.map(row => dot(dout[i], row))
    const average = dot(p, dp)
    for (let j = 0; j < k.length; j++) {
      const ds = (p[j] * (dp[j] - average)) / Math.sqrt(dim)
      for (let c = 0; c < dim; c++) {
        dq[i][c] += ds * k[j][c]
        dk[j][c] += ds * q[i][c]
        dv[j][c] += p[j] * dout[i][c]
      }
    }
  })
  return { dq, dk, dv }
}

/** Rows [begin, end) of a matrix of that many columns, cut to the `dim` columns from `column` on. */
export function cutRows(
  matrix: Float64Array,
  columns: number,
  begin: number,
  end: number,
  column: number,
  dim: number,
): Rows {
  return Array.from({ length: end - begin }, (_, i) => {
    const at = (begin + i) * columns + column
    return matrix.subarray(at, at + dim)
  })
}

/** Adds rows to where `cutRows` with the same arguments takes them from. */
export function addRows(matrix: Float64Array, columns: number, begin: number, column: number, rows: Rows): void {
  rows.forEach((row, i) => {
    for (let c = 0; c < row.length; c++) matrix[(begin + i) * columns + column + c] += row[c]
  })
}

function probabilities(q: Rows, k: Rows): number[][] {
  return q.map(query => {
    const logits = k.map(key => dot(query, key) / Math.sqrt(query.length))
    const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
    const weights = logits.map(logit => Math.exp(logit - largest))
    const sum = weights.reduce((a, b) => a + b, 0)
    return weights.map(weight => weight / sum)
  })
}

function combine(p: number[], v: Rows, dim: number): Float64Array {
  const out = new Float64Array(dim)
  p.forEach((weight, j) => {
    for (let c = 0; c < dim; c++) out[c] += weight * v[j][c]
  })
  return out
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}
