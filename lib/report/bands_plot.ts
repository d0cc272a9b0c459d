// Bands as a table for the eye and as a plot.

import { expectRange } from '../util/errors.js'
import type { BandReport } from './bands.js'
import { base, colorOf, type Frame } from './plot.js'
import { markdownTable } from './table.js'

export interface NamedBands {
  readonly name: string
  readonly report: BandReport
}

const digits = (value: number, count = 3) => (Number.isNaN(value) ? '' : value.toFixed(count))

/** One row for each band and scorer. */
export function bandsTable(scorers: readonly NamedBands[]): string {
  expectRange(scorers.length > 0, 'bandsTable', 'at least one scorer', 0)
  const rows = scorers.flatMap(({ name, report }) =>
    report.bands
      .toReversed()
      .map(({ from, to, rows, labelled, positives, precision, interval, recall }) => [
        name,
        `${from}–${to}`,
        String(rows),
        String(labelled),
        String(positives),
        digits(precision),
        labelled > 0 ? `[${digits(interval.low)}, ${digits(interval.high)}]` : '',
        digits(recall),
      ]),
  )
  return markdownTable(['scorer', 'band', 'rows', 'labelled', 'positives', 'precision', 'interval', 'recall'], rows)
}

/** Precision of each band with its interval, scorers side by side. */
export function bandsPlot(frame: Frame, scorers: readonly NamedBands[]): object {
  const values = scorers.flatMap(({ name, report }) =>
    report.bands
      .filter(({ labelled }) => labelled > 0)
      .map(({ from, to, precision, interval }) => ({ name, band: `${from}–${to}`, precision, ...interval })),
  )
  expectRange(values.length > 0, 'bandsPlot', 'at least one band with labels', 0)
  const names = scorers.map(({ name }) => name)
  const bands = scorers[0].report.bands.map(({ from, to }) => `${from}–${to}`)
  const x = { field: 'band', type: 'nominal', sort: bands, title: 'percentile of the score', axis: { labelAngle: 0 } }
  const xOffset = { field: 'name', sort: names }
  const scale = { domain: [0, 1] }
  return {
    ...base(frame),
    width: { step: 26 },
    height: 280,
    data: { values },
    layer: [
      {
        mark: { type: 'bar', cornerRadiusEnd: 2 },
        encoding: {
          x,
          xOffset,
          y: { field: 'precision', type: 'quantitative', title: 'precision', scale },
          color: { ...colorOf(names), field: 'name', legend: { title: null, orient: 'top', labelLimit: 0 } },
        },
      },
      {
        mark: { type: 'rule', color: '#333', strokeWidth: 1.5 },
        encoding: { x, xOffset, y: { field: 'low', type: 'quantitative', scale }, y2: { field: 'high' } },
      },
    ],
  }
}
