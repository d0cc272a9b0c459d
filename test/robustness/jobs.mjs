// Jobs of every kind that keep a device busy, as an installed package runs them. As a worker's entry: the job that its
// workerData names, again and again, until it is terminated.

import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import {
  BinnedMatrix,
  Device,
  defineSchema,
  Encoder,
  encodeSource,
  fitEncoding,
  fromRows,
  GbrtTrainer,
  IsolationForest,
  kmeans,
  pretrain,
} from 'seqrisk'

const schema = defineSchema({
  entity: 'user',
  time: 'time',
  fields: { event: { kind: 'categorical' }, amount: { kind: 'numeric' }, note: { kind: 'text', hash: 64 } },
})

export const size = { width: 16, blocks: 1, heads: 2 }

/** The same users each time, of 3 … 32 events. */
export function events(users = 60) {
  const rows = []
  for (let user = 0; user < users; user++) {
    for (let i = 0; i < 3 + (user % 30); i++) {
      const event = `event ${(i * 7 + user) % 5}`
      rows.push({
        user: `u${user}`,
        time: i * 3_600_000 * (1 + (user % 9)),
        event,
        amount: (i * 13 + user) % 17,
        note: `note ${i % 4}`,
      })
    }
  }
  return fromRows(schema, rows)
}

/** Rows of eight columns. */
const columns = Array.from({ length: 8 }, (_, c) =>
  Float64Array.from({ length: 2000 }, (_, i) => ((i * (c + 3)) % 101) / 7),
)
const targets = columns[0].map((value, i) => Number(value + columns[1][i] > 14))

export const jobs = {
  async pretrain(device) {
    const { encoder, log } = await pretrain(events(), { ...size, epochs: 2, batchEvents: 256, device })
    encoder.dispose()
    return log.map(({ loss }) => loss).join()
  },
  async encode(device) {
    const source = events()
    const encoder = new Encoder(await fitEncoding(source), size, { device, seed: 1 })
    const { vectors } = await encoder.encode(source)
    encoder.dispose()
    return vectors.join()
  },
  async trees(device) {
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { numIterations: 30, numLeaves: 15 })
    const { model } = await trainer.fit({ targets })
    return (await model.predict(device, { columns })).join()
  },
  async unlabelled(device) {
    const forest = await IsolationForest.fit(device, { columns }, { trees: 30 })
    const { inertia } = await kmeans(device, { columns }, { clusters: 9 })
    return `${(await forest.score({ columns })).join()} ${inertia}`
  },
}

/** For the child that encodes one user after the other. */
export async function oneEncoded(device) {
  const source = events(8)
  const encoding = await fitEncoding(source)
  const encoder = new Encoder(encoding, size, { device, seed: 1 })
  return { encoder, encoded: await encodeSource(source, encoding) }
}

if (!isMainThread && workerData?.job) {
  const device = new Device({ threads: 2 })
  parentPort.postMessage('busy')
  for (;;) await jobs[workerData.job](device)
}
