// Float64 reference of logistic: plain loops, as close to the formula as code can be.

/**
 * One problem: the loss Σ −log p(target) over the rows with target ≥ 0, and its gradient.
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
): { loss: number; gradient: Float64Array } {
  const gradient = new Float64Array(outputs * width)
  let loss = 0
  for (let r = 0; r < rows; r++) {
    if (target[r] < 0) continue
    const scores = new Float64Array(outputs)
    for (let k = 0; k < outputs; k++) {
      for (let i = 0; i < width; i++) scores[k] += x[r * width + i] * weight[k * width + i]
    }
    // One logit z is a softmax over (0, z).
    const all = outputs === 1 ? [0, scores[0]] : [...scores]
    const largest = Math.max(...all)
    const total = all.reduce((sum, z) => sum + Math.exp(z - largest), 0)
    loss += Math.log(total) + largest - all[target[r]]
    const probabilities = all.map(z => Math.exp(z - largest) / total)
    for (let k = 0; k < outputs; k++) {
      const own = outputs === 1 ? 1 : k
      const residual = probabilities[own] - (target[r] === own ? 1 : 0)
      for (let i = 0; i < width; i++) gradient[k * width + i] += residual * x[r * width + i]
    }
  }
  return { loss, gradient }
}
