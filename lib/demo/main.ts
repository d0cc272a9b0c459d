// npm run demo: the main job on the embedded data, from a CSV of events without labels to a table and a picture.

import { mkdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Encoder } from '../encoder/encoder.js'
import { loadSchema, readEvents, readTable } from '../events/index.js'
import { pretrain } from '../pretrain/pretrain.js'
import { barsPlot, curvesPlot, type ScoredBar, writeSvg } from '../report/plot.js'
import { progressLine } from '../report/progress.js'
import { markdownTable } from '../report/table.js'
import { Device } from '../runtime/device.js'
import { aggregate } from '../transfer/aggregate.js'
import { probe } from '../transfer/probe.js'
import { pickLabel } from '../transfer/tables.js'
import { writeDemo } from './write.js'

const { values: args } = parseArgs({
  options: { out: { type: 'string' }, users: { type: 'string' }, epochs: { type: 'string' } },
})
const root = fileURLToPath(new URL('../..', import.meta.url))
const out = args.out ?? join(root, '.cache', 'demo')
await mkdir(out, { recursive: true })

const say = (text: string) => process.stdout.write(`${text}\n`)
const about: Record<string, string> = {
  risk: 'risk (partly order and rhythm, partly counts)',
  type: 'type of user (accuracy)',
  order: 'order (no count or sum can tell)',
}

say('1. Events of a made-up payment app: several types of users, five fields, three labels that training never sees.')
const files = await writeDemo(out, { users: Number(args.users ?? 2000) })
const schema = await loadSchema(files.schema)
const source = readEvents(files.events, schema)
const { entities, events } = await source.summary()
say(`   ${events} events of ${entities} users in ${relative(process.cwd(), files.events)}`)

const device = new Device()
const line = progressLine()
try {
  say(`2. Pre-training without labels: masked events and Quick Thought (${device.variant}, ${device.threads} threads).`)
  const begun = performance.now()
  const { encoder, log } = await pretrain(source, {
    device,
    epochs: args.epochs === undefined ? undefined : Number(args.epochs),
    out: join(out, 'model'),
    restart: true,
    onProgress: line.update,
  })
  line.done()
  const [first, last] = [log[0], log.at(-1)!]
  const seconds = (performance.now() - begun) / 1000
  say(
    `   ${log.length} epochs in ${seconds.toFixed(0)} s; held-out loss ${first.heldOutLoss!.toFixed(3)} → ${last.heldOutLoss!.toFixed(3)}`,
  )
  say(
    `   tells the two halves of a user apart from others': ${(100 * last.heldOutTerms.quick.accuracy).toFixed(0)} % of the time`,
  )

  say('3. One vector per user, and hand-made features to compare with.')
  const vectors = await encoder.encode(source, { onProgress: line.update })
  const untrained = await new Encoder(encoder.encoding, encoder.config, { device, seed: 1 }).encode(source)
  const features = await aggregate(source, { onProgress: line.update })
  line.done()
  say(`   vectors of ${encoder.width} numbers; ${Object.keys(features.columns).length} hand-made features`)

  say('4. What a linear model learns from each, on five folds:')
  const bars: ScoredBar[] = []
  const rows: string[][] = []
  const table = await readTable(files.labels, { id: schema.entity })
  for (const label of Object.keys(about)) {
    const labels = pickLabel(table, label, 'fold')
    const trained = await probe({ vectors, features, labels, label, device })
    const random = await probe({ vectors: untrained, labels, label, device })
    const scores = {
      'untrained encoder': random.results.vectors,
      'hand-made features': trained.results.features!,
      'pre-trained vectors': trained.results.vectors,
      'features + vectors': trained.results.both!,
    }
    rows.push([about[label], ...Object.values(scores).map(({ mean, sd }) => `${mean.toFixed(3)} ± ${sd.toFixed(3)}`)])
    for (const [series, { mean, sd }] of Object.entries(scores)) bars.push({ group: about[label], series, mean, sd })
  }
  const names = ['label', ...new Set(bars.map(({ series }) => series))]
  say(`\n${markdownTable(names, rows)}\n`)
  for (const { group, series, mean } of bars) {
    say(
      `   ${group.split(' (')[0].padEnd(13)} ${series.padEnd(20)} ${'█'.repeat(Math.round(mean * 40))} ${mean.toFixed(3)}`,
    )
  }
  const subtitle = `${entities} users, ${events} events, labels never seen while pre-training`
  await writeSvg(
    join(out, 'auc.svg'),
    barsPlot({ title: 'What the vectors know', subtitle }, 'AUC (accuracy for type)', bars),
  )
  const points = (pick: (row: (typeof log)[number]) => number) => log.map((row, i) => ({ x: i + 1, y: pick(row) }))
  await writeSvg(
    join(out, 'loss.svg'),
    curvesPlot({ title: 'Pre-training' }, { x: 'epoch', y: 'loss' }, [
      { series: 'training', points: points(row => row.loss) },
      { series: 'held out', points: points(row => row.heldOutLoss!) },
    ]),
  )
  const shown = (name: string) => relative(process.cwd(), join(out, name))
  say(`\nPictures: ${shown('auc.svg')}, ${shown('loss.svg')}. Model: ${shown('model')}.`)
  encoder.dispose()
} finally {
  line.done()
  device.close()
  await source.close()
}
