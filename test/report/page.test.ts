import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bandsOf } from '../../lib/report/bands.js'
import { bandsPlot } from '../../lib/report/bands_plot.js'
import { htmlPage, type Page } from '../../lib/report/page.js'
import { curvesPlot, scatterPlot, toSvg } from '../../lib/report/plot.js'

async function page(): Promise<Page> {
  const curve = curvesPlot({ title: 'Curve' }, { x: 'labels', y: 'AUC', isLog: true }, [
    {
      series: 'a',
      points: [50, 200, 1000].map((x, i) => ({ x, y: 0.6 + i / 10, low: 0.5 + i / 10, high: 0.7 + i / 10 })),
    },
  ])
  const cloud = scatterPlot({ title: 'Cloud' }, [
    { x: 0, y: 1, series: 'a' },
    { x: 1, y: 0, series: 'b' },
  ])
  const bands = bandsPlot({ title: 'Bands' }, [
    { name: 'a', report: await bandsOf([1, 2, 3, 4], [0, 0, 1, 1], { edges: [0, 50, 100] }) },
  ])
  const figures = await Promise.all(
    [curve, cloud, bands].map(async plot => ({ svg: await toSvg(plot), caption: 'A <plot>.' })),
  )
  return {
    title: 'A & B',
    subtitle: 'on a machine',
    sections: [
      {
        heading: 'First part',
        text: ['1 < 2'],
        points: ['a point'],
        tables: [
          {
            header: ['name', 'score'],
            rows: [
              ['x', '*0.9'],
              ['y', '<0.8>'],
            ],
          },
        ],
        figures,
      },
      { heading: 'Second part', text: ['the end'] },
    ],
  }
}

test('one file, whatever its texts hold, and names that are used once', async () => {
  const html = htmlPage(await page())
  expect(html).toContain('<h1>A &amp; B</h1>')
  expect(html).toContain('1 &lt; 2')
  expect(html).toContain('<td><b>0.9</b></td>')
  expect(html).toContain('<td>&lt;0.8&gt;</td>')
  expect(html).toContain('A &lt;plot&gt;.')
  // Nothing is fetched, nothing runs.
  expect(html).not.toMatch(/<script|<link|<img|<iframe|@import|src=|url\((?!#)/)
  const ids = [...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id)
  expect(ids.length).toBeGreaterThan(3)
  expect(new Set(ids).size).toBe(ids.length)
  for (const [, id] of html.matchAll(/url\(#([^)]+)\)/g)) expect(ids).toContain(id)
})

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  name => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
)

describe.skipIf(!chromium)(
  `in a browser${chromium ? '' : ', which is not installed (apt-get install chromium)'}`,
  () => {
    /** Opens the page from disk with every name of a host resolved to nothing, and reads what a script there finds. */
    async function look(width: number, script: string): Promise<string> {
      const folder = await mkdtemp(join(tmpdir(), 'seqrisk-page-'))
      try {
        const file = join(folder, 'report.html')
        const html = htmlPage(await page())
        // The script is the test's own: it writes what it sees into the title.
        await writeFile(
          file,
          html.replace('</body>', `<script>document.title = String((() => ${script})())</script></body>`),
        )
        const flags = [
          '--headless=new',
          '--no-sandbox',
          '--disable-gpu',
          '--hide-scrollbars',
          `--user-data-dir=${folder}/user`,
        ]
        const { stdout, status } = spawnSync(
          chromium!,
          [
            ...flags,
            '--host-resolver-rules=MAP * ~NOTFOUND',
            `--window-size=${width},900`,
            '--dump-dom',
            `file://${file}`,
          ],
          { encoding: 'utf8', timeout: 60_000 },
        )
        expect(status).toBe(0)
        return /<title>([^<]*)<\/title>/.exec(stdout)![1]
      } finally {
        await rm(folder, { recursive: true, force: true, maxRetries: 3 })
      }
    }

    test('opens from disk without a network; every plot is drawn', async () => {
      const seen = await look(
        1200,
        '[...document.querySelectorAll("figure svg")].map(svg => svg.getBoundingClientRect()).filter(box => box.width > 200 && box.height > 100).length + " " + document.querySelectorAll("tbody tr").length',
      )
      expect(seen).toBe('3 2')
    })

    test('fits a phone: nothing but tables is wider than the window', async () => {
      expect(await look(500, 'document.documentElement.scrollWidth <= innerWidth')).toBe('true')
    })
  },
)
