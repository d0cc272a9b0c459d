// Plots: Vega-Lite specifications drawn to SVG files. `vega` and `vega-lite` are optional peers.

import { expectRange, SeqriskError } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'

/** Okabe & Ito 2008: told apart by colour-blind readers too. */
const palette = ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#999999', '#000000']
const ink = '#333'

export interface Frame {
  readonly title: string
  readonly subtitle?: string
}

export interface ScoredBar {
  readonly group: string
  readonly series: string
  readonly mean: number
  readonly sd: number
}

export interface BarsOptions {
  /** Where chance stands: a dashed line, and the bars start there or below. Default 0.5. */
  readonly chance?: number
}

export interface CurvePoint {
  readonly x: number
  readonly y: number
  /** Ends of an interval around y, drawn as a line. */
  readonly low?: number
  readonly high?: number
}

export interface Curve {
  readonly series: string
  readonly points: readonly CurvePoint[]
}

export interface CurveAxes {
  readonly x: string
  readonly y: string
  /** Steps along x that multiply, such as numbers of labels. */
  readonly isLog?: boolean
}

export interface ScatterPoint {
  readonly x: number
  readonly y: number
  readonly series: string
}

/** Lying bars with a line of one deviation to each side: one panel per group, one bar per series, named beside it. */
export function barsPlot(
  frame: Frame,
  axis: string,
  bars: readonly ScoredBar[],
  { chance = 0.5 }: BarsOptions = {},
): object {
  expectRange(bars.length > 0, 'barsPlot', 'at least one bar', 0)
  const lowest = Math.min(chance, ...bars.map(({ mean, sd }) => mean - sd))
  // Room below the lowest, so that no bar has length 0.
  const floor = Math.max(0, Math.floor(20 * lowest - 0.5) / 20)
  const scale = { domain: [floor, 1], zero: false, nice: false }
  const values = bars.map(bar => ({ ...bar, floor, low: bar.mean - bar.sd, high: Math.min(1, bar.mean + bar.sd) }))
  const series = [...new Set(bars.map(bar => bar.series))]
  const y = {
    field: 'series',
    type: 'nominal',
    sort: series,
    title: null,
    axis: { ticks: false, domain: false, labelPadding: 8 },
  }
  const x = { field: 'mean', type: 'quantitative', title: axis, scale, axis: { format: '.1f', tickCount: 6 } }
  return {
    ...base(frame),
    data: { values },
    facet: {
      row: {
        field: 'group',
        title: null,
        sort: [...new Set(bars.map(bar => bar.group))],
        header: {
          labelOrient: 'top',
          labelAnchor: 'start',
          labelFontSize: 13,
          labelFontWeight: 'bold',
          labelPadding: 4,
        },
      },
    },
    spacing: 14,
    spec: {
      width: 420,
      height: { step: 24 },
      layer: [
        {
          mark: { type: 'bar', height: 16, cornerRadiusEnd: 2 },
          encoding: {
            y,
            x,
            x2: { field: 'floor' },
            color: { field: 'series', sort: series, scale: { range: palette }, legend: null },
          },
        },
        {
          mark: { type: 'rule', strokeDash: [3, 3], color: '#777' },
          encoding: { x: { datum: chance, type: 'quantitative', scale } },
        },
        {
          mark: { type: 'rule', color: ink, strokeWidth: 1.5 },
          encoding: { y, x: { field: 'low', type: 'quantitative', scale }, x2: { field: 'high' } },
        },
        {
          mark: { type: 'text', align: 'left', dx: 6, fontSize: 12, color: ink },
          encoding: {
            y,
            x: { field: 'high', type: 'quantitative', scale },
            text: { field: 'mean', type: 'quantitative', format: '.3f' },
          },
        },
      ],
    },
  }
}

/** Lines over steps, epochs or numbers of labels, each named at its end. */
export function curvesPlot(frame: Frame, axes: CurveAxes, curves: readonly Curve[]): object {
  const values = curves.flatMap(({ series, points }) => points.map(point => ({ series, ...point })))
  expectRange(values.length > 0, 'curvesPlot', 'at least one point', 0)
  const ticks = axes.isLog ? { values: [...new Set(values.map(value => value.x))] } : { tickMinStep: 1 }
  const x = {
    field: 'x',
    type: 'quantitative',
    title: axes.x,
    scale: axes.isLog ? { type: 'log', nice: false } : { zero: false, nice: false },
    axis: { grid: false, format: ',d', labelOverlap: true, ...ticks },
  }
  const y = { field: 'y', type: 'quantitative', title: axes.y, scale: { zero: false } }
  const color = colorOf(curves.map(curve => curve.series))
  return {
    ...base(frame),
    width: 560,
    height: 300,
    layer: [
      {
        data: { values: values.filter(({ low }) => low !== undefined) },
        mark: { type: 'rule', strokeWidth: 1, opacity: 0.5 },
        encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
      },
      { data: { values }, mark: { type: 'line', strokeWidth: 2 }, encoding: { x, y, color } },
      {
        data: { values: endLabels(curves, values) },
        mark: { type: 'text', align: 'left', dx: 6, fontSize: 12, fontWeight: 'bold' },
        encoding: { x, y, color, text: { field: 'series' } },
      },
    ],
  }
}

/** A cloud of points, coloured by series: vectors brought down to two dimensions. */
export function scatterPlot(frame: Frame, points: readonly ScatterPoint[]): object {
  expectRange(points.length > 0, 'scatterPlot', 'at least one point', 0)
  const series = [...new Set(points.map(point => point.series))]
  const bare = { title: null, axis: null, scale: { zero: false } }
  return {
    ...base(frame),
    width: 460,
    height: 460,
    data: { values: points },
    mark: { type: 'circle', size: 22, opacity: 0.6 },
    encoding: {
      x: { field: 'x', type: 'quantitative', ...bare },
      y: { field: 'y', type: 'quantitative', ...bare },
      color: {
        ...colorOf(series),
        legend: { title: null, orient: 'right', symbolOpacity: 1, symbolSize: 80, labelLimit: 0 },
      },
    },
  }
}

export function colorOf(series: readonly string[]) {
  return { field: 'series', type: 'nominal', sort: series, scale: { domain: series, range: palette }, legend: null }
}

/** Names at the ends of the curves, moved up where they would stand on each other. */
function endLabels(curves: readonly Curve[], values: readonly { y: number }[]) {
  const heights = values.map(value => value.y)
  const gap = 0.055 * (Math.max(...heights) - Math.min(...heights))
  const ends = curves
    .flatMap(({ series, points }) => points.slice(-1).map(point => ({ series, ...point })))
    .sort((a, b) => a.y - b.y)
  for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + gap)
  return ends
}

export function base({ title, subtitle = '' }: Frame): object {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: {
      text: title,
      subtitle,
      anchor: 'start',
      fontSize: 17,
      subtitleFontSize: 12,
      subtitleColor: '#666',
      subtitlePadding: 4,
      offset: 14,
    },
    background: 'white',
    padding: 18,
    config: {
      font: 'Helvetica, Arial, sans-serif',
      axis: {
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 'normal',
        titleColor: ink,
        labelColor: ink,
        labelLimit: 0,
        gridColor: '#ebebeb',
        domainColor: '#999',
        tickColor: '#999',
      },
      legend: { labelFontSize: 12 },
      view: { stroke: null },
    },
  }
}

/**
 * Draws a specification to an SVG file.
 * @throws {SeqriskError} code `PACKAGE_MISSING` when vega or vega-lite is not installed
 */
export async function writeSvg(path: string, specification: object): Promise<void> {
  await writeFileAtomic(path, await toSvg(specification))
}

export async function toSvg(specification: object): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]).catch((cause: unknown) => {
    const text =
      "[plot] expected the optional packages 'vega' and 'vega-lite' but received none; run npm install vega vega-lite"
    throw new SeqriskError('PACKAGE_MISSING', text, { cause })
  })
  const { spec } = vegaLite.compile(specification as Parameters<typeof vegaLite.compile>[0])
  return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG()
}
