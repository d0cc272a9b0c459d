// What is no source of events is refused in one sentence wherever a source is taken.

import { describe, expect, it } from 'vitest'
import {
  aggregate,
  Encoder,
  encodeSource,
  FineTuned,
  finetune,
  fitEncoding,
  planAggregates,
  pretrain,
} from '../../lib/index.js'
import { Head } from '../../lib/transfer/finetune/head.js'
import { openDevice } from '../support/devices.js'
import { smallSource } from '../support/small_source.js'

const rows = [{ user: 'u', at: 1 }] as never
const encoding = await fitEncoding(smallSource(4))
const init = new Encoder(encoding, { width: 16, blocks: 1, heads: 2 }, { device: openDevice() })

const goal = { task: 'regression', classes: [], mean: 0, deviation: 1 } as const

describe('rows in place of a source', () => {
  const calls: [string, () => Promise<unknown>][] = [
    ['encode', () => init.encode(rows)],
    ['encodeSource', () => encodeSource(rows, encoding)],
    ['fitEncoding', () => fitEncoding(rows)],
    ['pretrain', () => pretrain(rows)],
    ['finetune', () => finetune(rows, { ids: ['u'], values: Float64Array.of(1) }, { init })],
    ['FineTuned', () => new FineTuned(init, new Head(init, 1), goal).score(rows)],
    ['aggregate', () => aggregate(rows)],
    ['planAggregates', () => planAggregates(rows)],
  ]
  it.each(calls)('are refused by %s', async (where, call) => {
    await expect(call()).rejects.toThrow(
      new TypeError(
        `[${where}] expected a source of events but received [Object]; make one by fromRows(schema, rows) or readEvents(files, schema)`,
      ),
    )
  })
})
