// Analogies on the log whose structure is known, by three seeds.

import type { PageSection } from '../../../lib/report/page.js'
import { type AnalogyEvaluation, analogyCells, evaluateAnalogy } from '../analogy.js'
import { StageCache } from './cache.js'
import type { Cells } from './tables.js'

export const ANALOGY = 'analogy'
const SEEDS = [0, 1, 2]
const STAGE = 'seed'

export async function runAnalogies(folder: string): Promise<void> {
  const cache = new StageCache(folder)
  for (const seed of SEEDS) await cache.get(STAGE, { seed }, () => evaluateAnalogy({ seed }))
}

/** One row per seed and encoder, of those that have run. */
export function keptAnalogies(folder: string): Cells {
  const cache = new StageCache(folder)
  const kept = SEEDS.flatMap(seed => {
    const result = cache.peek<AnalogyEvaluation>(STAGE, { seed })
    return result ? [{ seed, ...analogyCells(result) }] : []
  })
  return {
    header: ['seed', ...(kept[0]?.header ?? [])],
    rows: kept.flatMap(({ seed, rows }) => rows.map(row => [String(seed), ...row])),
  }
}

export function analogySection({ header, rows }: Cells): PageSection {
  return {
    heading: 'Analogies',
    text: [
      'A generated log of payments by method, place and amount. How often v(m1, p1) − v(m1, p2) + v(m2, p2) is nearest to v(m2, p1) ' +
        'among 48 combinations, or among the ten nearest; rank correlations of amounts, the worst of all combinations.',
    ],
    tables: [{ header, rows }],
  }
}
