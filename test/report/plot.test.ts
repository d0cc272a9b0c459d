import { describe, expect, it } from 'vitest'
import { barsPlot, curvesPlot, toSvg } from '../../lib/report/plot.js'
import { markdownTable } from '../../lib/report/table.js'

describe('plots', () => {
  it('draws bars with their values and names', async () => {
    const bars = [
      { group: 'risk', series: 'vectors', mean: 0.81, sd: 0.02 },
      { group: 'risk', series: 'both', mean: 0.9, sd: 0.01 },
    ]
    const svg = await toSvg(barsPlot({ title: 'AUC by features' }, 'AUC', bars))
    for (const text of ['<svg', 'AUC by features', 'vectors', 'both', '0.810', '0.900', 'risk'])
      expect(svg).toContain(text)
  })

  it('draws curves, each named at its end', async () => {
    const points = [1, 2, 3].map(x => ({ x, y: 1 / x }))
    const svg = await toSvg(curvesPlot({ title: 'Loss' }, { x: 'epoch', y: 'loss' }, [{ series: 'held out', points }]))
    for (const text of ['<svg', 'Loss', 'epoch', 'held out']) expect(svg).toContain(text)
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
