// A plan of aggregates as a file: fitted once, used on every later batch.

import { readFile } from 'node:fs/promises'
import { SeqriskError, sentence } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'
import type { AggregatePlan } from './aggregate_plan.js'

const WHERE = 'aggregate'

/** Writes a plan as JSON. @throws {SeqriskError} codes `NO_EVENTS` for a plan of nothing, `WRITE_FAILED` */
export async function saveAggregatePlan(path: string, plan: AggregatePlan): Promise<void> {
  if (!Number.isFinite(plan.newest)) {
    throw new SeqriskError('NO_EVENTS', sentence(WHERE, 'events to plan from', 'none', 'check the files'))
  }
  await writeFileAtomic(path, `${JSON.stringify(plan)}\n`)
}

/**
 * Reads a plan back.
 * @throws {SeqriskError} code `PLAN_INVALID` for what is no plan, or none of this version, `FILE_NOT_FOUND` when there is no file
 */
export async function loadAggregatePlan(path: string): Promise<AggregatePlan> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new SeqriskError('FILE_NOT_FOUND', sentence(WHERE, 'a readable plan', path, 'check the path'), { cause })
  })
  let plan: AggregatePlan
  try {
    plan = JSON.parse(text) as AggregatePlan
  } catch (cause) {
    throw invalid(path, (cause as Error).message, cause)
  }
  if (plan?.version !== 1) throw invalid(path, 'another version, or none')
  const lists = [plan.parts, plan.categorical, plan.numeric, plan.text]
  const isWhole = typeof plan.time === 'string' && Number.isFinite(plan.newest) && lists.every(Array.isArray)
  if (!isWhole) throw invalid(path, 'a part of one')
  return plan
}

function invalid(path: string, received: string, cause?: unknown): SeqriskError {
  const advice = 'save a new one'
  return new SeqriskError('PLAN_INVALID', sentence(WHERE, `a plan in ${path}`, received, advice), { cause })
}
