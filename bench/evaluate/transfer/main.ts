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
import { taskNames, tasksFolder } from '../tasks.js'
import { collect, type TaskResult } from './collect.js'
import { GENERATED } from './generated.js'
import { reportPage } from './page.js'
import { type Part, partsOf, runPart } from './parts.js'
import { runInProcesses, type TaskParts } from './processes.js'
import { budgetTable, type Cells, mainTable, otherTable } from './tables.js'
import { TaskRun } from './task_run.js'
import { ablationTable, verdicts } from './verdicts.js'

const folder = join(packageRoot, 'build', 'evaluate')

export async function evaluateTasks(args: readonly string[]): Promise<void> {
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
  const known = [...ready, GENERATED]
  const names = positionals.length === 0 || positionals.includes('all') ? known : positionals
  const unknown = names.find(name => !known.includes(name))
  if (unknown !== undefined)
    throw new RangeError(`expected a task out of ${known.join(', ')} but received '${unknown}'`)
  if (values.fresh) for (const name of names) await rm(join(folder, name), { recursive: true, force: true })
  const options = {
    folder,
    device: { kind: values.device as DeviceKind, precision: values.precision as Precision | undefined },
    threads: values.threads === undefined ? undefined : Number(values.threads),
  }
  const tasks: TaskParts[] = []
  const results: TaskResult[] = []
  for (const name of names) {
    const run = await TaskRun.open(name, options)
    try {
      const parts = partsOf(run.task.labels.map(label => label.name))
      const chosen = parts.filter(part => values.part?.some(prefix => part.name.startsWith(prefix)) ?? true)
      tasks.push({ task: name, parts: chosen })
      if (!values.kept && values.jobs === '1') await inTurn(run, chosen)
      if (!values.part) results.push(collect(run.task, run.cache))
    } finally {
      await run.close()
    }
  }
  if (!values.kept && values.jobs !== '1') {
    const flags = ['--device', values.device, ...(values.threads ? ['--threads', values.threads] : [])]
    const jobs = Number(values.jobs)
    // Processes that share a card wait for each other; two keep it busy while one reads.
    const heavyJobs = Number(values['heavy-jobs'] ?? (values.device === 'cuda' ? 2 : jobs))
    const failed = await runInProcesses(tasks, {
      jobs,
      heavyJobs,
      flags,
      onDone: text => console.error(text),
    })
    if (failed.length > 0) {
      process.exitCode = 1
      console.error(`${failed.length} parts failed: ${failed.join(', ')}`)
    }
    results.length = 0
    for (const name of names) {
      const run = await TaskRun.open(name, options)
      results.push(collect(run.task, run.cache))
      await run.close()
    }
  }
  if (!values.part) await report(results, values.out)
}

async function inTurn(run: TaskRun, parts: readonly Part[]): Promise<void> {
  for (const { name } of parts) {
    const begun = performance.now()
    await runPart(run, name)
    console.error(`${run.name} ${name}: ${((performance.now() - begun) / 1000).toFixed(0)} s`)
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
  const text = parts.join('\n\n')
  console.log(text)
  const date = new Date().toISOString().slice(0, 10)
  const subtitle = `${results.length} data sets, ${labels.length} labels; npm run evaluate; collected on ${date}`
  await writeFileAtomic(join(out, 'report.md'), `${text}\n`)
  await writeFileAtomic(join(out, 'report.html'), await reportPage(results, subtitle))
  await writeFileAtomic(join(out, 'results.json'), `${JSON.stringify(results)}\n`)
  console.log(`\n${relative(process.cwd(), join(out, 'report.html'))}`)
}
