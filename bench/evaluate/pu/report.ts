// Figures of the PU experiments as tables: means over seeds with 95 % intervals.

import { markdownTable } from '../../../lib/report/table.js'
import { EDGES, type Outcome, type Quality, SCORERS, type Scorer } from './experiments.js'
import { WAYS, type Way } from './sets.js'

/** Student's t for 95 % by degrees of freedom, 1 to 9; 2 beyond. */
const T = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262]

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

function halfWidth(values: readonly number[]): number {
  const n = values.length
  if (n < 2) return Number.NaN
  const middle = mean(values)
  const variance = values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (n - 1)
  return (T[n - 2] ?? 2) * Math.sqrt(variance / n)
}

const percent = (value: number) => (100 * value).toFixed(1)
const shown = (values: readonly number[]) => `${percent(mean(values))} ± ${percent(halfWidth(values))}`

type Results = Readonly<Record<string, readonly Outcome[]>>
type Measure = (quality: Quality) => number

const of = (outcomes: readonly Outcome[], way: Way, scorer: Scorer, measure: Measure) =>
  outcomes.filter(one => one.way === way).map(one => measure(one.quality[scorer]))

function table(results: Results, way: Way, scorers: readonly Scorer[], measure: Measure): string {
  const names = Object.keys(results)
  const rows = names.map(name => [name, ...scorers.map(scorer => shown(of(results[name], way, scorer, measure)))])
  const means = scorers.map(scorer => percent(mean(names.map(name => mean(of(results[name], way, scorer, measure))))))
  return markdownTable(['set', ...scorers], [...rows, ['mean of the sets', ...means]])
}

/** Over sets, the mean difference of two scorers, and on how many sets the first is ahead. */
function against(results: Results, way: Way, first: Scorer, second: Scorer, measure: Measure): string {
  const differences = Object.values(results).map(outcomes => {
    const [a, b] = [first, second].map(scorer => of(outcomes, way, scorer, measure))
    return a.map((value, i) => value - b[i])
  })
  const means = differences.map(mean)
  const ahead = differences.filter(values => mean(values) - halfWidth(values) > 0).length
  const behind = differences.filter(values => mean(values) + halfWidth(values) < 0).length
  const tenth = means.filter(value => value >= 0.1).length
  const sign = (value: number) => `${value >= 0 ? '+' : '−'}${percent(Math.abs(value))}`
  return (
    `${first} against ${second}: ${sign(mean(means))} points on average, by ten or more on ${tenth} of ${means.length} sets; ` +
    `surely ahead on ${ahead}, surely behind on ${behind}`
  )
}

export function report(results: Results): string {
  const parts: string[] = []
  const first = SCORERS.slice(0, 5)
  for (const way of WAYS) {
    parts.push(
      `4.1 Labels hidden: ${way}. Precision in the 95–100 band, %, of the rows that took part, hidden labels as the truth`,
      table(results, way, first, quality => quality.pool),
      ...first.slice(0, 4).map(other => against(results, way, 'two-step PU', other, quality => quality.pool)),
      `The same of held-out rows; beside it trees that saw all labels`,
      table(results, way, [...first, 'all labels'], quality => quality.held),
      ...first.slice(0, 4).map(other => against(results, way, 'two-step PU', other, quality => quality.held)),
    )
  }
  const asked: Scorer[] = ['isolation forest', 'two-step PU', 'active, random', 'active, LU', 'active PU']
  for (const way of WAYS) {
    parts.push(
      `4.2 Labels hidden: ${way}. 200 answers of an expert who misses a fifth of the positives; held-out rows, 95–100 band, %`,
      table(results, way, asked, quality => quality.held),
      ...asked.slice(0, 4).map(other => against(results, way, 'active PU', other, quality => quality.held)),
      found(results, way),
    )
  }
  for (const way of WAYS) {
    parts.push(
      `4.3 Labels hidden: ${way}. Precision per band of held-out rows, %, mean of the sets`,
      bands(results, way),
    )
    parts.push(volume(results, way))
  }
  return parts.join('\n\n')
}

function found(results: Results, way: Way): string {
  const all = Object.values(results).flatMap(outcomes => outcomes.filter(one => one.way === way))
  const count = (name: string) => mean(all.map(one => one.found[name])).toFixed(1)
  return `Positives that the expert confirmed, on average: ${count('diverse')} by active PU, ${count('random')} at random, ${count('lu')} in the LU setting`
}

function bands(results: Results, way: Way): string {
  const scorers: Scorer[] = ['isolation forest', 'P against U', 'active PU']
  const rows = EDGES.slice(1, -1).map((from, i) => {
    const label = `${from}–${EDGES[i + 2]}`
    const cells = scorers.map(scorer =>
      percent(
        mean(Object.values(results).map(outcomes => mean(of(outcomes, way, scorer, quality => quality.bands[i + 1])))),
      ),
    )
    const least = (other: Scorer) =>
      Object.values(results).filter(
        outcomes =>
          mean(of(outcomes, way, 'active PU', quality => quality.bands[i + 1])) >=
          mean(of(outcomes, way, other, quality => quality.bands[i + 1])),
      ).length
    return [label, ...cells, String(least('isolation forest')), String(least('P against U'))]
  })
  const total = Object.keys(results).length
  const header = ['band', ...scorers, `sets of ${total} where active ≥ isolation`, 'where active ≥ P against U']
  return markdownTable(header, rows.toReversed())
}

function volume(results: Results, way: Way): string {
  const rows = Object.entries(results).map(([name, outcomes]) => {
    const own = outcomes.filter(one => one.way === way)
    const sum = (pick: (one: Outcome) => number) => own.reduce((total, one) => total + pick(one), 0)
    const [active, isolation] = [sum(one => one.volume.active), sum(one => one.volume.isolation)]
    const ratio = isolation === 0 ? '' : `${(active / isolation).toFixed(2)}×`
    return [name, percent(mean(own.map(one => one.volume.precision))), String(active), String(isolation), ratio]
  })
  const ratios = rows.flatMap(row => (row[4] ? [Number.parseFloat(row[4])] : [])).sort((a, b) => a - b)
  const middle = ratios[ratios.length >> 1]
  const three = ratios.filter(ratio => ratio >= 3).length
  return [
    `Volume at equal precision, that of the isolation forest's 95–100 band; held-out positives found, sum over seeds`,
    markdownTable(['set', 'precision', 'active PU', 'isolation forest', 'ratio'], rows),
    `Median ratio ${middle?.toFixed(2)}×; three times or more on ${three} of ${ratios.length} sets`,
  ].join('\n\n')
}
