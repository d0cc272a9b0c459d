// Float64 reference of adamw: plain loops, as close to the formula as code can be. Changes value, m and v in place.

export interface ReferenceAdamwEntry {
  value: Float64Array
  gradient: Float64Array
  m: Float64Array
  v: Float64Array
  decay: boolean
}

export interface ReferenceAdamwSettings {
  lr: number
  beta1: number
  beta2: number
  eps: number
  weightDecay: number
  maxNorm: number
  step: number
}

/** Returns the norm of all gradients. */
export function adamwUpdate(entries: ReferenceAdamwEntry[], settings: ReferenceAdamwSettings): number {
  const { lr, beta1, beta2, eps, weightDecay, maxNorm, step } = settings
  let squares = 0
  for (const { gradient } of entries) for (const g of gradient) squares += g * g
  const norm = Math.sqrt(squares)
  if (!Number.isFinite(norm)) return norm
  const clip = norm > maxNorm ? maxNorm / norm : 1
  for (const { value, gradient, m, v, decay } of entries) {
    for (let i = 0; i < value.length; i++) {
      const g = gradient[i] * clip
      m[i] = beta1 * m[i] + (1 - beta1) * g
      v[i] = beta2 * v[i] + (1 - beta2) * g * g
      const mHat = m[i] / (1 - beta1 ** step)
      const vHat = v[i] / (1 - beta2 ** step)
      value[i] = value[i] * (1 - (decay ? lr * weightDecay : 0)) - (lr * mHat) / (Math.sqrt(vHat) + eps)
    }
  }
  return norm
}
