// Float64 reference of logistic: plain loops, as close to the formula as code can be.

/**
 * One problem: the loss Σ −log p(target) over the rows with target ≥ 0, its gradient, and the scores (outputs, rows).
 * @param x       (rows, width)
 * @param target  (rows), −1 where a row does not count
 * @param weight  (outputs, width); one output is the logit of class 1
 */
export function logisticGradient(
  x: ArrayLike<number>,
  target: ArrayLike<number>,
  weight: ArrayLike<number>,
  rows: number,
  width: number,
  outputs: number,
): { loss: number; gradient: Float64Array; scores: Float64Array } {
  const gradient = new Float64Array(outputs * width)
  const scores = new Float64Array(outputs * rows)
  let loss = 0
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < outputs; k++) {
      for (let i = 0; i < width; i++) scores[k * rows + r] += x[r * width + i] * weight[k * width + i]
    }
    if (target[r] < 0) continue
    // One logit z is a softmax over (0, z).
    const own = Array.from({ length: outputs }, (_, k) => scores[k * rows + r])
    const all = outputs === 1 ? [0, ...own] : own
    const largest = Math.max(...all)
    const total = all.reduce((sum, z) => sum + Math.exp(z - largest), 0)
    loss += Math.log(total) + largest - all[target[r]]
    const probabilities = all.map(z => Math.exp(z - largest) / total)
    for (let k = 0; k < outputs; k++) {
      const chosen = outputs === 1 ? 1 : k
      const residual = probabilities[chosen] - (target[r] === chosen ? 1 : 0)
      for (let i = 0; i < width; i++) gradient[k * width + i] += residual * x[r * width + i]
    }
  }
  return { loss, gradient, scores }
}
