// Model files in LightGBM itself, where Python has it: the same predictions to the last bit, and its files read here.

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hasGbdt, INSTALL_GBDT } from '../../bench/peers/gbdt.js'
import { loadLightgbm, saveLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { expectClose } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { smallTable } from '../support/tables.js'

const isThere = hasGbdt('lightgbm')
const name = `model files in LightGBM${isThere ? '' : `, which is not installed (${INSTALL_GBDT.lightgbm})`}`
const folder = temporaryFolder()

const ROWS = 2000
const { columns, labels } = smallTable(ROWS)
const codes = Float32Array.from({ length: ROWS }, (_, r) => (r * 7) % 90)
const table = [...columns, codes].map(column => Float64Array.from(column))
const FEATURES = table.length
const classes = labels.map((label, r) => label + Number(codes[r] % 3 === 0))

// Reads FOLDER/x.f64 (features, rows), trains or loads FOLDER/model.txt, writes predictions, (rows, classes).
const PEER = `
import sys
import numpy as np
import lightgbm
folder, task, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.fromfile(folder + '/x.f64').reshape(-1, rows).T
if task == 'train':
    y = np.fromfile(folder + '/y.f32', np.float32)
    data = lightgbm.Dataset(x, y, categorical_feature=[x.shape[1] - 1])
    parameters = {'objective': 'binary', 'verbosity': -1, 'num_threads': 1, 'min_data_per_group': 5}
    model = lightgbm.train(parameters, data, 20)
    model.save_model(folder + '/model.txt')
else:
    model = lightgbm.Booster(model_file=folder + '/model.txt')
model.predict(x, raw_score=task != 'average').tofile(folder + '/scores.f64')
`

function peer(task: 'train' | 'raw' | 'average'): Float64Array {
  writeFileSync(join(folder, 'x.f64'), Buffer.concat(table.map(column => new Uint8Array(column.buffer))))
  writeFileSync(join(folder, 'y.f32'), new Uint8Array(labels.buffer))
  const { status, stderr } = spawnSync('/usr/bin/python3', ['-c', PEER, folder, task, String(ROWS)], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  return new Float64Array(new Uint8Array(readFileSync(join(folder, 'scores.f64'))).buffer)
}

// LightGBM is a peer that the project does not install; the name says how to.
describe.skipIf(!isThere)(name, { timeout: 60_000 }, () => {
  const device = openDevice()
  const binned = () => BinnedMatrix.from(device, { columns: table }, { categorical: [FEATURES - 1] })
  const path = join(folder, 'model.txt')

  it.each<[string, GbrtOptions]>([
    ['squared', { objective: 'squared' }],
    ['logistic', { objective: 'logistic' }],
    ['softmax', { objective: 'softmax', numClass: 3 }],
  ])('written here predict the same there: %s', async (objective, options) => {
    const trainer = new GbrtTrainer(await binned(), { minDataPerGroup: 5, numIterations: 20, ...options })
    const { model } = await trainer.fit({ targets: objective === 'softmax' ? classes : labels })
    await saveLightgbm(model, path)
    expect(peer('raw')).toEqual(await model.predict(device, { columns: table }, { raw: true }))
  })

  it('written here predict the same there: a random forest', async () => {
    const model = await new RandomForestTrainer(await binned(), { numIterations: 20 }).fit({ targets: labels })
    await saveLightgbm(model, path)
    // Means of twenty leaves, summed in another order at most.
    expectClose(peer('average'), await model.predict(device, { columns: table }), { absolute: 1e-12 })
  })

  it('written there predict the same here', async () => {
    const want = peer('train')
    const model = await loadLightgbm(path)
    expect(model.trees.decision.some(decision => (decision & 1) === 1)).toBe(true)
    expect(await model.predict(device, { columns: table }, { raw: true })).toEqual(want)
  })
})
