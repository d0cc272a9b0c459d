import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeTable } from '../../events/write.js'
import { saveLightgbm } from '../../export/lightgbm.js'
import { learnPu, PU_METHODS, type PuMethod } from '../../pu/baselines.js'
import { DEFAULTS, PU_GBRT, type TwoStepOptions, twoStepOptions } from '../../pu/options.js'
import { readPuTable } from '../../pu/table.js'
import { progressLine } from '../../report/progress.js'
import { BinnedMatrix } from '../../runtime/binned_matrix.js'
import { writeFileAtomic } from '../../util/files.js'
import { given } from '../../util/options.js'
import { asUsage, defineCommand, UsageError } from '../command.js'
import { fittingDevice } from '../table_device.js'
import { warn } from '../warn.js'

export const puCommand = defineCommand({
  name: 'pu',
  about: 'find positives among unlabelled rows, from a few known ones (two-step PU learning with spies)',
  options: {
    table: { kind: 'text', value: 'FILE', required: true, about: 'CSV, CSV.gz, Parquet or JSON lines' },
    id: { kind: 'text', value: 'COL', required: true, about: 'column that names the rows' },
    positive: { kind: 'text', value: 'COL', required: true, about: '1 for known positives; 0 or nothing: unlabelled' },
    out: {
      kind: 'text',
      value: 'DIR',
      required: true,
      writes: 'folder',
      about: 'where model.txt, scores.csv and report.json go',
    },
    drop: { kind: 'list', value: 'COL,…', about: 'columns that are no features' },
    categorical: { kind: 'list', value: 'COL,…', about: 'columns of categories, codes or text' },
    spies: {
      kind: 'number',
      range: '(0, 1)',
      value: 'X',
      about: `share of the positives that spy (default ${DEFAULTS.spies})`,
    },
    cut: { kind: 'text', oneOf: ['quantile', 'minimum', 'tolerance'], about: `cut rule (default ${DEFAULTS.cut})` },
    quantile: {
      kind: 'number',
      range: '[0, 1]',
      value: 'X',
      about: `of the spies’ scores (default ${DEFAULTS.quantile})`,
    },
    tolerance: {
      kind: 'number',
      range: '[0, ∞)',
      value: 'X',
      about: `of outlying spies (default ${DEFAULTS.tolerance})`,
    },
    rounds: {
      kind: 'numbers',
      range: 'whole [1, ∞)',
      value: 'N,N',
      about: `most rounds of each step, N of one-step (default ${DEFAULTS.rounds})`,
    },
    draws: {
      kind: 'number',
      range: 'whole [1, ∞)',
      value: 'N',
      about: `draws of spies (default ${DEFAULTS.draws})`,
    },
    'most-negatives': {
      kind: 'number',
      range: '(0, 1]',
      value: 'X',
      about: `most reliable negatives, share of the unlabelled (default ${DEFAULTS.mostNegatives})`,
    },
    'positive-weight': {
      kind: 'text',
      value: 'N',
      about: `of known positives, or balanced (default ${DEFAULTS.positiveWeight})`,
    },
    start: { kind: 'text', oneOf: ['unusual', 'zero'], about: `of U as step 1 begins (default ${DEFAULTS.start})` },
    rest: { kind: 'text', oneOf: ['scores', 'out'], about: `of U as step 2 begins (default ${DEFAULTS.rest})` },
    convergence: {
      kind: 'number',
      range: '[0, ∞)',
      value: 'X',
      about: `change that ends a step (default ${DEFAULTS.convergence})`,
    },
    method: { kind: 'text', oneOf: PU_METHODS, about: 'what to learn by', fallback: 'two-step' },
    learner: { kind: 'text', oneOf: ['gbrt', 'forest'], about: `what to refit (default ${DEFAULTS.learner})` },
    trees: {
      kind: 'number',
      range: 'whole [1, ∞)',
      value: 'N',
      about: `trees of a fit (default ${PU_GBRT.numIterations}; 100 of a forest, supervised or isolation)`,
    },
    'num-leaves': { kind: 'number', range: 'whole [2, 131072]', value: 'N', about: 'leaves of a tree' },
    'learning-rate': { kind: 'number', range: '(0, ∞)', value: 'X', about: 'of boosted trees' },
    'min-data-in-leaf': { kind: 'number', range: '[0, 2147483648]', value: 'N', about: 'fewest rows of a leaf' },
  },
  async run(values, context) {
    const { signal, seed = 0, threads, json } = context
    const { id, positive, drop = [], categorical = [], out } = values
    const method = values.method as PuMethod
    expectUsed(method, values)
    const clash = [id, positive].find(name => drop.includes(name) || categorical.includes(name))
    if (clash !== undefined) throw new UsageError(`expected '${clash}' in one option but received it in two`)
    const line = progressLine({ quiet: json })
    const options = optionsOf(method, values, { seed, signal, onProgress: line.update })
    asUsage(() => checkOptions(method, options))
    const begun = performance.now()
    const table = await readPuTable('pu', values.table, { id, positive, drop, categorical, threads, signal })
    const { layout, columns, positives } = table
    const device = fittingDevice(positives.length, columns.length, context)
    try {
      const matrix = await BinnedMatrix.from(device, { columns }, { names: layout.names, categorical, seed, signal })
      const problem = { matrix, positives, data: { columns } }
      const outcome = await learnPu(problem, method, options)
      const { model, scores, diagnostics } = outcome
      const known = positives.reduce((sum, one) => sum + one, 0)
      const report = {
        method,
        rows: positives.length,
        positives: known,
        features: columns.length,
        draws: diagnostics.draws,
        unusualGain: Number.isNaN(diagnostics.unusualGain) ? null : diagnostics.unusualGain,
        spread: diagnostics.spread,
        // What is not a number has no place in JSON.
        rounds: outcome.rounds.map(round => ({ ...round, change: Number.isNaN(round.change) ? null : round.change })),
        warnings: diagnostics.warnings,
        seconds: (performance.now() - begun) / 1000,
      }
      if (model) await saveLightgbm(model.withLevels(layout.levels), join(out, 'model.txt'))
      // A model of an earlier run would not belong to these scores.
      else await rm(join(out, 'model.txt'), { force: true })
      await writeFileAtomic(join(out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
      await writeTable(join(out, 'scores.csv'), id, { ids: table.ids, columns: { score: scores } }, { signal })
      line.done()
      for (const { message } of diagnostics.warnings) warn(message)
      return { out, ...report }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ out, method, rows, positives, features, draws, rounds, seconds }) {
    const found = draws.map(({ negatives }) => negatives).join(', ')
    const sets = draws.length > 0 ? `, ${found} reliable negatives` : ''
    const head = `${method}: ${positives} known positives of ${rows} rows × ${features} features${sets}`
    return `${head}, ${rounds.length} rounds in ${seconds.toFixed(1)} s: ${out}\n`
  },
})

interface Asked {
  readonly [name: string]: unknown
  readonly trees?: number | undefined
  readonly learner?: string | undefined
}

const LOOP = ['positive-weight', 'learner', 'trees', 'num-leaves', 'learning-rate', 'min-data-in-leaf']
const SPIES = ['spies', 'cut', 'quantile', 'tolerance', 'draws', 'most-negatives', 'start', 'rest']
/** The options that tell a method what to do. */
const USED: Readonly<Record<PuMethod, readonly string[]>> = {
  'two-step': [...SPIES, 'rounds', 'convergence', ...LOOP],
  'one-step': ['rounds', 'convergence', ...LOOP],
  supervised: LOOP,
  isolation: ['trees'],
}

/** @throws {UsageError} for options that would change nothing */
function expectUsed(method: PuMethod, values: Asked): void {
  const used = USED[method]
  const idle = Object.values(USED)
    .flat()
    .find(name => values[name] !== undefined && !used.includes(name))
  if (idle !== undefined) {
    const advice = `it takes ${used.map(name => `--${name}`).join(', ')}`
    throw new UsageError(`expected an option of --method ${method} but received --${idle}; ${advice}`)
  }
  const rounds = values.rounds as readonly number[] | undefined
  const steps = method === 'one-step' ? 1 : 2
  if (rounds && rounds.length !== steps) {
    const wanted = steps === 1 ? 'N with --method one-step' : 'N,N'
    throw new UsageError(`expected --rounds ${wanted} but received '${rounds}'`)
  }
}

/** Refuses values that cannot be; what all methods but isolation share is looked at alike. */
function checkOptions(method: PuMethod, options: TwoStepOptions): void {
  if (method === 'isolation') return
  const { rounds, ...shared } = options
  twoStepOptions('pu', method === 'two-step' ? options : shared)
}

/** The options that a method knows. */
function optionsOf(method: PuMethod, values: Asked, control: object): object {
  const { signal, seed } = control as { signal: AbortSignal; seed: number }
  if (method === 'isolation') return { seed, signal, ...(values.trees !== undefined && { trees: values.trees }) }
  const trees = given({
    numIterations: values.trees,
    numLeaves: values['num-leaves'],
    minDataInLeaf: values['min-data-in-leaf'],
    learningRate: values['learning-rate'],
  })
  const { learningRate, ...forest } = trees
  if (values.learner === 'forest' && learningRate !== undefined) {
    throw new UsageError('expected --learning-rate with --learner gbrt but received it with forest')
  }
  const weight = values['positive-weight'] as string | undefined
  const loop = {
    ...control,
    learner: values.learner,
    ...(values.learner === 'forest' ? { forest } : { gbrt: trees }),
    ...(weight !== undefined && { positiveWeight: weight === 'balanced' ? weight : Number(weight) }),
  }
  if (method === 'supervised') return loop
  const { rounds } = values
  if (method === 'one-step') return { ...loop, convergence: values.convergence, rounds: (rounds as number[])?.[0] }
  const { spies, cut, quantile, tolerance, draws, start, rest, convergence } = values
  const mostNegatives = values['most-negatives']
  return { ...loop, convergence, rounds, spies, cut, quantile, tolerance, draws, start, rest, mostNegatives }
}
