// What the attention ops check before they make their outputs; the native side checks the rest.

import type { Tensor } from '../runtime/tensor.js'
import { expectRange, expectType } from '../util/errors.js'

/** Columns of one of `parts` equal parts of a matrix, each a whole number of heads. */
export function attentionWidth(where: string, name: string, matrix: Tensor, parts: number, heads: number): number {
  expectType(typeof heads === 'number', where, 'heads to be a number', heads)
  expectRange(Number.isInteger(heads) && heads >= 1, where, 'heads to be an integer of at least 1', heads)
  const [rows, columns] = matrix.shape
  expectRange(matrix.shape.length === 2, where, `${name} of shape (rows, columns)`, matrix.shape)
  expectRange(
    columns > 0 && columns % (parts * heads) === 0,
    where,
    `${name} of shape (${rows}, ${parts > 1 ? `${parts}·` : ''}width) with width a multiple of heads (${heads})`,
    matrix.shape,
    'choose a width that heads divides',
  )
  return columns / parts
}
