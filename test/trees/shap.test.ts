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
