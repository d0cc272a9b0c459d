import { basename } from 'node:path'
import { readTable } from '../../events/table.js'
import {
  type BandReport,
  bandsOf,
  expectEdges,
  labellingPlan,
  type Volume,
  type VolumeOptions,
  volumeAtEqualPrecision,
} from '../../report/bands.js'
import { bandsPlot, bandsTable } from '../../report/bands_plot.js'
import { writeSvg } from '../../report/plot.js'
import { progressLine } from '../../report/progress.js'
import { SeqriskError, sentence } from '../../util/errors.js'
import { asUsage, defineCommand, UsageError } from '../command.js'
import { readWithTargets } from '../targets.js'

/** What a file says of rows, and what is known of them: NaN where nothing is. */
interface Scored {
  readonly file: string
  readonly name: string
  readonly ids: readonly string[]
  /** Rows by id. */
  readonly places: ReadonlyMap<string, number>
  readonly values: Float64Array
  readonly labels: Float64Array
}

export const bandsCommand = defineCommand({
  name: 'bands',
  about: 'precision per percentile band with intervals, volume at equal precision, a labelling plan',
  options: {
    scores: { kind: 'texts', value: 'FILE', required: true, about: 'tables of id and score, one or more' },
    labels: { kind: 'text', value: 'FILE', required: true, about: 'table of id and label: 1, 0, or nothing' },
    id: { kind: 'text', value: 'COL', required: true, about: 'column that names the rows, in all files' },
    label: { kind: 'text', value: 'COL', required: true, about: 'column of the label' },
    score: { kind: 'text', value: 'COL', about: 'column of the score', fallback: 'score' },
    edges: {
      kind: 'numbers',
      range: '[0, 100]',
      value: 'P,…',
      about: 'percentiles between bands (default 0,50,75,85,90,95,99,100)',
    },
    confidence: { kind: 'number', range: '(0, 1)', value: 'X', about: 'of the intervals', fallback: 0.95 },
    precision: {
      kind: 'number',
      range: '[0, 1]',
      value: 'X',
      about: 'to hold for the volume (default: the second file’s best 1 %)',
    },
    plan: { kind: 'number', value: 'N', about: 'also say how N labels are best shared between the bands' },
    plot: { kind: 'text', value: 'FILE', writes: ['.svg'], about: 'draw the bands to an .svg file' },
  },
  async run(values, { signal, seed = 0, threads, json }) {
    const { scores: files, id, label, score, edges, confidence, precision, plan, plot } = values
    if (plan !== undefined && !(Number.isInteger(plan) && plan >= 0)) {
      throw new UsageError(`expected --plan N, an integer from 0, but received '${plan}'`)
    }
    if (edges !== undefined) asUsage(() => expectEdges(edges))
    const reading = { id, columns: [label], numeric: [label], threads, signal }
    const known = await readWithTargets('labels', values.labels, label, reading)
    const labelled = placesOf(values.labels, id, known.ids)
    const labelOf = (name: string) => known.columns[label][labelled.get(name) ?? -1] ?? Number.NaN
    const read: Scored[] = []
    for (const file of files) {
      const table = await readTable(file, { id, columns: [score], numeric: [score], threads, signal })
      const values = table.columns[score]
      const hole = values.findIndex(Number.isNaN)
      if (hole >= 0) {
        const text = sentence('bands', `a score of id '${table.ids[hole]}' in ${file}`, 'none')
        throw new SeqriskError('CELL_INVALID', text)
      }
      const places = placesOf(file, id, table.ids)
      const labels = Float64Array.from(table.ids, labelOf)
      if (labels.every(Number.isNaN)) {
        const advice = `compare the id columns: scores have '${table.ids[0]}', labels '${known.ids[0]}'`
        throw new SeqriskError('NO_COMMON_IDS', sentence('bands', `labels of rows in ${file}`, 'none', advice))
      }
      read.push({ file, name: basename(file).replace(/\.\w+$/, ''), ids: table.ids, places, values, labels })
    }
    const isSame = new Set(read.map(({ name }) => name)).size < read.length
    const scorers: { readonly name: string; readonly report: BandReport }[] = []
    for (const { file, name, values, labels } of read) {
      const report = await bandsOf(values, labels, { edges, confidence, seed, signal })
      scorers.push({ name: isSame ? file : name, report })
    }
    const volumes: (Volume & { first: string; second: string; rows: number })[] = []
    const line = progressLine({ quiet: json })
    try {
      for (const [i, other] of read.slice(1).entries()) {
        const options = { precision, confidence, seed, signal, onProgress: line.update }
        const volume = await volumeOfBoth(read[0], other, options)
        volumes.push({ first: scorers[0].name, second: scorers[i + 1].name, ...volume })
      }
    } finally {
      line.done()
    }
    const [{ report }] = scorers
    const planned =
      plan === undefined
        ? undefined
        : labellingPlan(report.rows, {
            edges,
            confidence,
            budget: plan,
            expected: report.bands.map(band => (Number.isNaN(band.precision) ? 0.5 : band.precision)),
          })
    if (plot !== undefined) {
      const subtitle = `${label}, ${Math.round(100 * confidence)} % intervals`
      await writeSvg(plot, bandsPlot({ title: 'Precision per band', subtitle }, scorers))
    }
    return {
      scorers: scorers.map(({ name, report }) => ({ name, ...report })),
      volumes,
      ...(planned && { plan: planned }),
    }
  },
  show({ scorers, volumes, plan }) {
    const lines = [bandsTable(scorers.map(({ name, ...report }) => ({ name, report }))), '']
    for (const { name, auc, averagePrecision, labelled, positives } of scorers) {
      const quality = `AUC ${auc.toFixed(4)}, average precision ${averagePrecision.toFixed(4)}`
      lines.push(`${name}: ${quality}, ${positives} positives of ${labelled} labelled rows`)
    }
    for (const { first, second, precision, found, ratio, interval } of volumes) {
      const spread = `[${interval.low.toFixed(2)}, ${interval.high.toFixed(2)}]`
      const volume = `${found[0]} positives against ${found[1]}, ${ratio.toFixed(2)}× ${spread}`
      lines.push(`${first} and ${second} at precision ${precision.toFixed(3)}: ${volume}`)
    }
    for (const { from, to, rows, label } of plan ?? []) lines.push(`label ${label} of ${rows} rows in ${from}–${to}`)
    return `${lines.join('\n')}\n`
  },
})

/** @throws {SeqriskError} code `ID_TWICE`: which of two rows counts, nobody said */
function placesOf(file: string, id: string, ids: readonly string[]): ReadonlyMap<string, number> {
  const places = new Map<string, number>()
  for (const [row, name] of ids.entries()) {
    if (places.has(name)) {
      throw new SeqriskError(
        'ID_TWICE',
        sentence('bands', `every id of '${id}' once in ${file}`, name, 'keep one row per id'),
      )
    }
    places.set(name, row)
  }
  return places
}

/** On the labelled rows that both score. */
async function volumeOfBoth(first: Scored, second: Scored, options: VolumeOptions): Promise<Volume & { rows: number }> {
  const at = second.places
  const rows = [...first.ids.keys()].filter(row => !Number.isNaN(first.labels[row]) && at.has(first.ids[row]))
  if (rows.length === 0) {
    throw new SeqriskError('NO_COMMON_IDS', sentence('bands', `labelled rows in both score files`, 'none'))
  }
  const volume = await volumeAtEqualPrecision(
    rows.map(row => first.values[row]),
    rows.map(row => second.values[at.get(first.ids[row])!]),
    rows.map(row => first.labels[row]),
    options,
  )
  return { rows: rows.length, ...volume }
}
