// Run in a process of its own: reads events, trains and encodes for some seconds each, and reports how long the event
// loop was held.    event_loop_job EVENTS SCHEMA

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { encoderConfig } from '../../lib/encoder/config.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { fitEncoding, loadSchema, readEvents, VectorWriter } from '../../lib/events/index.js'
import { pretrain } from '../../lib/pretrain/pretrain.js'
import { type Turns, watchTurns } from '../../test/support/turns.js'
import { benchDevice } from '../support/device.js'
import { THREADS } from './contenders.js'

export interface PhaseReport extends Turns {
  readonly phase: string
  readonly seconds: number
  /** What perf_hooks.monitorEventLoopDelay saw, in milliseconds. */
  readonly delay: { readonly p99: number; readonly max: number }
}

/** Steady work is cut off after so long. */
const SECONDS = 8

/** Watches one phase; running into its own time limit ends it without an error. */
async function watch(phase: string, work: (signal: AbortSignal) => Promise<unknown>): Promise<PhaseReport> {
  const controller = new AbortController()
  const over = new Error('enough seen')
  const timer = setTimeout(() => controller.abort(over), 1000 * SECONDS)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const begun = performance.now()
  delay.enable()
  const turns = await watchTurns(() =>
    work(controller.signal).catch((error: unknown) => {
      if (error !== over) throw error
    }),
  )
  delay.disable()
  clearTimeout(timer)
  const seconds = (performance.now() - begun) / 1000
  return { phase, seconds, ...turns, delay: { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 } }
}

const [events, schemaFile] = process.argv.slice(2)
const schema = await loadSchema(schemaFile)
const source = readEvents(events, schema)
const device = benchDevice(THREADS)
const folder = await mkdtemp(join(tmpdir(), 'seqrisk-event-loop-'))
try {
  const reports = [await watch('read and sort', signal => source.summary({ signal }))]
  reports.push(
    await watch('pretrain', signal => pretrain(source, { device, out: folder, checkpointSeconds: 2, signal })),
  )
  const encoder = new Encoder(await fitEncoding(source), encoderConfig(), { device })
  for (const format of ['csv', 'parquet']) {
    reports.push(
      await watch(`encode to ${format}`, async signal => {
        const writer = new VectorWriter(join(folder, `vectors.${format}`), schema.entity, encoder.width, { signal })
        try {
          for await (const { ids, vectors } of encoder.encodeStream(source, { signal }))
            await writer.append(ids, vectors)
          await writer.close()
        } catch (error) {
          await writer.abort()
          throw error
        }
      }),
    )
  }
  reports.push(await watch('encode in memory', signal => encoder.encode(source, { signal })))
  process.send?.(reports)
} finally {
  device.close()
  await source.close()
  await rm(folder, { recursive: true })
}
