// Float64 reference of pair_contrastive: plain loops, as close to the formula as code can be.

export type PairMode = 'softmax' | 'binary'

interface Problem {
  u: Float64Array
  v: Float64Array
  entity: Int32Array
  width: number
  temperature: number
  mode: PairMode
}

/** s[i·pairs + j], with −∞ where i ≠ j belong to one entity. */
function scoresOf({ u, v, entity, width, temperature }: Problem): Float64Array {
  const pairs = entity.length
  const s = new Float64Array(pairs * pairs).fill(Number.NEGATIVE_INFINITY)
  for (let i = 0; i < pairs; i++) {
    for (let j = 0; j < pairs; j++) {
      if (i !== j && entity[i] === entity[j]) continue
      let sum = 0
      for (let d = 0; d < width; d++) sum += u[i * width + d] * v[j * width + d]
      s[i * pairs + j] = sum / temperature
    }
  }
  return s
}

const logSumExp = (values: number[]): number => {
  const top = Math.max(...values)
  return top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0))
}

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
const sigmoid = (x: number): number => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)))

/** Loss, rows found, and the gradient of the loss with respect to u and v. */
export function pairContrastive(problem: Problem): {
  loss: number
  correct: number
  du: Float64Array
  dv: Float64Array
} {
  const { u, v, entity, width, temperature, mode } = problem
  const pairs = entity.length
  const s = scoresOf(problem)
  const ds = new Float64Array(pairs * pairs)
  const index = [...entity.keys()]
  const negatives = index.flatMap(i => index.filter(j => entity[i] !== entity[j]).map(j => i * pairs + j))
  let loss = 0
  let correct = 0
  for (const i of index) {
    const own = s[i * pairs + i]
    if (index.every(j => j === i || s[i * pairs + j] < own)) correct++
    if (mode === 'binary') {
      loss += (0.5 * softplus(-own)) / pairs
      ds[i * pairs + i] = (-0.5 * sigmoid(-own)) / pairs
      continue
    }
    const row = logSumExp(index.map(j => s[i * pairs + j]))
    const column = logSumExp(index.map(j => s[j * pairs + i]))
    loss += (row - own + column - own) / (2 * pairs)
    ds[i * pairs + i] -= 1 / pairs
    for (const j of index) {
      ds[i * pairs + j] += Math.exp(s[i * pairs + j] - row) / (2 * pairs)
      ds[j * pairs + i] += Math.exp(s[j * pairs + i] - column) / (2 * pairs)
    }
  }
  if (mode === 'binary') {
    for (const at of negatives) {
      loss += (0.5 * softplus(s[at])) / negatives.length
      ds[at] = (0.5 * sigmoid(s[at])) / negatives.length
    }
  }
  const du = new Float64Array(u.length)
  const dv = new Float64Array(v.length)
  for (const i of index) {
    for (const j of index) {
      for (let d = 0; d < width; d++) {
        du[i * width + d] += (ds[i * pairs + j] * v[j * width + d]) / temperature
        dv[j * width + d] += (ds[i * pairs + j] * u[i * width + d]) / temperature
      }
    }
  }
  return { loss, correct, du, dv }
}
