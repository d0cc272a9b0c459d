// What the fuzz test of the addon runs in a process of its own: `binding_child.ts SEED CALLS [LOG]`. Each call is wrong in
// some way, or right by chance: it ends in a clean error or in success, and the device works on. The call that runs is
// written to LOG beforehand, so that a crash can be told from its last line.
//
// A refusal names the argument it is about and what would be right. The next call of the function is mended by it, so
// that later checks, and kernels, are reached too.

import { openSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { inspect } from 'node:util'
import { SeqriskError } from '../../lib/util/errors.js'
import { declaredFunctions } from '../support/binding_types.js'
import { TestRandom } from '../support/random.js'
import { TreeZoo } from './binding_trees.js'
import { Zoo } from './binding_values.js'

type Call = (...values: unknown[]) => unknown

const [seed, calls] = process.argv.slice(2).map(Number)
const log = process.argv[4] ? openSync(process.argv[4], 'w') : null
const addon = createRequire(import.meta.url)('../../build/Release/seqrisk.node') as Record<string, Call>
const declared = declaredFunctions()
// Not what spoils the card for the rest of the process.
const names = Object.keys(addon).filter(name => name !== 'cuda_lose')
const random = new TestRandom(seed)
addon.set_error_class(SeqriskError)
const zoo = new Zoo(addon, random)
const trees = new TreeZoo(addon, random, {
  stream: () => zoo.streams[0],
  tensor: (dtype, shape) => zoo.tensor(dtype, shape),
})

const ROUND = 250
const counts = { calls: 0, refused: 0, done: 0, late: 0 }
const succeeded = new Set<string>()
const lateCodes = new Set<string>()

function fail(what: string, error?: unknown): never {
  writeSync(1, `seed ${seed}, call ${counts.calls}: ${what} ${error === undefined ? '' : inspect(error)}\n`)
  process.exit(9)
}

/** A TypeError, a RangeError or a SeqriskError with a code, in the sentence of the package. */
function expectClean(error: unknown, where: string): void {
  if (zoo.isOwnError(error)) return
  const kind = error instanceof TypeError || error instanceof RangeError
  const coded = error instanceof SeqriskError && error.code !== 'INTERNAL' && error.code !== 'GUARD'
  if (!kind && !coded) fail(`${where} threw`, error)
  if (!/^\[[\w ]+\] expected .+/.test((error as Error).message)) fail(`${where} threw an unclear`, error)
}

/** Mends the argument that a refusal names, as it says. */
function mend(name: string, values: unknown[], message: string): void {
  const [, about, rest] = /^\[\w+\] expected (\w+) (.*?) but received/.exec(message) ?? []
  const camel = about?.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  const at = (declared.get(name) ?? []).findIndex(parameter => parameter.name === camel)
  if (at < 0) return
  const shape = /of shape \(([^)]*)\)/.exec(rest)?.[1]
  const elements = /of (\d+) elements/.exec(rest)?.[1]
  if (shape !== undefined) {
    const sizes = shape.split(', ').map(size => (size === 'any' ? random.integer(1, 9) : Number(size)))
    values[at] = zoo.tensor(zoo.lastDtype.get(`${name}.${about}`) ?? 'float32', sizes)
  } else if (elements !== undefined) {
    values[at] = zoo.tensor('float32', [Number(elements)])
  } else if (/to be a (float32|int32) tensor/.test(rest)) {
    const dtype = rest.includes('int32') ? 'int32' : 'float32'
    zoo.lastDtype.set(`${name}.${about}`, dtype)
    values[at] = zoo.tensor(dtype, [random.integer(1, 9), random.integer(1, 9)].slice(random.integer(0, 1)))
  } else if (/apart from/.test(rest) || /to be alive|on this stream/.test(rest)) {
    values[at] = zoo.like(values[at])
  } else if (/over \d+ events/.test(rest)) {
    values[at] = zoo.offsets(Number(/over (\d+)/.exec(rest)?.[1]))
  } else {
    values[at] = zoo.right(declared.get(name)?.[at].type ?? '')
  }
}

/** One call: it succeeds or is refused cleanly. Returns the refusal, or null. */
function once(name: string, values: unknown[]): string | null {
  counts.calls++
  // Not compact: lists are looked at without running their getters.
  const shown = () => inspect(values, { depth: 2, compact: false, breakLength: Number.POSITIVE_INFINITY })
  if (log !== null) writeSync(log, `${counts.calls} ${name} ${shown()}`.slice(0, 1000).padEnd(1000), 0)
  let result: unknown
  try {
    result = addon[name](...values)
  } catch (error) {
    expectClean(error, name)
    counts.refused++
    return error instanceof Error ? error.message : ''
  }
  counts.done++
  succeeded.add(name)
  if (result instanceof Promise) {
    result.catch((error: unknown) => {
      expectClean(error, `${name}, later,`)
      counts.late++
      lateCodes.add((error as { code?: string }).code ?? (error as Error).name)
    })
  }
  zoo.took(name, values, result)
  return null
}

/** The device still gives the right result. */
async function works(): Promise<void> {
  zoo.renew()
  for (const stream of zoo.streams) {
    await (addon.stream_sync(stream) as Promise<void>).catch((error: unknown) => expectClean(error, 'sync'))
    const made = (shape: number[], numbers: number[]) => {
      const tensor = addon.tensor_create(stream, 'float32', shape)
      addon.tensor_write(tensor, Float32Array.from(numbers))
      return tensor
    }
    const x = made([2, 3], [1, 2, 3, 4, 5, 6])
    const weight = made([2, 3], [1, 0, -1, 2, 1, 0])
    const out = made([2, 2], [0, 0, 0, 0])
    addon.linear_forward(stream, x, weight, null, made([2], [10, 20]), 0, null, out, null)
    const got = (await addon.tensor_read(out)) as Float32Array
    if (got.join() !== '8,24,8,33') fail(`linear gave ${got.join()} instead of 8,24,8,33`)
  }
  await trees.renew()
}

await works()
while (counts.calls < calls) {
  for (const stop = counts.calls + ROUND; counts.calls < stop; ) {
    const name =
      random.integer(0, 15) === 0
        ? zoo.pick(names.filter(name => /^(stream|tensor|offsets)_/.test(name)))
        : zoo.pick(names)
    const parameters = declared.get(name) ?? []
    let values = trees.right(name) ?? parameters.map(({ type }) => zoo.right(type))
    if (name.startsWith('field_embedding')) values = zoo.embedding(name.endsWith('backward'))
    if (name === 'tensor_write') values = zoo.write()
    if (name === 'adamw_update') values = zoo.adamw()
    for (let tries = 0; tries < 24; tries++) {
      const refusal = once(name, values)
      if (refusal === null) break
      mend(name, values, refusal)
    }
    const spoilt = zoo.spoil(name, values)
    once(name, spoilt)
  }
  await works()
}
// What no machine has is refused before anything is touched, with and without a limit.
const unlimited = addon.stream_open(1, '', false, 0, false)
for (const shape of [[2 ** 38], [2 ** 20, 2 ** 20], [2 ** 40], [2 ** 41], [2 ** 31, 2 ** 31, 2 ** 31, 2 ** 31]]) {
  try {
    addon.tensor_create(unlimited, 'float32', shape)
    fail(`made a tensor of ${shape}`)
  } catch (error) {
    expectClean(error, 'tensor_create')
  }
}
// Where there is no card, none can be opened.
const { devices } = addon.cuda_status() as { devices: unknown[] }
const isAbsent = (name: string) => name === 'cuda_open' && devices.length === 0
const never = names.filter(name => !succeeded.has(name) && !isAbsent(name))
console.log(JSON.stringify({ ...counts, never, lateCodes: [...lateCodes] }))
