// Rows with hidden positives, of which few are known: those of the tree benches with the rarest tenth as positives.

import { Philox } from '../../lib/util/philox.js'
import { generate } from '../trees/generator.js'

export interface Hidden {
  readonly columns: Float32Array[]
  /** 1 for positives. */
  readonly truth: Uint8Array
  /** One in ten of the positives. */
  readonly known: Uint8Array
}

export function hiddenPositives(rows: number, features: number): Hidden {
  const { columns, labels } = generate(rows, features)
  const random = new Philox(5)
  const truth = Uint8Array.from(labels, label => Number(label === 1 && random.uniform() < 0.2))
  // What is not drawn of the labelled rows would look the same: those rows move away.
  for (let row = 0; row < rows; row++) {
    if (labels[row] === 1 && truth[row] === 0) for (const column of columns) column[row] *= 0.5
  }
  const known = truth.map(one => Number(one === 1 && random.uniform() < 0.1))
  return { columns, truth, known }
}
