// npm run evaluate -- [all | TASK…] [--device cuda] [--jobs 4] [--labels a,b] [--kept] [--fresh] [--out DIR]
// The article's comparisons on every ready task and on generated events: baselines, labels, label budgets. Figures are kept in
// build/evaluate as soon as they are there; a run that was ended goes on where it was. --kept reports what there is.

import { rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { markdownTable } from '../../../lib/report/table.js'
import type { DeviceKind, Precision } from '../../../lib/runtime/device.js'
import { writeFileAtomic } from '../../../lib/util/files.js'
import { packageRoot } from '../../../lib/util/package_root.js'
import { foldsOf, taskNames, tasksFolder } from '../tasks.js'
import { ANALOGY, analogySection, keptAnalogies, runAnalogies } from './analogies.js'
import { collect, type TaskResult } from './collect.js'
import { GENERATED } from './generated.js'
import { reportPage } from './page.js'
import { partsOf, runPart } from './parts.js'
import { inProcess, runParts, type TaskParts } from './processes.js'
import { budgetTable, type Cells, mainTable, otherTable } from './tables.js'
import { type RunOptions, TaskRun } from './task_run.js'
import { ablationTable, verdicts } from './verdicts.js'

const folder = join(packageRoot, 'build', 'evaluate')
const analogyFolder = join(folder, ANALOGY)

interface Plan extends RunOptions {
  /** Tasks, and `analogy`. */
  readonly names: readonly string[]
  readonly jobs: number
  readonly heavyJobs: number
  /** Names of parts, or what they begin with before a colon; none for all. */
  readonly part?: readonly string[]
  /** Report what there is, run nothing. */
  readonly kept: boolean
  readonly fresh: boolean
  readonly out: string
}

export async function evaluateTasks(args: readonly string[]): Promise<void> {
  const plan = planOf(args)
  if (plan.fresh) for (const name of plan.names) await rm(join(folder, name), { recursive: true, force: true })
  if (!plan.kept) await runAll(plan)
  // A process that runs a part for another one reports nothing.
  if (!plan.part) await report(await collectAll(plan), plan.out)
}

function planOf(args: readonly string[]): Plan {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      device: { type: 'string', default: 'cpu' },
      precision: { type: 'string' },
      threads: { type: 'string' },
      jobs: { type: 'string', default: '1' },
      'heavy-jobs': { type: 'string' },
      part: { type: 'string', multiple: true },
      kept: { type: 'boolean', default: false },
      fresh: { type: 'boolean', default: false },
      out: { type: 'string', default: join(folder, 'report') },
    },
  })
  const ready = taskNames()
  if (ready.length === 0)
    console.log(`no tasks in ${tasksFolder}: all of them skipped, generated events alone are evaluated`)
  const known = [...ready, GENERATED, ANALOGY]
  const names = positionals.length === 0 || positionals.includes('all') ? known : positionals
  const unknown = names.find(name => !known.includes(name))
  if (unknown !== undefined)
    throw new RangeError(`expected a task out of ${known.join(', ')} but received '${unknown}'`)
  const { part, kept, fresh, out } = values
  const jobs = Number(values.jobs)
  // Processes that share a card wait for each other; two keep it busy while one reads.
  const heavyJobs = Number(values['heavy-jobs'] ?? (values.device === 'cuda' ? 2 : jobs))
  for (const [name, value] of Object.entries({ jobs, 'heavy-jobs': heavyJobs })) {
    if (!(Number.isInteger(value) && value > 0)) throw new RangeError(`expected --${name} from 1 but received ${value}`)
  }
  return {
    ...{ names, folder, jobs, part, kept, fresh, out },
    device: { kind: values.device as DeviceKind, precision: values.precision as Precision | undefined },
    threads: values.threads === undefined ? undefined : Number(values.threads),
    heavyJobs,
  }
}

async function runAll(plan: Plan): Promise<void> {
  if (plan.names.includes(ANALOGY) && !plan.part) await runAnalogies(analogyFolder)
  const { device, threads, jobs, heavyJobs } = plan
  const onDone = (text: string) => console.error(text)
  const tasks: TaskParts[] = []
  const failed: string[] = []
  await forEachTask(plan, async run => {
    const all = partsOf(run.task.labels.map(label => ({ name: label.name, folds: foldsOf(label) })))
    const parts = all.filter(({ name }) => plan.part?.some(asked => `${name}:`.startsWith(`${asked}:`)) ?? true)
    if (jobs > 1) tasks.push({ task: run.name, parts })
    else failed.push(...(await runParts([{ task: run.name, parts }], { jobs, heavyJobs, run: hereOn(run), onDone })))
  })
  const given = { device: device.kind, precision: device.precision, threads }
  const flags = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  )
  failed.push(...(await runParts(tasks, { jobs, heavyJobs, run: inProcess(flags), onDone })))
  if (failed.length === 0) return
  process.exitCode = 1
  console.error(`${failed.length} parts failed: ${failed.join(', ')}`)
}

/** A part in this process, which shares what a task's parts have in common. */
function hereOn(run: TaskRun) {
  return async (_: string, part: string): Promise<boolean> => {
    try {
      await runPart(run, part)
      return true
    } catch (error) {
      console.error(error)
      return false
    }
  }
}

async function collectAll(plan: Plan): Promise<TaskResult[]> {
  const results: TaskResult[] = []
  await forEachTask(plan, async run => {
    results.push(collect(run.task, run.cache))
  })
  return results
}

async function forEachTask(plan: Plan, visit: (run: TaskRun) => Promise<void>): Promise<void> {
  for (const name of plan.names) {
    if (name === ANALOGY) continue
    const run = await TaskRun.open(name, plan)
    try {
      await visit(run)
    } finally {
      await run.close()
    }
  }
}

async function report(results: readonly TaskResult[], out: string): Promise<void> {
  const labels = results.flatMap(result => result.labels)
  const table = ({ header, rows }: Cells) => markdownTable(header, rows)
  const parts = [
    verdicts(labels)
      .map(text => `- ${text}`)
      .join('\n'),
    table(mainTable(labels)),
    ablationTable(labels),
    table(otherTable(labels)),
    table(budgetTable(labels)),
  ]
  const analogies = keptAnalogies(analogyFolder)
  if (analogies.rows.length > 0) parts.push(table(analogies))
  const text = parts.join('\n\n')
  console.log(text)
  const date = new Date().toISOString().slice(0, 10)
  const subtitle = `${results.length} data sets, ${labels.length} labels; npm run evaluate; collected on ${date}`
  await writeFileAtomic(join(out, 'report.md'), `${text}\n`)
  await writeFileAtomic(
    join(out, 'report.html'),
    await reportPage(results, subtitle, analogies.rows.length > 0 ? [analogySection(analogies)] : []),
  )
  await writeFileAtomic(join(out, 'results.json'), `${JSON.stringify(results)}\n`)
  console.log(`\n${relative(process.cwd(), join(out, 'report.html'))}`)
}
