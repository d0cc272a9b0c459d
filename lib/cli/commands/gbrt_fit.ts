import type { Table } from '../../events/table.js'
import { saveLightgbm } from '../../export/lightgbm.js'
import { progressLine } from '../../report/progress.js'
import { type BinnedColumn, BinnedMatrix } from '../../runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer, type Objective } from '../../trees/gbrt.js'
import { columnsOfLayout, layoutOf, readingOf, type TableLayout } from '../../trees/table_input.js'
import { SeqriskError, sentence } from '../../util/errors.js'
import { defineCommand, type OptionSpec, type Range, UsageError } from '../command.js'
import { fittingDevice } from '../table_device.js'
import { readWithTargets } from '../targets.js'
import { warn } from '../warn.js'

const OBJECTIVES: Record<string, Objective> = { binary: 'logistic', regression: 'squared', multiclass: 'softmax' }

/** LightGBM's parameters that are numbers: their defaults, and what they may be. */
const PARAMETERS = {
  'num-iterations': [100, 'whole [0, ∞)'],
  'num-leaves': [31, 'whole [2, 131072]'],
  'max-depth': [-1, 'whole [-1, 2147483648]'],
  'learning-rate': [0.1, '(0, ∞)'],
  'min-data-in-leaf': [20, '[0, 2147483648]'],
  'min-sum-hessian-in-leaf': [0.001, '[0, ∞)'],
  'min-gain-to-split': [0, '[0, ∞)'],
  'lambda-l1': [0, '[0, ∞)'],
  'lambda-l2': [0, '[0, ∞)'],
  'max-delta-step': [0, '[0, ∞)'],
  'bagging-fraction': [1, '(0, 1]'],
  'bagging-freq': [0, 'whole [0, 2147483648]'],
  'feature-fraction': [1, '(0, 1]'],
  'feature-fraction-bynode': [1, '(0, 1]'],
  'early-stopping-round': [0, 'whole [0, ∞)'],
  'max-cat-threshold': [32, 'whole [1, 255]'],
  'max-cat-to-onehot': [4, 'whole [1, 255]'],
  'cat-l2': [10, '[0, ∞)'],
  'cat-smooth': [10, '[0, ∞)'],
  'min-data-per-group': [100, 'whole [1, 2147483648]'],
} as const satisfies Record<string, readonly [fallback: number, range: Range]>

type Parameter = keyof typeof PARAMETERS

const parameterOptions = Object.fromEntries(
  Object.entries(PARAMETERS).map(([name, [fallback, range]]) => {
    const about = name === 'early-stopping-round' ? 'rounds without a better loss on --valid; 0: never stop early' : ''
    return [name, { kind: 'number', value: 'X', about: about || "LightGBM's parameter", fallback, range }]
  }),
) as unknown as Record<Parameter, OptionSpec & { kind: 'number'; fallback: number }>

const camelCase = (name: string) => name.replace(/-./g, part => part[1].toUpperCase())

export const gbrtFitCommand = defineCommand({
  name: 'gbrt fit',
  about: "train boosted trees on a table; the model is LightGBM's text format",
  options: {
    table: { kind: 'text', value: 'FILE', required: true, about: 'CSV, CSV.gz, Parquet or JSON lines' },
    target: {
      kind: 'text',
      value: 'COL',
      required: true,
      about: 'what to learn, numbers or true and false; rows without it are left out',
    },
    model: { kind: 'text', value: 'FILE', required: true, writes: 'file', about: 'where to write the model' },
    id: { kind: 'text', value: 'COL', about: 'column that names the rows; it is no feature' },
    drop: { kind: 'list', value: 'COL,…', about: 'columns that are no features' },
    categorical: { kind: 'list', value: 'COL,…', about: 'columns of categories, codes or text' },
    weight: { kind: 'text', value: 'COL', about: 'column of row weights' },
    valid: { kind: 'text', value: 'FILE', about: 'table to watch the loss on' },
    objective: {
      kind: 'text',
      oneOf: Object.keys(OBJECTIVES),
      about: 'default: binary where all targets are 0 or 1, else regression',
    },
    'num-class': {
      kind: 'number',
      range: 'whole [1, 4096]',
      value: 'N',
      about: 'classes of multiclass (default: largest target + 1)',
    },
    ...parameterOptions,
    'monotone-constraints': {
      kind: 'numbers',
      range: 'whole [-1, 1]',
      value: '1,0,-1,…',
      about: 'for each feature in the order of the table: 1 rises, -1 falls, 0 is free',
    },
    'boost-from-average': { kind: 'text', oneOf: ['true', 'false'], about: 'start from the mean', fallback: 'true' },
    'max-bin': { kind: 'number', range: 'whole [2, 255]', value: 'N', about: 'most bins of a column', fallback: 255 },
    'min-data-in-bin': {
      kind: 'number',
      range: 'whole [1, 1073741824]',
      value: 'N',
      about: 'fewest rows in a bin',
      fallback: 3,
    },
    'bin-construct-sample-cnt': {
      kind: 'number',
      range: 'whole [1, ∞)',
      value: 'N',
      about: 'rows that bins come from',
      fallback: 200_000,
    },
  },
  async run(values, context) {
    const { signal, seed = 0, threads, json } = context
    const { target, weight, id, drop = [], categorical = [] } = values
    if (values['early-stopping-round'] > 0 && values.valid === undefined) {
      throw new UsageError('expected --valid with --early-stopping-round but received no table')
    }
    const own = weight === undefined ? [target] : [target, weight]
    const named = id === undefined ? own : [...own, id]
    const isOther = (name: string) => drop.includes(name) || categorical.includes(name)
    const clash = named.find(name => isOther(name) || (name === id && own.includes(name)))
    if (clash !== undefined) throw new UsageError(`expected '${clash}' in one option but received it in two`)
    const begun = performance.now()
    const table = await readWithTargets('gbrt', values.table, target, { numeric: own, threads, signal })
    const layout = layoutOf('gbrt', table, { drop: [...named, ...drop], categorical })
    const rising = layout.names.filter(name => !categorical.includes(name) && risesByRow(table.columns[name]))
    const constraints = constraintsOf(table, layout, values['monotone-constraints'])
    const reading = readingOf(layout)
    const valid =
      values.valid === undefined
        ? undefined
        : await readWithTargets('gbrt', values.valid, target, {
            ...reading,
            columns: [...reading.columns!, ...own],
            numeric: [...reading.numeric!, ...own],
            threads,
            signal,
          })
    const targets = table.columns[target]
    const mask = Uint8Array.from(targets, value => Number(!Number.isNaN(value)))
    const rows = mask.reduce((sum, one) => sum + one, 0)
    if (rows === 0) throw new SeqriskError('NO_LABELS', `[gbrt] expected targets in '${target}' but received none`)
    const all = valid ? [targets, valid.columns[target]] : [targets]
    const objective = values.objective === undefined ? guessed(all) : OBJECTIVES[values.objective]
    const known = targets.filter(value => !Number.isNaN(value))
    const isConstant = known.every(value => value === known[0])
    if (isConstant && objective !== 'squared') {
      const text = sentence('gbrt', `two classes or more in '${target}'`, known[0], 'one class tells nothing')
      throw new SeqriskError('ONE_CLASS', text)
    }
    const device = fittingDevice(targets.length, layout.names.length, context)
    const line = progressLine({ quiet: json })
    try {
      const columns = columnsOfLayout(layout, table)
      const names = layout.names
      const matrix = await BinnedMatrix.from(
        device,
        { columns },
        {
          names,
          categorical,
          maxBin: values['max-bin'],
          minDataInBin: values['min-data-in-bin'],
          sampleRows: values['bin-construct-sample-cnt'],
          seed,
          signal,
        },
      )
      // Bins come from the rows that train.
      const validation = valid && {
        matrix: await matrix.like({ columns: columnsOfLayout(layout, valid) }, { signal }),
        targets: valid.columns[target],
        weights: weightsOf(valid, target, weight),
      }
      const parameters = Object.fromEntries(
        Object.keys(PARAMETERS).map(name => [camelCase(name), values[name as Parameter]]),
      )
      const options: GbrtOptions = {
        ...parameters,
        ...(constraints && { monotoneConstraints: constraints }),
        objective,
        numClass: objective === 'softmax' ? (values['num-class'] ?? classesOf(all)) : 1,
        boostFromAverage: values['boost-from-average'] === 'true',
        seed,
      }
      const trainer = new GbrtTrainer(matrix, options)
      const fit = await trainer.fit({
        targets,
        ...(weight !== undefined && { weights: weightsOf(table, target, weight) }),
        mask,
        ...(validation && { validation }),
        signal,
        onProgress: line.update,
      })
      const model = fit.model.withLevels(layout.levels)
      const hasNoSplit = model.iterations > 0 && model.trees.splitFeature.length === 0
      const why = isConstant ? `'${target}' is ${known[0]} in all rows` : whyNoSplit(matrix, rows, values)
      await saveLightgbm(model, values.model)
      line.done()
      const warnings = [
        ...(hasNoSplit ? [`no tree has a split, so that all rows get one score: ${why}`] : []),
        ...rising.map(
          name => `'${name}' has whole numbers that rise from row to row; if they name the rows, say --id ${name}`,
        ),
      ]
      for (const text of warnings) warn(text)
      return {
        model: values.model,
        objective: Object.keys(OBJECTIVES).find(name => OBJECTIVES[name] === objective)!,
        rows,
        unlabelled: targets.length - rows,
        features: names.length,
        rounds: fit.rounds,
        ...(valid && { loss: fit.losses[fit.rounds - 1] }),
        warnings,
        seconds: (performance.now() - begun) / 1000,
      }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ model, objective, rows, features, rounds, loss, seconds }) {
    const watched = loss === undefined ? '' : `, validation loss ${loss.toFixed(5)}`
    return `${objective}: ${rounds} rounds on ${rows} rows × ${features} features in ${seconds.toFixed(1)} s${watched}: ${model}\n`
  },
})

/** What stands in the way of a first split. */
function whyNoSplit(
  { columns }: BinnedMatrix,
  rows: number,
  { 'min-data-in-leaf': fewest, 'min-gain-to-split': gain }: Readonly<Record<Parameter, number>>,
): string {
  const hasOne = ({ isCategorical, bounds, bins, hasNaN }: BinnedColumn) =>
    (isCategorical ? bounds.length : bins) + Number(hasNaN) < 2
  if (rows < 2 * fewest) return `${rows} rows are no two leaves of ${fewest}; lower --min-data-in-leaf`
  if (columns.every(hasOne)) return 'the values of each feature are the same, or too few for --min-data-in-bin'
  return `none leaves ${fewest} rows on both sides (--min-data-in-leaf) and gains more than ${gain} (--min-gain-to-split)`
}

/** Rows that this is asked of: in fewer, numbers rise by chance. */
const FEWEST_RISING = 20

/** Whether a column is what ids and row numbers are, and hardly anything else in a table whose rows are in any order. */
const risesByRow = (column: Float64Array) =>
  column.length >= FEWEST_RISING &&
  column.every((value, row) => Number.isInteger(value) && (row === 0 || value > column[row - 1]))

/** By name: a model has its numbers first, and then its texts, whatever the order of the table. */
function constraintsOf(table: Table, layout: TableLayout, signs: readonly number[] | undefined) {
  if (signs === undefined) return undefined
  const features = table.names.filter(name => layout.names.includes(name))
  if (signs.length === features.length) return Object.fromEntries(features.map((name, f) => [name, signs[f]]))
  const wanted = `${features.length} --monotone-constraints, for ${features.join(', ')},`
  throw new UsageError(`expected ${wanted} but received ${signs.length}`)
}

/** Rows without a target weigh nothing, whatever stands there. */
const weightsOf = (table: Table, target: string, weight: string | undefined) =>
  table.columns[target].map((value, row) =>
    Number.isNaN(value) ? 0 : weight === undefined ? 1 : table.columns[weight][row],
  )

const guessed = (targets: readonly Float64Array[]): Objective =>
  targets.every(column => column.every(value => value === 0 || value === 1 || Number.isNaN(value)))
    ? 'logistic'
    : 'squared'

/** One more than the largest target; missing ones do not count. */
function classesOf(targets: readonly Float64Array[]): number {
  let most = 1
  for (const column of targets) for (const value of column) if (value > most) most = value
  return most + 1
}
