// The thread of `runUmap`. JavaScript, for the thread that starts it may run TypeScript by a loader that threads lack.

import { parentPort, workerData } from 'node:worker_threads'
import { UMAP } from 'umap-js'

const REPORT_MS = 100

const { rows, scores, top, isCosine, start, neighbours, minDist, epochs, seed } = workerData
const count = rows.length / top
const umap = new UMAP({
  nComponents: 2,
  nNeighbors: neighbours,
  minDist,
  ...(epochs > 0 && { nEpochs: epochs }),
  random: mulberry32(seed),
})
const indices = []
const distances = []
for (let row = 0; row < count; row++) {
  const own = [[row, 0]]
  for (let i = row * top; i < (row + 1) * top && own.length < neighbours; i++) {
    if (rows[i] >= 0 && rows[i] !== row) own.push([rows[i], isCosine ? Math.max(0, 1 - scores[i]) : scores[i]])
  }
  indices.push(own.map(([other]) => other))
  distances.push(own.map(([, distance]) => distance))
}
umap.setPrecomputedKNN(indices, distances)
// With neighbours given, only the number of vectors counts.
const total = umap.initializeFit(Array.from({ length: count }, () => []))
const places = umap.getEmbedding()
for (let row = 0; row < count; row++) {
  places[row][0] = start.x[row]
  places[row][1] = start.y[row]
}
let reported = performance.now()
for (let epoch = 0; epoch < total; epoch++) {
  umap.step()
  if (performance.now() - reported < REPORT_MS) continue
  reported = performance.now()
  parentPort.postMessage({ done: epoch + 1, total })
}
const embedding = umap.getEmbedding()
parentPort.postMessage({
  x: Float64Array.from(embedding, place => place[0]),
  y: Float64Array.from(embedding, place => place[1]),
})

/** A small seeded generator, uniform in [0, 1) (Tommy Ettinger's mulberry32). */
function mulberry32(start) {
  let state = start >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
