import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { fromLightgbm, loadLightgbm, saveLightgbm, toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import { GbrtModel } from '../../lib/trees/model.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { TestRandom } from '../support/random.js'
import { smallTable } from '../support/tables.js'

const { columns, labels } = smallTable(3000)
const codes = Int32Array.from({ length: 3000 }, (_, r) => (r * 7) % 90)
const table = [...columns, codes]
const targets = labels.map((label, r) => (codes[r] % 3 === 0 ? 1 - label : label))

async function trained(options: GbrtOptions, own = targets) {
  const device = openDevice()
  const names = ['a', 'b c', 'd', 'e', 'f', 'code']
  const matrix = await BinnedMatrix.from(device, { columns: table }, { categorical: [5], names })
  const settings = { numIterations: 6, minDataPerGroup: 5, catSmooth: 1, ...options }
  return { device, model: (await new GbrtTrainer(matrix, settings).fit({ targets: own })).model }
}

// Written by hand after LightGBM's format: a split on a number with missing values to the left, one on categories
// {1, 3}, and a constant tree.
const BY_HAND = `tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:2
feature_names=x kind
feature_infos=[0:1] 1:3
tree_sizes=10 10

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=2 1
threshold=0.5 0
decision_type=10 1
left_child=-1 -2
right_child=1 -3
leaf_value=0.25 -0.5 1
leaf_weight=1 1 1
leaf_count=1 1 1
internal_value=0 0
internal_weight=2 2
internal_count=3 2
cat_boundaries=0 1
cat_threshold=10
is_linear=0
shrinkage=0.1


Tree=1
num_leaves=1
num_cat=0
split_feature=
split_gain=
threshold=
decision_type=
left_child=
right_child=
leaf_value=0.125
leaf_weight=
leaf_count=
internal_value=
internal_weight=
internal_count=
is_linear=0
shrinkage=1


end of trees

feature_importances:
x=1

parameters:
end of parameters

pandas_categorical:null
`

describe("LightGBM's text format", () => {
  const folder = temporaryFolder()

  it.each([
    ['squared', { objective: 'squared' }, targets],
    ['logistic', { objective: 'logistic', numLeaves: 40 }, targets],
    ['softmax', { objective: 'softmax', numClass: 3 }, codes.map(code => code % 3)],
  ] as const)('comes back the same: %s', async (_, options, own) => {
    const { device, model } = await trained(options, own as never)
    const path = join(folder, `${options.objective}.txt`)
    await saveLightgbm(model, path)
    const back = await loadLightgbm(path)
    expect(model.trees.decision.some(decision => decision & 1)).toBe(true)
    expect(model.trees.decision.some(decision => decision & 8)).toBe(true)
    expect(back.trees).toEqual(model.trees)
    expect(back.info).toMatchObject({ ...model.info })
    expect(toLightgbm(back)).toBe(toLightgbm(model))
    expect(await back.predict(device, { columns: table })).toEqual(await model.predict(device, { columns: table }))
  })

  it('keeps names with spaces, and what category codes stand for', async () => {
    const { model } = await trained({})
    const levels = [null, null, null, null, null, ['x = 1', 'é\n"', '7']]
    const text = toLightgbm(new GbrtModel({ ...model.info, levels }, model.trees))
    expect(text).toContain('feature_names=a b_c d e f code\n')
    expect(text).toContain('\n[categorical_feature: 5]\n')
    expect(fromLightgbm(text).info).toMatchObject({ names: ['a', 'b c', 'd', 'e', 'f', 'code'], levels })
    // LightGBM's Python package writes the values of all categorical columns, without their numbers.
    const plain = text.replace('[categorical_feature: 5]\n', '').replace(/^column_names.*\n/m, '')
    expect(fromLightgbm(plain).info).toMatchObject({ names: ['a', 'b_c', 'd', 'e', 'f', 'code'], levels })
    for (const [from, to, message] of [
      ['pandas_categorical:[', 'pandas_categorical:{', /JSON in pandas_categorical/],
      ['pandas_categorical:[', 'pandas_categorical:["a",', /lists of texts/],
      ['[categorical_feature: 5]', '[categorical_feature: 9]', /1 categorical columns/],
      ['[categorical_feature: 5]', '[categorical_feature: 3,5]', /2 categorical columns/],
      ['column_names=["a"', 'column_names=["x"', /agree with feature_names/],
    ] as const) {
      expect(text).toContain(from)
      expect(() => fromLightgbm(text.replace(from, to))).toThrow(message)
    }
  })

  it('states the size of each tree in bytes', async () => {
    const { model } = await trained({})
    const text = toLightgbm(model)
    const sizes = /tree_sizes=(.*)/.exec(text)![1].split(' ').map(Number)
    let at = text.indexOf('Tree=0')
    sizes.forEach((size, t) => {
      expect(text.slice(at).startsWith(`Tree=${t}\n`)).toBe(true)
      at += size
    })
    expect(text.slice(at).startsWith('end of trees')).toBe(true)
  })

  it('is read as LightGBM reads it', () => {
    const model = fromLightgbm(BY_HAND)
    const raw = (x: number, kind: number) => model.predictRow([x, kind], { raw: true })[0]
    expect(raw(0.5, 1)).toBe(0.25 + 0.125)
    expect(raw(Number.NaN, 1)).toBe(0.25 + 0.125)
    expect(raw(0.6, 1)).toBe(-0.5 + 0.125)
    expect(raw(0.6, 3.7)).toBe(-0.5 + 0.125)
    for (const kind of [0, 2, 4, 33, 1e12, -1, Number.NaN]) expect(raw(0.6, kind)).toBe(1 + 0.125)
    expect(model.predictRow([0.6, 2])[0]).toBeCloseTo(1 / (1 + Math.exp(-2 * 1.125)), 14)
    // Missing types: none counts NaN as 0, zero sends 0 and NaN to the default side.
    const none = fromLightgbm(
      BY_HAND.replace('decision_type=10 1', 'decision_type=0 1').replace('threshold=0.5', 'threshold=-0.5'),
    )
    expect(none.predictRow([Number.NaN, 2], { raw: true })[0]).toBe(1.125)
    const zero = fromLightgbm(
      BY_HAND.replace('decision_type=10 1', 'decision_type=6 1').replace('threshold=0.5', 'threshold=-0.5'),
    )
    expect([0, Number.NaN, 1e-36, 0.1].map(x => zero.predictRow([x, 2], { raw: true })[0])).toEqual([
      0.375, 0.375, 0.375, 1.125,
    ])
  })

  it('predicts where two nodes lead to one', async () => {
    const numbers = BY_HAND.replace('decision_type=10 1', 'decision_type=10 10').replace(
      'threshold=0.5 0',
      'threshold=0.5 1.5',
    )
    const model = fromLightgbm(numbers.replace('left_child=-1 -2', 'left_child=1 -2'))
    const columns = [Float64Array.of(0.5, 0.5, 0.6, 0.6), Float64Array.of(1, 2, 1, 2)]
    const want = [0, 1, 2, 3].map(r => model.predictRow(columns.map(column => column[r]))[0])
    expect(new Set(want).size).toBe(2)
    expect([...(await model.predict(openDevice(), { columns }))]).toEqual(want)
  })

  it.each([
    ['', /starts with 'tree'/],
    ['tree\n', /end of trees/],
    [BY_HAND.replace('left_child=-1 -2', 'left_child=-1 0'), /children/],
    [BY_HAND.replace('left_child=-1 -2', 'left_child=-1 -9'), /children/],
    [BY_HAND.replace('split_feature=0 1', 'split_feature=0 2'), /features below 2/],
    [BY_HAND.replace('leaf_value=0.25', 'leaf_value='), /leaf_value/],
    [BY_HAND.replace('threshold=0.5 0', 'threshold=0.5 7'), /a list below 1/],
    [BY_HAND.replace('cat_boundaries=0 1', 'cat_boundaries=0 9'), /cat_threshold/],
    [BY_HAND.replace('num_leaves=3', 'num_leaves=16000000'), /numbers in/],
    [BY_HAND.replace('max_feature_idx=1', 'max_feature_idx=99999999999'), /max_feature_idx/],
    [BY_HAND.replace('decision_type=10 1', 'decision_type=14 1'), /missing types/],
    [BY_HAND.replace('objective=binary sigmoid:2', 'objective=poisson'), /poisson/],
    [BY_HAND.replace('is_linear=0', 'is_linear=1'), /is_linear/],
  ])('refuses a damaged file (%#)', (text, message) => {
    expect(text).not.toBe(BY_HAND)
    expect(() => fromLightgbm(text)).toThrow(message)
    expect(() => fromLightgbm(text)).toThrow(expect.objectContaining({ code: 'BAD_MODEL' }))
  })

  it('refuses a file that is not there or not text', async () => {
    const none = {
      code: 'FILE_NOT_FOUND',
      message: expect.stringMatching(/^\[lightgbm\] expected a readable file but/),
    }
    await expect(loadLightgbm(join(folder, 'none.txt'))).rejects.toMatchObject(none)
    await expect(loadLightgbm(folder)).rejects.toMatchObject(none)
    writeFileSync(join(folder, 'bytes.txt'), Buffer.from(Array.from({ length: 500 }, (_, i) => (i * 37) % 256)))
    await expect(loadLightgbm(join(folder, 'bytes.txt'))).rejects.toThrow(/starts with/)
  })

  describe('survives any damage', () => {
    let texts: string[]
    beforeAll(async () => {
      texts = [BY_HAND, toLightgbm((await trained({ numIterations: 2, numLeaves: 6 })).model)]
    })

    it('as an error or as a model that predicts', () => {
      const random = new TestRandom(99)
      const pieces = ['-1', '0', '1e999', '4294967296', '', ' ', '\n', '=', 'NaN', 'inf', 'Tree=0', '-2147483648', '31']
      let read = 0
      for (let round = 0; round < 3000; round++) {
        let text = texts[round % 2]
        for (let change = random.integer(1, 3); change > 0; change--) {
          const at = random.integer(0, text.length - 1)
          const piece = pieces[random.integer(0, pieces.length - 1)]
          text = text.slice(0, at) + piece + text.slice(at + random.integer(0, 4))
        }
        let model: GbrtModel
        try {
          model = fromLightgbm(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_MODEL' })
          continue
        }
        read++
        const row = Array.from({ length: model.features }, () => random.normal() * 50)
        expect(model.predictRow(row).length).toBe(model.info.numClass)
      }
      expect(read).toBeGreaterThan(100)
    })
  })
})
