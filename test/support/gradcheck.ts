// Finite differences of a float64 function, against its claimed gradients.

import { expectClose } from './close.js'
import { TestRandom } from './random.js'

/**
 * Checks ⟨dout, f(x + h·u) − f(x − h·u)⟩ / 2h = ⟨gradient, u⟩ along random directions u, for every input at once and
 * each alone. All in float64: `h = cbrt(ε)` leaves about ten correct digits, hence the tolerance.
 */
export function checkGradients(
  f: (inputs: Float64Array[]) => Float64Array,
  inputs: Float64Array[],
  gradients: Float64Array[],
  dout: Float64Array,
  directions = 3,
): void {
  const h = Math.cbrt(Number.EPSILON)
  const random = new TestRandom(7)
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i], 0)
  for (let only = 0; only < inputs.length; only++) {
    for (let k = 0; k < directions; k++) {
      const u = random.normals(inputs[only].length)
      const moved = (sign: number) =>
        f(inputs.map((input, j) => (j === only ? input.map((value, i) => value + sign * h * u[i]) : input)))
      const plus = moved(1)
      const minus = moved(-1)
      const numeric = dot(
        dout,
        plus.map((value, i) => (value - minus[i]) / (2 * h)),
      )
      const claimed = dot(gradients[only], u)
      const scale = Math.max(1, Math.abs(numeric), Math.abs(claimed))
      expectClose([claimed / scale], [numeric / scale], { absolute: 1e-6 }, `gradient of input ${only}`)
    }
  }
}
