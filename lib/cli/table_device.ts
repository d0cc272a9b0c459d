// Devices of commands that fit trees on a table, or score its rows by trees.

import { Device } from '../runtime/device.js'
import type { Context } from './command.js'

type Asked = Pick<Context, 'device' | 'threads'>

/** Left to choose, a card where fits on a table of this size make good what opening one takes. */
export function fittingDevice(rows: number, columns: number, { device: kind, threads }: Asked): Device {
  return new Device({ kind, threads, tableValues: rows * columns })
}

/**
 * Scores by how many trees save on a card what fitting a value saves, on a million rows against 16 cores: a value 18 ns,
 * a row's score by one tree 1.3 ns in an isolation forest and 0.11 ns in a model. See docs/cuda.md, "Choosing a device".
 */
const SCORES_OF_A_VALUE = { isolation: 14, model: 164 } as const

/** Left to choose, a card where scores of so many rows by so many trees make good what opening one takes. */
export function scoringDevice(
  by: keyof typeof SCORES_OF_A_VALUE,
  rows: number,
  trees: number,
  { device: kind, threads }: Asked,
): Device {
  return new Device({ kind, threads, tableValues: (rows * trees) / SCORES_OF_A_VALUE[by] })
}
