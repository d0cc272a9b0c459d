// One name finds all that belongs to an op: every kernel of ops/kernels.def has its rooms, and no room is without a kernel.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageRoot } from '../../lib/util/package_root.js'

const ROOMS: Readonly<Record<string, (op: string) => string>> = {
  contract: op => `native/ops/${op}.h`,
  'CPU kernels': op => `native/kernels/cpu/${op}.cc`,
  'CUDA kernels': op => `native/kernels/cuda/${op}.cu`,
  binding: op => `native/bindings/${op}.cc`,
  wrapper: op => `lib/ops/${op}.ts`,
  reference: op => `lib/reference/${op}.ts`,
  test: op => `test/ops/${op}.test.ts`,
  bench: op => `bench/ops/${op}.bench.ts`,
}

/** What learners of trees and clusters, and the machine's own limits, are made of: tested and timed as a whole, there. */
const WHOLE: Readonly<Record<string, readonly string[]>> = {
  forest_predict: ['test/trees/gbrt.test.ts', 'bench/cuda/trees.bench.ts'],
  gbrt_bin: ['test/trees/table_input.test.ts', 'bench/trees/training.bench.ts'],
  gbrt_find: ['test/trees/gbrt.test.ts', 'bench/trees/training.bench.ts'],
  gbrt_gradient: ['test/trees/gbrt.test.ts', 'bench/trees/training.bench.ts'],
  gbrt_partition: ['test/trees/gbrt.test.ts', 'bench/trees/training.bench.ts'],
  iforest_grow: ['test/trees/isolation_forest.test.ts', 'bench/trees/isolation_forest.bench.ts'],
  iforest_score: ['test/trees/isolation_forest.test.ts', 'bench/trees/isolation_forest.bench.ts'],
  kmeans_assign: ['test/trees/kmeans.test.ts', 'bench/trees/kmeans.bench.ts'],
  kmeans_seed: ['test/trees/kmeans.test.ts', 'bench/trees/kmeans.bench.ts'],
  machine_copy: ['test/ops/machine.test.ts', 'lib/ops/machine.ts'],
  machine_peak: ['test/ops/machine.test.ts', 'lib/ops/machine.ts'],
  machine_update: ['test/ops/machine.test.ts', 'lib/ops/machine.ts'],
}
/** Made of other ops, so without kernels of their own. */
const COMPOSED = ['sampled_softmax']
/** What several references have in common. */
const SHARED = ['attention']

const isThere = (path: string) => existsSync(join(packageRoot, path))
const named = (folder: string, ending: string) =>
  readdirSync(join(packageRoot, folder))
    .filter(name => name.endsWith(ending))
    .map(name => name.slice(0, -ending.length))

const kernels = readFileSync(join(packageRoot, 'native/ops/kernels.def'), 'utf8').matchAll(/^SEQRISK_KERNEL\((\w+),/gm)
const names = [...kernels].map(([, name]) => name)
const parts = names.filter(name => name in WHOLE)
const PASSES = /(_(write|read))?_(forward|backward|gradient|pack|update)$/
const ops = [...new Set(names.filter(name => !(name in WHOLE)).map(name => name.replace(PASSES, '')))]

describe('rooms', () => {
  it.each(ops)('of %s', op => {
    const missing = Object.entries(ROOMS).filter(([, path]) => !isThere(path(op)))
    expect(missing.map(([room, path]) => `${room}: ${path(op)}`)).toEqual([])
  })

  it.each(parts)('of %s, a part of a whole', name => {
    expect(WHOLE[name].filter(path => !isThere(path))).toEqual([])
  })

  it('belong to a kernel', () => {
    expect(Object.keys(WHOLE).filter(name => !names.includes(name))).toEqual([])
    const known = [...ops, ...COMPOSED, ...SHARED]
    const strangers = [...named('lib/reference', '.ts'), ...named('bench/ops', '.bench.ts')]
    expect(strangers.filter(name => !known.includes(name))).toEqual([])
  })
})
