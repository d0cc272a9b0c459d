// A forest as an ONNX model: one TreeEnsembleRegressor (ai.onnx.ml 3), then the sigmoid or softmax.

import type { GbrtModel } from '../trees/model.js'
import { expectOptions, expectRange, sentence } from '../util/errors.js'
import { ML_DOMAIN, OnnxGraph } from './onnx_graph.js'

/** What the graph of trees can be told. */
export interface OnnxTreesOptions {
  /** Scores before the sigmoid or softmax. Default false. */
  readonly raw?: boolean | undefined
  /** Use the first iterations alone. Default all. */
  readonly iterations?: number | undefined
}

/** Bits of a decision, as LightGBM writes them. */
const CATEGORICAL = 1
const MISSING_LEFT = 2
const MISSING_ZERO = 1
const MISSING_NAN = 2

/**
 * The bytes of an ONNX model (opset 17, ai.onnx.ml 3) that predicts as `model` does, in float32.
 *
 * Input: `x` float32 (rows, features), NaN for missing values, codes for categories. Output: `prediction` float32 (rows,
 * classes). A row takes the same way through every tree as here; sums differ by float32's rounding.
 * @throws {RangeError} for splits that take zero for a missing value, which ONNX cannot say
 */
export function exportTrees(model: GbrtModel, options: OnnxTreesOptions = {}): Uint8Array {
  expectOptions('exportTrees', options, ['raw', 'iterations'])
  const { raw = false, iterations = model.iterations } = options
  const { objective, numClass, isAverage, sigmoid = 1 } = model.info
  const least = isAverage ? 1 : 0
  const whole = Number.isInteger(iterations) && iterations >= least && iterations <= model.iterations
  expectRange(whole, 'exportTrees', `iterations in [${least}, ${model.iterations}]`, iterations)
  const graph = new OnnxGraph()
  const x = graph.input('x', 'float32', ['rows', model.features])
  const ensemble = ensembleOf(model, iterations * numClass, isAverage ? 1 / iterations : 1)
  let result = graph.node('TreeEnsembleRegressor', [x], ensemble, ML_DOMAIN)
  if (!raw && !isAverage && objective === 'logistic') {
    result = graph.node('Sigmoid', [graph.node('Mul', [result, graph.float(sigmoid)])])
  } else if (!raw && !isAverage && objective === 'softmax') {
    result = graph.node('Softmax', [result], { axis: 1 })
  }
  graph.output('prediction', result, 'float32', ['rows', numClass])
  return graph.finish('seqrisk trees')
}

/** Largest float32 that is not above: x ≤ threshold and x ≤ this are the same for every float32 x. */
export function floatBelow(threshold: number): number {
  const rounded = Math.fround(threshold)
  if (!(rounded > threshold)) return rounded
  const bits = new Int32Array(Float32Array.of(rounded).buffer)
  // Next towards −∞: the bits of floats count up with their size.
  if (rounded === 0) bits[0] = -0x7fffffff
  else bits[0] += rounded > 0 ? -1 : 1
  return new Float32Array(bits.buffer)[0]
}

/** The nodes of all trees, column by column. */
class Nodes {
  readonly tree: number[] = []
  readonly id: number[] = []
  readonly feature: number[] = []
  readonly value: number[] = []
  readonly mode: string[] = []
  readonly yes: number[] = []
  readonly no: number[] = []
  readonly missingYes: number[] = []

  add(tree: number, id: number, mode: 'BRANCH_LEQ' | 'BRANCH_EQ' | 'LEAF', feature = 0, value = 0): number {
    this.tree.push(tree)
    this.id.push(id)
    this.mode.push(mode)
    this.feature.push(feature)
    this.value.push(value)
    this.yes.push(0)
    this.no.push(0)
    this.missingYes.push(0)
    return this.id.length - 1
  }
}

function ensembleOf(model: GbrtModel, trees: number, factor: number) {
  const { numClass } = model.info
  const all = model.trees
  const nodes = new Nodes()
  const leaf = { tree: [] as number[], id: [] as number[], target: [] as number[], weight: [] as number[] }
  let firstNode = 0
  let firstLeaf = 0
  for (let tree = 0; tree < trees; tree++) {
    const leaves = all.numLeaves[tree]
    const inner = leaves - 1
    // Inner nodes keep their numbers, leaves follow, then what a split on categories needs besides.
    const idOf = (child: number) => (child >= 0 ? child : inner - 1 - child)
    let nextId = inner + leaves
    for (let i = 0; i < inner; i++) {
      const node = firstNode + i
      const [yes, no] = [idOf(all.leftChild[node]), idOf(all.rightChild[node])]
      const feature = all.splitFeature[node]
      if ((all.decision[node] & CATEGORICAL) === 0) {
        const at = nodes.add(tree, i, 'BRANCH_LEQ', feature, floatBelow(all.threshold[node]))
        nodes.yes[at] = yes
        nodes.no[at] = no
        nodes.missingYes[at] = Number(missingGoesLeft(all.decision[node], all.threshold[node]))
        continue
      }
      // One question for each category; runtimes know the chain for the set that it is.
      const categories = categoriesOf(model, all.threshold[node])
      categories.forEach((category, k) => {
        const at = nodes.add(tree, k === 0 ? i : nextId++, 'BRANCH_EQ', feature, category)
        nodes.yes[at] = yes
        nodes.no[at] = k + 1 < categories.length ? nextId : no
      })
    }
    for (let l = 0; l < leaves; l++) {
      nodes.add(tree, inner + l, 'LEAF')
      leaf.tree.push(tree)
      leaf.id.push(inner + l)
      leaf.target.push(tree % numClass)
      leaf.weight.push(all.leafValue[firstLeaf + l] * factor)
    }
    firstNode += inner
    firstLeaf += leaves
  }
  if (trees === 0) {
    // An ensemble has at least one tree.
    nodes.add(0, 0, 'LEAF')
    leaf.tree.push(0)
    leaf.id.push(0)
    leaf.target.push(0)
    leaf.weight.push(0)
  }
  return {
    n_targets: numClass,
    nodes_treeids: nodes.tree,
    nodes_nodeids: nodes.id,
    nodes_featureids: nodes.feature,
    nodes_values: Float32Array.from(nodes.value),
    nodes_modes: nodes.mode,
    nodes_truenodeids: nodes.yes,
    nodes_falsenodeids: nodes.no,
    nodes_missing_value_tracks_true: nodes.missingYes,
    target_treeids: leaf.tree,
    target_nodeids: leaf.id,
    target_ids: leaf.target,
    target_weights: Float32Array.from(leaf.weight),
  }
}

/** Where NaN goes. Where training saw none it counts as 0. */
function missingGoesLeft(decision: number, threshold: number): boolean {
  const missing = (decision >> 2) & 3
  if (missing === MISSING_ZERO) {
    const advice = 'train with zero_as_missing=false'
    throw new RangeError(sentence('exportTrees', 'NaN for missing values', 'splits that take zero for one', advice))
  }
  return missing === MISSING_NAN ? (decision & MISSING_LEFT) !== 0 : threshold >= 0
}

/** Categories that go left; an impossible one where the list is empty, so that everything goes right. */
function categoriesOf(model: GbrtModel, list: number): number[] {
  const { categoryStart, categoryWords } = model.trees
  const start = categoryStart[list]
  const found: number[] = []
  for (let bit = 0; bit < (categoryStart[list + 1] - start) * 32; bit++) {
    if ((categoryWords[start + (bit >> 5)] >>> (bit & 31)) & 1) found.push(bit)
  }
  return found.length > 0 ? found : [-1]
}
