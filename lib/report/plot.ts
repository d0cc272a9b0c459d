// Plots: Vega-Lite specifications drawn to SVG files. `vega` and `vega-lite` are optional peers.

import { SeqriskError } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'

/** Okabe & Ito 2008: told apart by colour-blind readers too. */
const palette = ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#999999']

export interface ScoredBar {
  readonly group: string
  readonly series: string
  readonly mean: number
  readonly sd: number
}

export interface Curve {
  readonly series: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

interface Frame {
  readonly title: string
  readonly subtitle?: string
}

/** Bars with a line of one deviation to each side: one group per label, one colour per set of features. */
export function barsPlot(frame: Frame, axis: string, bars: readonly ScoredBar[]): object {
  const values = bars.map(bar => ({ ...bar, low: bar.mean - bar.sd, high: bar.mean + bar.sd }))
  const series = [...new Set(bars.map(bar => bar.series))]
  const shared = {
    x: { field: 'series', sort: series, title: null, axis: { labels: false, ticks: false } },
    color: { field: 'series', sort: series, scale: { range: palette }, legend: { title: null, orient: 'bottom' } },
  }
  const lowest = Math.min(...values.map(({ low }) => low))
  const floor = Math.max(0, Math.floor(10 * Math.min(0.5, lowest)) / 10)
  const scale = { domain: [floor, 1], zero: false }
  return {
    ...base(frame),
    data: { values },
    facet: { column: { field: 'group', title: null, header: { labelFontSize: 13, labelOrient: 'bottom' } } },
    spec: {
      width: Math.max(90, 34 * series.length),
      height: 260,
      layer: [
        {
          mark: { type: 'bar', clip: true, cornerRadiusEnd: 2 },
          encoding: { ...shared, y: { field: 'mean', type: 'quantitative', title: axis, scale } },
        },
        {
          mark: { type: 'rule', color: '#333', strokeWidth: 1.5, clip: true },
          encoding: { x: shared.x, y: { field: 'low', type: 'quantitative', scale }, y2: { field: 'high' } },
        },
        {
          mark: { type: 'text', dy: -8, fontSize: 11, color: '#333' },
          encoding: {
            x: shared.x,
            y: { field: 'high', type: 'quantitative', scale },
            text: { field: 'mean', type: 'quantitative', format: '.3f' },
          },
        },
      ],
    },
  }
}

/** Lines over steps, epochs or numbers of labels, each named at its end. */
export function curvesPlot(frame: Frame, axes: { x: string; y: string }, curves: readonly Curve[]): object {
  const values = curves.flatMap(({ series, points }) => points.map(point => ({ series, ...point })))
  const ends = curves.flatMap(({ series, points }) => points.slice(-1).map(point => ({ series, ...point })))
  const x = { field: 'x', type: 'quantitative', title: axes.x }
  const y = { field: 'y', type: 'quantitative', title: axes.y, scale: { zero: false } }
  const color = { field: 'series', scale: { range: palette }, legend: null }
  return {
    ...base(frame),
    width: 560,
    height: 300,
    layer: [
      { data: { values }, mark: { type: 'line', strokeWidth: 2 }, encoding: { x, y, color } },
      {
        data: { values: ends },
        mark: { type: 'text', align: 'left', dx: 6, fontSize: 12 },
        encoding: { x, y, color, text: { field: 'series' } },
      },
    ],
  }
}

function base({ title, subtitle }: Frame): object {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, subtitle: subtitle ?? '', anchor: 'start', fontSize: 16, subtitleFontSize: 12, offset: 12 },
    background: 'white',
    padding: 16,
    config: {
      font: 'Helvetica, Arial, sans-serif',
      axis: { labelFontSize: 12, titleFontSize: 12, gridColor: '#e6e6e6', domainColor: '#888', tickColor: '#888' },
      legend: { labelFontSize: 12 },
      view: { stroke: null },
    },
  }
}

/**
 * Draws a specification to an SVG file.
 * @throws {SeqriskError} code `PEER_MISSING` when vega or vega-lite is not installed
 */
export async function writeSvg(path: string, specification: object): Promise<void> {
  await writeFileAtomic(path, await toSvg(specification))
}

export async function toSvg(specification: object): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]).catch((cause: unknown) => {
    const text = '[plot] expected the packages vega and vega-lite but received none; run npm install vega vega-lite'
    throw new SeqriskError('PEER_MISSING', text, { cause })
  })
  const { spec } = vegaLite.compile(specification as Parameters<typeof vegaLite.compile>[0])
  return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG()
}
