// npm run evaluate -- NAME…          every task in ../shared/tasks without a name; --json FILE keeps the figures
// npm run evaluate -- trees NAME…    boosted trees on every table of the list there, beside LightGBM and XGBoost
// npm run evaluate -- pu             PU and active learning on tables, see pu/main.ts

import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { markdownTable } from '../../lib/report/table.js'
import { contenders, evaluateTask, type LabelResult, type Score } from './evaluate.js'
import { openTask, taskNames, tasksFolder } from './tasks.js'
import { evaluateTrees } from './trees.js'

if (process.argv[2] === 'pu') {
  const { evaluatePu } = await import('./pu/main.js')
  await evaluatePu(process.argv.slice(3))
  process.exit(0)
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    set: { type: 'string', multiple: true },
    seeds: { type: 'string', default: '5' },
  },
})
if (positionals[0] === 'trees') {
  try {
    for await (const line of evaluateTrees(positionals.slice(1), Number(values.seeds))) console.log(line)
    process.exit(0)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    console.error(error.message)
    process.exit(2)
  }
}
const known = taskNames()
if (known.length === 0) {
  console.log(`no tasks in ${tasksFolder}: nothing to evaluate, 0 tasks run, all skipped`)
  process.exit(0)
}
const names = positionals.length === 0 || positionals[0] === 'all' ? known : positionals
for (const name of names) {
  if (!known.includes(name)) {
    console.error(`expected a task out of ${known.join(', ')} but received '${name}'`)
    process.exit(2)
  }
}
// --set name=value overrides a default of pretrain, to try something out.
const options = Object.fromEntries(
  (values.set ?? []).map(text => {
    const [name, value] = text.split('=')
    return [
      name,
      value.includes(',') || name === 'tasks' ? value.split(',') : Number.isNaN(Number(value)) ? value : Number(value),
    ]
  }),
)

const results = []
const rows: LabelResult[] = []
for (const name of names) {
  const task = await openTask(name)
  const result = await evaluateTask(task, options)
  await task.source.close()
  results.push(result)
  rows.push(...result.labels)
  const { seconds, events, entities } = result
  const spent = Object.entries(seconds).map(([part, s]) => `${part} ${s.toFixed(0)} s`)
  console.log(`${name}: ${entities} entities, ${events} events; ${spent.join(', ')}`)
  console.log(table(result.labels))
}
if (names.length > 1) console.log(`All tasks\n${table(rows)}\n${verdict(rows)}`)
if (values.json) await writeFile(values.json, `${JSON.stringify(results, null, 2)}\n`)

function table(labels: readonly LabelResult[]): string {
  const cell = ({ mean, sd }: Score) => `${mean.toFixed(3)} ± ${sd.toFixed(3)}`
  return markdownTable(
    ['task', 'label', 'metric', 'rows', ...contenders],
    labels.map(({ task, label, metric, rows, scores }) => [
      task,
      label,
      metric,
      String(rows),
      ...contenders.map(name => cell(scores[name])),
    ]),
  )
}

function verdict(labels: readonly LabelResult[]): string {
  const count = (holds: (scores: LabelResult['scores']) => boolean) =>
    labels.filter(({ scores }) => holds(scores)).length
  const lift = (s: LabelResult['scores']) => s['aggregates + vectors'].mean - s.aggregates.mean
  return [
    `aggregates + vectors beat aggregates by 0.03 or more on ${count(s => lift(s) >= 0.03)} of ${labels.length} labels,`,
    `by anything on ${count(s => lift(s) > 0)}; vectors beat the untrained encoder on`,
    `${count(s => s.vectors.mean > s.untrained.mean)}`,
  ].join(' ')
}
