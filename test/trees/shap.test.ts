import { describe, expect, it } from 'vitest'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import { GbrtModel } from '../../lib/trees/model.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { openDevice } from '../support/devices.js'
import { smallTable } from '../support/tables.js'

const ROWS = 400
const FEATURES = 4
const { columns, labels } = smallTable(ROWS, 3)
const codes = Float32Array.from({ length: ROWS }, (_, r) => (r * 7) % 13)
const table = [...columns, codes]
const targets = labels.map((label, r) => (codes[r] % 3 === 0 ? 1 - label : label))
const device = openDevice({ threads: 1 })
const binned = () => BinnedMatrix.from(device, { columns: table }, { categorical: [3] })

async function trained(options: GbrtOptions): Promise<GbrtModel> {
  const own = options.objective === 'softmax' ? targets.map((target, r) => target + Number(table[0][r] > 1)) : targets
  const settings = { minDataPerGroup: 5, catSmooth: 1, numIterations: 4, numLeaves: 9, ...options }
  return (await new GbrtTrainer(await binned(), settings).fit({ targets: own })).model
}

const MODELS: Record<string, () => Promise<GbrtModel>> = {
  'squared loss': () => trained({ objective: 'squared' }),
  'a logistic objective': () => trained({ objective: 'logistic' }),
  'three classes': () => trained({ objective: 'softmax', numClass: 3 }),
  'a tree without splits': () => trained({ numIterations: 1, minDataInLeaf: ROWS }),
  'a random forest': async () => new RandomForestTrainer(await binned(), { numIterations: 5 }).fit({ targets }),
}

/** What trees say on average when only the features of `known` are: the others take the ways of the training rows. */
function expectation({ trees, info }: GbrtModel, row: number, known: number, tree: number): number {
  const nodes = (t: number) => trees.numLeaves.subarray(0, t).reduce((sum, leaves) => sum + leaves - 1, 0)
  const leaves = (t: number) => trees.numLeaves.subarray(0, t).reduce((sum, leaves) => sum + leaves, 0)
  const [firstNode, firstLeaf] = [nodes(tree), leaves(tree)]
  const rowsOf = (at: number) => (at >= 0 ? trees.internalCount[firstNode + at] : trees.leafCount[firstLeaf - 1 - at])
  const goesLeft = (node: number) => {
    const value = table[trees.splitFeature[node]][row]
    const threshold = trees.threshold[node]
    if (trees.decision[node] & 1) {
      const word = trees.categoryStart[threshold] + (value >> 5)
      return word < trees.categoryStart[threshold + 1] && ((trees.categoryWords[word] >>> (value & 31)) & 1) === 1
    }
    if (!Number.isNaN(value)) return value <= threshold
    return trees.decision[node] >> 2 === 2 ? (trees.decision[node] & 2) !== 0 : 0 <= threshold
  }
  const visit = (at: number): number => {
    if (at < 0) return trees.leafValue[firstLeaf - 1 - at]
    const node = firstNode + at
    const [left, right] = [trees.leftChild[node], trees.rightChild[node]]
    if ((known >> trees.splitFeature[node]) & 1) return visit(goesLeft(node) ? left : right)
    const [l, r] = [rowsOf(left), rowsOf(right)]
    return (visit(left) * l + visit(right) * r) / (l + r)
  }
  return visit(trees.numLeaves[tree] > 1 ? 0 : -1) * (info.isAverage ? info.numClass / trees.numLeaves.length : 1)
}

/** A tree of `depth` splits one below the other: left is a leaf, with that share of the rows; feature f decides split i. */
function chain(depth: number, share: number, featureOf: (split: number) => number, features: number): GbrtModel {
  const numbers = (count: number, of: (i: number) => number) => Float64Array.from({ length: count }, (_, i) => of(i))
  const ints = (count: number, of: (i: number) => number) => Int32Array.from({ length: count }, (_, i) => of(i))
  const rows = (split: number) => 1e6 * (1 - share) ** split
  const leafCount = numbers(depth + 1, i => rows(i) * (i < depth ? share : 1))
  const info = {
    objective: 'squared' as const,
    numClass: 1,
    names: Array.from({ length: features }, (_, f) => `f${f}`),
    featureInfos: Array.from({ length: features }, () => '[-1:1]'),
  }
  return new GbrtModel(info, {
    numLeaves: Int32Array.of(depth + 1),
    splitFeature: ints(depth, featureOf),
    threshold: numbers(depth, split => ((split * 13) % 7) - 3),
    decision: new Uint8Array(depth),
    leftChild: ints(depth, split => -1 - split),
    rightChild: ints(depth, split => (split < depth - 1 ? split + 1 : -1 - depth)),
    leafValue: numbers(depth + 1, i => 1.1 + Math.sin(1.7 * i)),
    leafWeight: leafCount,
    leafCount,
    internalCount: numbers(depth, rows),
    internalWeight: numbers(depth, rows),
    internalValue: new Float64Array(depth),
    splitGain: new Float64Array(depth),
    categoryStart: Int32Array.of(0),
    categoryWords: new Int32Array(0),
  })
}

/** SHAP values of one row of a chain by their definition: of each leaf, sets of features counted by size, without division. */
function chainValues({ trees, features }: GbrtModel, row: Float64Array, share: number): Float64Array {
  const out = new Float64Array(features)
  const path = new Map<number, { zero: number; one: number }>()
  for (let leaf = 0; leaf < trees.leafValue.length; leaf++) {
    const own = new Map(path)
    const take = (split: number, isLeft: boolean) => {
      const f = trees.splitFeature[split]
      const { zero, one } = own.get(f) ?? { zero: 1, one: 1 }
      const goes = row[f] <= trees.threshold[split] === isLeft
      own.set(f, { zero: zero * (isLeft ? share : 1 - share), one: goes ? one : 0 })
    }
    if (leaf < trees.splitFeature.length) take(leaf, true)
    const list = [...own]
    for (const [f, { zero, one }] of list) {
      let sets = [1]
      for (const [other, way] of list) {
        if (other === f) continue
        sets = [...sets, 0].map((value, size) => value * way.zero + (size > 0 ? sets[size - 1] * way.one : 0))
      }
      let weight = 1 / list.length
      for (const [size, ways] of sets.entries()) {
        out[f] += weight * ways * (one - zero) * trees.leafValue[leaf]
        weight *= (size + 1) / (list.length - 1 - size)
      }
    }
    if (leaf < trees.splitFeature.length) {
      own.clear()
      for (const [f, way] of path) own.set(f, way)
      take(leaf, false)
      for (const [f, way] of own) path.set(f, way)
    }
  }
  return out
}

describe('SHAP values', () => {
  it.each(Object.keys(MODELS))(
    'add up to the raw prediction, and are those of all subsets of features: %s',
    async name => {
      const model = await MODELS[name]()
      const { numClass } = model.info
      const values = await model.shap(device, { columns: table })
      const raw = await model.predict(device, { columns: table }, { raw: true })
      const at = (row: number, k: number, f: number) => values[(row * numClass + k) * (FEATURES + 1) + f]
      for (let row = 0; row < ROWS; row++) {
        for (let k = 0; k < numClass; k++) {
          let sum = 0
          for (let f = 0; f <= FEATURES; f++) sum += at(row, k, f)
          // Sums of some twenty float64 leaves in another order.
          expect(Math.abs(sum - raw[row * numClass + k])).toBeLessThan(1e-12 * Math.max(1, Math.abs(sum)))
        }
      }
      // As above: 12 digits of sums of leaves.
      const weights = [6, 2, 2, 6].map(ways => ways / 24) // |S|! (4 − 1 − |S|)! / 4!
      for (let row = 0; row < 20; row++) {
        for (let k = 0; k < numClass; k++) {
          const game = Array.from({ length: 1 << FEATURES }, (_, known) => {
            let sum = 0
            for (let t = k; t < model.trees.numLeaves.length; t += numClass) sum += expectation(model, row, known, t)
            return sum
          })
          expect(at(row, k, FEATURES)).toBeCloseTo(game[0], 12)
          for (let f = 0; f < FEATURES; f++) {
            let value = 0
            for (let known = 0; known < game.length; known++) {
              if ((known >> f) & 1) continue
              const size = known.toString(2).replaceAll('0', '').length
              value += weights[size] * (game[known | (1 << f)] - game[known])
            }
            expect(at(row, k, f)).toBeCloseTo(value, 12)
          }
        }
      }
    },
  )

  it.each([0.5, 0.1, 0.001])(
    'are those of all sets of features on long paths, %s of the rows at each leaf',
    async share => {
      for (const [depth, features] of [
        [1, 1],
        [2, 2],
        [3, 2],
        [9, 9],
        [60, 60],
        [60, 23],
      ]) {
        const model = chain(depth, share, split => (split * 7) % features, features)
        for (const way of [0, 1, 2, 3]) {
          const row = Float64Array.from({ length: features }, (_, f) => [-9, 9, 0.5, 9][(f * way) % 4])
          const values = await model.shap(device, { values: row, features })
          const wanted = chainValues(model, row, share)
          // Sums over some sixty leaves of up to 2.1.
          for (let f = 0; f < features; f++) expect(Math.abs(values[f] - wanted[f])).toBeLessThan(1e-12)
        }
      }
    },
  )

  it.each([0.5, 0.1, 0.01, 0.001])('add up on the longest paths, %s of the rows at each leaf', async share => {
    for (const depth of [10, 40, 150, 511]) {
      const model = chain(depth, share, split => split, depth)
      for (const end of [depth, depth - 2, depth >> 1, 0]) {
        const row = Float64Array.from({ length: depth }, (_, f) => (f < end ? 9 : -9))
        const values = await model.shap(device, { values: row, features: depth })
        const raw = model.predictRow(row, { raw: true })[0]
        // What does not cancel is up to 2.1 for each of 511 leaves.
        expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / raw - 1)).toBeLessThan(1e-9)
        expect(values.every(value => Math.abs(value) < 4)).toBe(true)
      }
    }
  })

  it('keep their digits where a file says that next to no row went one way', async () => {
    const model = chain(40, 1e-300, split => split % 4, 4)
    const row = Float64Array.of(-9, 9, 0.5, -9)
    const values = await model.shap(device, { values: row, features: 4 })
    expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(model.predictRow(row, { raw: true })[0], 12)
  })

  it('add up on leaf-wise trees of 160 leaves, one feature after the other', async () => {
    const [rows, features] = [4000, 160]
    const columns = Array.from({ length: features }, () => new Float32Array(rows))
    const own = new Float32Array(rows)
    for (let r = 0; r < rows; r++) {
      for (const step of [0, 1, 2]) {
        const f = (r * 31 + step * step * 17 + (r >> 5)) % features
        columns[f][r] = 1
        own[r] += 1 + 0.5 * Math.sin(f)
      }
    }
    const matrix = await BinnedMatrix.from(device, { columns })
    const options = { objective: 'squared', numLeaves: features, numIterations: 3, minDataInLeaf: 2 } as const
    const { model } = await new GbrtTrainer(matrix, options).fit({ targets: own })
    const some = columns.map(column => column.slice(0, 50))
    const raw = await model.predict(device, { columns: some }, { raw: true })
    const values = await model.shap(device, { columns: some })
    for (let r = 0; r < 50; r++) {
      const sum = values.subarray(r * (features + 1), (r + 1) * (features + 1)).reduce((a, b) => a + b, 0)
      expect(Math.abs(sum / raw[r] - 1)).toBeLessThan(1e-9)
    }
  })

  it('have the same bits for any number of threads, and for the first iterations are those of a shorter model', async () => {
    const model = await trained({ objective: 'logistic', numIterations: 20 })
    const one = await model.shap(device, { columns: table })
    expect(await model.shap(openDevice({ threads: 3 }), { columns: table })).toEqual(one)
    const short = await trained({ objective: 'logistic', numIterations: 5 })
    expect(await model.shap(device, { columns: table }, { iterations: 5 })).toEqual(
      await short.shap(device, { columns: table }),
    )
  })

  it('are refused for a model that does not know its rows', async () => {
    const { info, trees } = await trained({})
    const model = new GbrtModel(info, { ...trees, leafCount: trees.leafCount.map(() => 0) })
    await expect(model.shap(device, { columns: table })).rejects.toThrow(/rows above 0 in every node and leaf/)
  })

  // Other processes may keep this one from the cores for as long: hence the further tries.
  it('stop within 100 ms when told, and the device works on, also for others', { retry: 4 }, async () => {
    const model = await trained({ numIterations: 60, numLeaves: 31, minDataInLeaf: 1 })
    // A minute of work.
    const times = 2000
    const many = table.map(column => {
      const long = new Float32Array(ROWS * times)
      for (let i = 0; i < times; i++) long.set(column, i * ROWS)
      return long
    })
    const controller = new AbortController()
    const running = model.shap(device, { columns: many }, { signal: controller.signal })
    const other = model.shap(device, { columns: table })
    await new Promise(resolve => setTimeout(resolve, 50))
    const told = performance.now()
    controller.abort()
    await expect(running).rejects.toThrow(/abort/i)
    expect(performance.now() - told).toBeLessThan(100)
    const values = await model.shap(device, { columns: table })
    expect(values.every(Number.isFinite)).toBe(true)
    expect(await other).toEqual(values)
  })
})
