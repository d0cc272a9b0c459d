// The option --precision of commands that run an encoder.

import type { Precision } from '../runtime/device.js'

export const PRECISION = {
  kind: 'text',
  oneOf: ['float32', 'bfloat16'],
  about: 'of matrix products (default float32)',
} as const

export function precisionOf(value: string | undefined): Precision | undefined {
  return value as Precision | undefined
}
