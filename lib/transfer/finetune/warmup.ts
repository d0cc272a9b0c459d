// The head alone, before anything else learns: sequences are encoded once, and a linear model is fitted to their vectors, its
// strength validated inside the training rows. The encoder stays as it is. From such a head fine-tuning distorts the encoder
// less than from a random one (Kumar et al. 2022).

import type { Encoder } from '../../encoder/encoder.js'
import { inTurns } from '../../util/pace.js'
import { Philox } from '../../util/philox.js'
import { innerPartsSteps } from '../folds.js'
import { DesignMatrix } from '../linear/design.js'
import { fitLogistic } from '../linear/logistic.js'
import { fitRidge } from '../linear/ridge.js'
import type { TableColumn } from '../linear/scaling.js'
import type { Head } from './head.js'
import type { FinetuneJob } from './job.js'
import { type FinetuneOptions, type Resolved, streams } from './options.js'
import { encodeRows } from './rows.js'

type Call = Pick<FinetuneOptions, 'signal' | 'onProgress'>

/**
 * Bends heavy-tailed columns, standardises all and, with `warmHead`, fits the head. Few labels do not tell the scale of columns:
 * sequences without a label help.
 */
export async function warmUpHead(
  encoder: Encoder,
  head: Head,
  job: FinetuneJob,
  options: Resolved,
  call: Call,
): Promise<void> {
  const { encoded, training, unlabelled, goal, learnt } = job
  const { signal, onProgress } = call
  const rows = new Int32Array(training.length + unlabelled.length)
  rows.set(training)
  rows.set(unlabelled, training.length)
  const given = await encodeRows(encoder, null, encoded, {
    rows,
    window: options.window,
    signal,
    onProgress: (done, total) => onProgress?.({ phase: 'encode', done, total }),
  })
  const vectors = options.bends ? await head.bend(given, signal) : given
  await inTurns(head.standardiseSteps(vectors, firstOutputs(job)), signal)
  if (!options.warmHead) return
  const { device } = encoder
  const targets = Float64Array.from(training, row => learnt[row])
  const random = new Philox(options.seed, streams.inner)
  if (goal.task === 'regression') {
    const all = Int32Array.from(targets.keys())
    const parts = await inTurns(innerPartsSteps(all, new Int32Array(all.length), random), signal)
    const { weight, bias } = await fitRidge(device, vectors, encoder.width, targets, parts, signal)
    await head.fit(weight, Float64Array.of(bias))
    return
  }
  const { weight, bias } = await fitClasses(encoder, vectors, Int32Array.from(targets), job, random, call)
  await head.fit(weight, bias)
}

async function fitClasses(
  { device, width }: Encoder,
  vectors: Float32Array,
  classes: Int32Array,
  { goal, classWeights }: FinetuneJob,
  random: Philox,
  { signal, onProgress }: Call,
): Promise<{ weight: Float64Array; bias: Float64Array }> {
  const train = classes.map((_, row) => row)
  const all = Int32Array.from({ length: vectors.length / width }, (_, row) => row)
  const columns = Array.from(
    { length: width },
    (_, c): TableColumn => ({ name: `v${c}`, values: vectors, start: c, stride: width }),
  )
  const count = goal.classes.length
  const whole = await DesignMatrix.build(device, [{ columns, rows: all }], { bend: 'plain', signal })
  const matrix = all.length > train.length ? await whole.select(train, signal).finally(() => whole.dispose()) : whole
  try {
    const task = { train, innerFolds: await inTurns(innerPartsSteps(train, classes, random), signal) }
    const report = (done: number) => onProgress?.({ phase: 'head', done, total: 1 })
    const [{ weights }] = await fitLogistic(matrix, classes, count, [task], { signal, onProgress: report })
    const fitted = matrix.onGivenColumns(weights, count === 2 ? 1 : count)
    // One logit of two classes is the difference of two outputs.
    const weight = count === 2 ? halves(fitted.weight) : fitted.weight
    const bias = count === 2 ? halves(fitted.bias) : fitted.bias
    if (classWeights) for (let c = 0; c < count; c++) bias[c] += Math.log(classWeights[c])
    return { weight, bias }
  } finally {
    matrix.dispose()
  }
}

function halves(values: Float64Array): Float64Array {
  return Float64Array.from([...values.map(value => -value / 2), ...values.map(value => value / 2)])
}

/** Outputs that know nothing but how frequent the classes are. */
function firstOutputs({ goal, learnt, classWeights, training }: FinetuneJob): Float32Array {
  if (goal.task === 'regression') return new Float32Array(1)
  const sums = new Float64Array(goal.classes.length)
  for (const row of training) sums[learnt[row]] += classWeights ? classWeights[learnt[row]] : 1
  const total = sums.reduce((a, b) => a + b, 0)
  return Float32Array.from(sums, sum => Math.log(sum / total))
}
