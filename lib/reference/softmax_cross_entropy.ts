// Float64 reference of softmax_cross_entropy: plain loops, as close to the formula as code can be.

export function softmaxCrossEntropyForward(
  logits: Float64Array,
  targets: Int32Array,
  weights: Float64Array,
  rows: number,
  classes: number,
): { loss: number; correct: number } {
  let sum = 0
  let total = 0
  let correct = 0
  for (let r = 0; r < rows; r++) {
    if (targets[r] < 0) continue
    const row = logits.subarray(r * classes, (r + 1) * classes)
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
    const terms = row.reduce((a, b) => a + Math.exp(b - top), 0)
    if (weights[r] !== 0) sum += weights[r] * (Math.log(terms) + top - row[targets[r]])
    total += weights[r]
    if (row.indexOf(top) === targets[r]) correct++
  }
  return { loss: total === 0 ? 0 : sum / total, correct }
}

export function softmaxCrossEntropyBackward(
  logits: Float64Array,
  targets: Int32Array,
  weights: Float64Array,
  dout: number,
  rows: number,
  classes: number,
): Float64Array {
  const dlogits = new Float64Array(rows * classes)
  let total = 0
  for (let r = 0; r < rows; r++) if (targets[r] >= 0) total += weights[r]
  for (let r = 0; r < rows; r++) {
    if (targets[r] < 0 || weights[r] === 0) continue
    const row = logits.subarray(r * classes, (r + 1) * classes)
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
    const terms = row.reduce((a, b) => a + Math.exp(b - top), 0)
    for (let c = 0; c < classes; c++) {
      const onehot = c === targets[r] ? 1 : 0
      dlogits[r * classes + c] = ((dout * weights[r]) / total) * (Math.exp(row[c] - top) / terms - onehot)
    }
  }
  return dlogits
}
