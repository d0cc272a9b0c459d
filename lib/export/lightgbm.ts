// LightGBM's text format (version v4), written and read. Numbers are written so that reading gives the same bits.

import { readFile } from 'node:fs/promises'
import { GbrtModel, type Levels, type ModelInfo, type ModelObjective, type Trees } from '../trees/model.js'
import { SeqriskError, sentence } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'

const OBJECTIVE_WORDS: Record<ModelObjective, (info: ModelInfo) => string> = {
  squared: () => 'regression',
  // Any targets in [0, 1]: for LightGBM too, `binary` decides the transform alone.
  logistic: info => `binary sigmoid:${info.sigmoid ?? 1}`,
  softmax: info => `multiclass num_class:${info.numClass}`,
  custom: () => 'custom',
}

/** The model as LightGBM's text. */
export function toLightgbm(model: GbrtModel): string {
  const { info, trees } = model
  const blocks: string[] = []
  let node = 0
  let leaf = 0
  for (let t = 0; t < trees.numLeaves.length; t++) {
    const leaves = trees.numLeaves[t]
    blocks.push(treeText(trees, t, node, leaf, info.shrinkage ?? 1))
    node += leaves - 1
    leaf += leaves
  }
  const head = [
    'tree',
    'version=v4',
    `num_class=${info.numClass}`,
    `num_tree_per_iteration=${info.numClass}`,
    'label_index=0',
    `max_feature_idx=${model.features - 1}`,
    ...(OBJECTIVE_WORDS[info.objective](info) === 'custom'
      ? []
      : [`objective=${OBJECTIVE_WORDS[info.objective](info)}`]),
    ...(info.isAverage ? ['average_output'] : []),
    `feature_names=${info.names.map(safeName).join(' ')}`,
    ...(info.names.some(name => safeName(name) !== name) ? [`column_names=${oneLine(info.names)}`] : []),
    `feature_infos=${info.featureInfos.join(' ')}`,
    `tree_sizes=${blocks.map(block => Buffer.byteLength(block)).join(' ')}`,
    '',
    '',
  ].join('\n')
  const importance = Array.from(model.importance('split'), (count, f) => ({ name: safeName(info.names[f]), count }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
    .map(({ name, count }) => `${name}=${count}`)
  const coded = info.levels?.flatMap((levels, f) => (levels ? [f] : [])) ?? []
  const tail = [
    'end of trees',
    '',
    'feature_importances:',
    ...importance,
    '',
    'parameters:',
    ...(coded.length > 0 ? [`[categorical_feature: ${coded.join(',')}]`] : []),
    'end of parameters',
    '',
    `pandas_categorical:${coded.length > 0 ? oneLine(coded.map(f => info.levels![f])) : 'null'}`,
    '',
  ]
  return `${head}${blocks.join('')}${tail.join('\n')}`
}

/** Writes `model.txt`; a crash leaves the old file or the new one. */
export async function saveLightgbm(model: GbrtModel, path: string): Promise<void> {
  await writeFileAtomic(path, toLightgbm(model))
}

/**
 * @throws {SeqriskError} code `BAD_MODEL` for a file that is damaged or holds what is not supported, `FILE_NOT_FOUND` when
 *         there is none
 */
export async function loadLightgbm(path: string): Promise<GbrtModel> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const advice = 'check the path'
    throw new SeqriskError('FILE_NOT_FOUND', sentence('lightgbm', 'a readable file', path, advice), { cause })
  })
  return fromLightgbm(text)
}

/** White space would end a name: LightGBM writes an underscore, too. */
const safeName = (name: string) => name.replace(/\s/g, '_')

/** JSON without the sign that LightGBM splits lines at. */
const oneLine = (value: unknown) => JSON.stringify(value).replaceAll('=', '\\u003d')

function treeText(trees: Trees, t: number, node: number, leaf: number, shrinkage: number): string {
  const leaves = trees.numLeaves[t]
  const inner = (values: ArrayLike<number>) => Array.from({ length: leaves - 1 }, (_, i) => values[node + i])
  const outer = (values: ArrayLike<number>) => Array.from({ length: leaves }, (_, i) => values[leaf + i])
  const decisions = inner(trees.decision)
  // Lists of categories count from 0 in each tree.
  const lists = inner(trees.threshold).filter((_, i) => decisions[i] & 1)
  const boundaries = [0]
  const words: number[] = []
  for (const list of lists) {
    for (let w = trees.categoryStart[list]; w < trees.categoryStart[list + 1]; w++)
      words.push(trees.categoryWords[w] >>> 0)
    boundaries.push(words.length)
  }
  let next = 0
  const thresholds = inner(trees.threshold).map((value, i) => (decisions[i] & 1 ? next++ : value))
  const lines: [string, readonly number[]][] = [
    ['split_feature', inner(trees.splitFeature)],
    ['split_gain', inner(trees.splitGain)],
    ['threshold', thresholds],
    ['decision_type', decisions],
    ['left_child', inner(trees.leftChild)],
    ['right_child', inner(trees.rightChild)],
    ['leaf_value', outer(trees.leafValue)],
    ['leaf_weight', outer(trees.leafWeight)],
    ['leaf_count', outer(trees.leafCount)],
    ['internal_value', inner(trees.internalValue)],
    ['internal_weight', inner(trees.internalWeight)],
    ['internal_count', inner(trees.internalCount)],
  ]
  if (lists.length > 0) lines.push(['cat_boundaries', boundaries], ['cat_threshold', words])
  return [
    `Tree=${t}`,
    `num_leaves=${leaves}`,
    `num_cat=${lists.length}`,
    ...lines.map(([key, values]) => `${key}=${values.join(' ')}`),
    'is_linear=0',
    `shrinkage=${shrinkage}`,
    '',
    '',
    '',
  ].join('\n')
}

function bad(expected: string, received: string): SeqriskError {
  const shown = received.length > 60 ? `${received.slice(0, 60)}…` : received
  return new SeqriskError('BAD_MODEL', `[lightgbm] expected ${expected} but received '${shown}'; train the model again`)
}

/**
 * A model from LightGBM's text.
 * @throws {SeqriskError} code `BAD_MODEL` for text that is damaged or holds what is not supported (linear trees,
 *         objectives other than regression, binary, cross_entropy and multiclass)
 */
export function fromLightgbm(text: string): GbrtModel {
  const lines = text.split(/\r?\n/)
  if (lines[0] !== 'tree') throw bad("a file that starts with 'tree'", lines[0])
  const end = lines.indexOf('end of trees')
  if (end < 0) throw bad("a line 'end of trees'", lines.at(-1) ?? '')
  const first = lines.findIndex(line => line.startsWith('Tree='))
  const head = entries(lines.slice(1, first < 0 || first > end ? end : first))
  const numClass = whole(head, 'num_tree_per_iteration', 1, 4096)
  const features = whole(head, 'max_feature_idx', 0, 1e6) + 1
  const names = words(head, 'feature_names', features)
  const featureInfos = words(head, 'feature_infos', features)
  const blocks: Map<string, string>[] = []
  for (let at = first; at >= 0 && at < end; ) {
    let next = at + 1
    while (next < end && !lines[next].startsWith('Tree=')) next++
    if (lines[at] !== `Tree=${blocks.length}`) throw bad(`Tree=${blocks.length}`, lines[at])
    blocks.push(entries(lines.slice(at + 1, next)))
    at = next
  }
  if (blocks.length % numClass !== 0) throw bad(`a multiple of ${numClass} trees`, String(blocks.length))
  const { objective, sigmoid } = objectiveOf(head.get('objective'), numClass)
  const info: ModelInfo = {
    objective,
    numClass,
    names: head.has('column_names') ? columnNames(head.get('column_names')!, names) : names,
    featureInfos,
    levels: levelsOf(lines.slice(end), featureInfos),
    sigmoid,
    isAverage: head.has('average_output'),
    shrinkage: blocks.length > 0 ? numbers(blocks.at(-1)!, 'shrinkage', 1)[0] : 1,
  }
  const model = new GbrtModel(info, treesOf(blocks))
  try {
    model.forest // checks the trees
  } catch (cause) {
    throw new SeqriskError('BAD_MODEL', `[lightgbm] expected sound trees but received: ${(cause as Error).message}`, {
      cause,
    })
  }
  return model
}

function treesOf(blocks: readonly Map<string, string>[]): Trees {
  const numLeaves = new Int32Array(blocks.length)
  const parts = new Map<string, number[][]>()
  const add = (key: string, values: number[]) => {
    const list = parts.get(key)
    if (list) list.push(values)
    else parts.set(key, [values])
  }
  const starts = [0]
  blocks.forEach((block, t) => {
    const leaves = whole(block, 'num_leaves', 1, 1 << 24)
    if ((block.get('is_linear') ?? '0') !== '0') throw bad('is_linear=0', block.get('is_linear')!)
    numLeaves[t] = leaves
    const decision = whole32(block, 'decision_type', leaves - 1)
    add('decision', decision)
    add('splitFeature', whole32(block, 'split_feature', leaves - 1))
    add('leftChild', whole32(block, 'left_child', leaves - 1))
    add('rightChild', whole32(block, 'right_child', leaves - 1))
    add('leafValue', numbers(block, 'leaf_value', leaves))
    // What prediction does not need may be missing.
    for (const [key, name, count] of [
      ['splitGain', 'split_gain', leaves - 1],
      ['internalValue', 'internal_value', leaves - 1],
      ['internalWeight', 'internal_weight', leaves - 1],
      ['internalCount', 'internal_count', leaves - 1],
      ['leafWeight', 'leaf_weight', leaves],
      ['leafCount', 'leaf_count', leaves],
    ] as const) {
      add(key, block.get(name) ? numbers(block, name, count) : new Array<number>(count).fill(0))
    }
    const lists = whole(block, 'num_cat', 0, leaves)
    const boundaries = lists > 0 ? whole32(block, 'cat_boundaries', lists + 1) : [0]
    const categories = lists > 0 ? numbers(block, 'cat_threshold', boundaries.at(-1)!) : []
    if (boundaries[0] !== 0 || boundaries.some((b, i) => i > 0 && b < boundaries[i - 1])) {
      throw bad('cat_boundaries that start with 0 and never fall', boundaries.join(' '))
    }
    const base = starts.length - 1
    const word = starts.at(-1)!
    for (const boundary of boundaries.slice(1)) starts.push(word + boundary)
    add('words', categories)
    const threshold = numbers(block, 'threshold', leaves - 1)
    add(
      'threshold',
      threshold.map((value, i) => {
        if ((decision[i] & 1) === 0) return value
        if (!(Number.isInteger(value) && value >= 0 && value < lists)) throw bad(`a list below ${lists}`, String(value))
        return base + value
      }),
    )
  })
  const all = (key: string) => (parts.get(key) ?? []).flat()
  return {
    numLeaves,
    splitFeature: Int32Array.from(all('splitFeature')),
    threshold: Float64Array.from(all('threshold')),
    decision: Uint8Array.from(all('decision')),
    leftChild: Int32Array.from(all('leftChild')),
    rightChild: Int32Array.from(all('rightChild')),
    leafValue: Float64Array.from(all('leafValue')),
    splitGain: Float64Array.from(all('splitGain')),
    internalValue: Float64Array.from(all('internalValue')),
    internalWeight: Float64Array.from(all('internalWeight')),
    internalCount: Float64Array.from(all('internalCount')),
    leafWeight: Float64Array.from(all('leafWeight')),
    leafCount: Float64Array.from(all('leafCount')),
    categoryStart: Int32Array.from(starts),
    categoryWords: Int32Array.from(all('words'), value => value | 0),
  }
}

/** Names before white space was taken from them; LightGBM passes the line over. */
function columnNames(line: string, safe: readonly string[]): readonly string[] {
  const names = parsed(line, 'column_names')
  const holds = Array.isArray(names) && names.length === safe.length
  if (!holds || names.some((name, f) => typeof name !== 'string' || safeName(name) !== safe[f])) {
    throw bad('column_names that agree with feature_names', line)
  }
  return names
}

/** What LightGBM's Python package keeps of categories: a list of values for each categorical column, in their order. */
function levelsOf(tail: readonly string[], featureInfos: readonly string[]): (Levels | null)[] | undefined {
  const line = tail
    .find(one => one.startsWith('pandas_categorical:'))
    ?.slice('pandas_categorical:'.length)
    .trim()
  if (line === undefined || line === 'null' || line === '' || line === '[]') return undefined
  const lists = parsed(line, 'pandas_categorical')
  const isValue = (value: unknown) => typeof value === 'string' || typeof value === 'number'
  if (!Array.isArray(lists) || !lists.every(list => Array.isArray(list) && list.every(isValue))) {
    throw bad('lists of texts or numbers in pandas_categorical', line)
  }
  const named = /^\[categorical_feature: ([0-9,]+)\]$/.exec(
    tail.find(one => one.startsWith('[categorical_feature:')) ?? '',
  )
  const coded = named
    ? named[1].split(',').map(Number)
    : featureInfos.flatMap((info, f) => (info !== 'none' && !info.startsWith('[') ? [f] : []))
  const known = coded.every((f, i) => f < featureInfos.length && (i === 0 || coded[i - 1] < f))
  if (coded.length !== lists.length || !known) {
    throw bad(`values of ${coded.length} categorical columns in pandas_categorical`, String(lists.length))
  }
  const levels = new Array<Levels | null>(featureInfos.length).fill(null)
  for (const [i, f] of coded.entries()) levels[f] = lists[i] as Levels
  return levels
}

function parsed(text: string, key: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw bad(`JSON in ${key}`, text)
  }
}

function entries(lines: readonly string[]): Map<string, string> {
  const map = new Map<string, string>()
  for (const line of lines) {
    if (line === '') continue
    const at = line.indexOf('=')
    map.set(at < 0 ? line : line.slice(0, at), at < 0 ? '' : line.slice(at + 1))
  }
  return map
}

function text(map: Map<string, string>, key: string): string {
  const value = map.get(key)
  if (value === undefined) throw bad(`a line ${key}=…`, 'none')
  return value
}

function words(map: Map<string, string>, key: string, count: number): string[] {
  const list = text(map, key).split(' ')
  if (list.length !== count) throw bad(`${count} ${key}`, String(list.length))
  return list
}

function numbers(map: Map<string, string>, key: string, count: number): number[] {
  const value = text(map, key)
  const list = value === '' ? [] : value.split(' ')
  if (list.length !== count) throw bad(`${count} numbers in ${key}`, value)
  return list.map(word => {
    const number = word === 'inf' ? Number.POSITIVE_INFINITY : word === '-inf' ? Number.NEGATIVE_INFINITY : Number(word)
    if (word === '' || Number.isNaN(number)) throw bad(`numbers in ${key}`, word)
    return number
  })
}

function whole32(map: Map<string, string>, key: string, count: number): number[] {
  const list = numbers(map, key, count)
  for (const number of list) if ((number | 0) !== number) throw bad(`integers in ${key}`, String(number))
  return list
}

function whole(map: Map<string, string>, key: string, low: number, high: number): number {
  const value = text(map, key)
  const number = Number(value)
  const holds = value !== '' && Number.isInteger(number) && number >= low && number <= high
  if (!holds) throw bad(`${key} to be an integer in [${low}, ${high}]`, value)
  return number
}

function objectiveOf(line: string | undefined, numClass: number): { objective: ModelObjective; sigmoid?: number } {
  const [name, ...options] = (line ?? 'custom').split(' ')
  if (name === 'binary') {
    const given = options.find(option => option.startsWith('sigmoid:'))?.slice('sigmoid:'.length) ?? '1'
    const sigmoid = Number(given)
    if (!(sigmoid > 0 && sigmoid < 1e30)) throw bad('a sigmoid above 0', given)
    return { objective: 'logistic', sigmoid }
  }
  if (name === 'cross_entropy') return { objective: 'logistic' }
  if (name === 'regression' && options.length === 0) return { objective: 'squared' }
  if (name === 'multiclass') {
    if (!options.includes(`num_class:${numClass}`)) throw bad(`num_class:${numClass}`, options.join(' '))
    return { objective: 'softmax' }
  }
  if (name === 'custom') return { objective: 'custom' }
  throw bad('an objective of regression, binary, cross_entropy, multiclass or custom', line!)
}
