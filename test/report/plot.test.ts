import { describe, expect, it, vi } from 'vitest'
import { barsPlot, curvesPlot, scatterPlot, toSvg } from '../../lib/report/plot.js'
import { markdownTable } from '../../lib/report/table.js'

/** Left and right end of each bar, as drawn: the outermost x of its path. */
function barsIn(svg: string): { from: number; to: number }[] {
  const paths = [...svg.matchAll(/aria-roledescription="bar" d="([^"]+)"/g)]
  return paths.map(([, path]) => {
    const xs = [...path.matchAll(/(-?[\d.]+),-?[\d.]+/g)].map(([, x]) => Number(x))
    return { from: Math.min(...xs), to: Math.max(...xs) }
  })
}

describe('plots', () => {
  const bars = [
    { group: 'risk', series: 'vectors', mean: 0.7, sd: 0.02 },
    { group: 'risk', series: 'both', mean: 0.9, sd: 0.01 },
    { group: 'age', series: 'vectors', mean: 0.99, sd: 0.03 },
  ]

  it('draws bars with their values and names, in the order given', async () => {
    const svg = await toSvg(barsPlot({ title: 'AUC by features', subtitle: 'five folds' }, 'AUC', bars))
    const texts = ['AUC by features', 'five folds', 'risk', 'vectors', 'both', '0.700', '0.900', '0.990']
    for (const text of ['<svg', ...texts]) expect(svg).toContain(text)
    expect(svg.indexOf('>risk<')).toBeLessThan(svg.indexOf('>age<'))
  })

  it('draws every bar inside its panel, longer where the mean is higher', async () => {
    for (const chance of [0, 0.3, 0.5]) {
      const drawn = barsIn(await toSvg(barsPlot({ title: 'AUC' }, 'AUC', bars, { chance })))
      expect(drawn.length).toBe(3)
      for (const { from, to } of drawn) expect(from >= 0 && to > from && to <= 420).toBe(true)
      const [low, high] = drawn
      expect(high.to - low.to).toBeGreaterThan(20)
      expect(high.from).toBe(low.from)
    }
  })

  it('has room for bars below chance', async () => {
    const drawn = barsIn(await toSvg(barsPlot({ title: 'AUC' }, 'AUC', [{ ...bars[0], mean: 0.31, sd: 0.2 }])))
    expect(drawn.length).toBe(1)
    expect(drawn[0].to).toBeGreaterThan(drawn[0].from)
    expect(drawn[0].from).toBeGreaterThanOrEqual(0)
  })

  it('draws curves, each named at its end, names apart from each other', async () => {
    const points = [1, 2, 3].map(x => ({ x, y: 1 / x }))
    const curves = [
      { series: 'held out', points },
      { series: 'training', points: points.map(({ x, y }) => ({ x, y: y - 0.001 })) },
    ]
    const svg = await toSvg(curvesPlot({ title: 'Loss' }, { x: 'epoch', y: 'loss' }, curves))
    for (const text of ['<svg', 'Loss', 'epoch']) expect(svg).toContain(text)
    const heights = ['held out', 'training'].map(name => {
      const [, y] = svg.match(new RegExp(`translate\\([\\d.]+,([\\d.]+)\\)[^>]*>${name}<`))!
      return Number(y)
    })
    expect(Math.abs(heights[0] - heights[1])).toBeGreaterThan(12)
  })

  it('draws a cloud with a name for each colour', async () => {
    const points = [0, 1, 2].map(i => ({ x: i, y: -i, series: i < 2 ? 'honest' : 'risky' }))
    const svg = await toSvg(scatterPlot({ title: 'Users' }, points))
    for (const text of ['Users', 'honest', 'risky', '#0072B2', '#E69F00']) expect(svg).toContain(text)
    expect(svg.match(/aria-roledescription="circle"/g)?.length).toBe(3)
  })

  it('refuses to draw nothing', () => {
    expect(() => barsPlot({ title: '' }, '', [])).toThrow('[barsPlot] expected at least one bar but received 0')
    expect(() => curvesPlot({ title: '' }, { x: '', y: '' }, [{ series: 'a', points: [] }])).toThrow(RangeError)
    expect(() => scatterPlot({ title: '' }, [])).toThrow(RangeError)
  })

  it('names the packages that are missing', async () => {
    vi.doMock('vega', () => {
      throw new Error('not installed')
    })
    await expect(toSvg(barsPlot({ title: '' }, '', bars))).rejects.toMatchObject({
      code: 'PACKAGE_MISSING',
      message: expect.stringContaining('npm install vega vega-lite'),
    })
    vi.doUnmock('vega')
  })
})

describe('markdownTable', () => {
  it('aligns text left, numbers right', () => {
    expect(
      markdownTable(
        ['name', 'AUC'],
        [
          ['vectors', '0.8'],
          ['é', '0.75'],
        ],
      ),
    ).toBe(['| name    |  AUC |', '|---------|-----:|', '| vectors |  0.8 |', '| é       | 0.75 |'].join('\n'))
  })
})
