// The head alone: sequences are encoded once, the head learns on their vectors, the encoder stays as it is.

import type { Encoder } from '../encoder/encoder.js'
import type { EncodedEvents } from '../events/encode.js'
import { gatherRows } from '../ops/gather_rows.js'
import { Tensor, unscoped } from '../runtime/tensor.js'
import { inTurns, Pace } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import type { Head } from './finetune_head.js'
import { emptySums, type FinetuneRow } from './finetune_log.js'
import type { FinetuneOptions, Resolved } from './finetune_options.js'
import { dropSeed, scheduleAt, streams } from './finetune_options.js'
import { GroupedAdamW } from './finetune_rates.js'
import { encodeRows } from './finetune_rows.js'
import { enqueueStep, finishStep, type Learnt, type Step } from './finetune_step.js'

/** Steps that wait to be read. */
const IN_FLIGHT = 3

/** Standardises the head on the training sequences and, with `headEpochs`, trains it; one row per epoch. */
export async function learnHead(
  encoder: Encoder,
  head: Head,
  encoded: EncodedEvents,
  training: Int32Array,
  learnt: Learnt,
  options: Resolved,
  { signal, onProgress }: Pick<FinetuneOptions, 'signal' | 'onProgress'>,
): Promise<FinetuneRow[]> {
  const { headEpochs: epochs, headLearningRate, window, batchSize, seed } = options
  const vectors = await encodeRows(encoder, null, encoded, {
    rows: training,
    window,
    signal,
    onProgress: (done, total) => onProgress?.({ phase: 'encode', done, total }),
  })
  await inTurns(head.standardiseSteps(vectors, firstOutputs(learnt, training)), signal)
  const log: FinetuneRow[] = []
  if (epochs === 0 || headLearningRate === 0) return log
  const { device, width } = encoder
  const all = unscoped(() => Tensor.from(device, vectors, [training.length, width]))
  const group = { name: 'head', rate: headLearningRate, parameters: head.parameters }
  const optimizer = new GroupedAdamW([group], options)
  const pace = new Pace(signal)
  try {
    for (let epoch = 0, count = 0; epoch < epochs; epoch++) {
      const begun = performance.now()
      const order = Int32Array.from(training, (_, i) => i)
      await inTurns(new Philox(seed, streams.headOrder + epoch).shuffleSteps(order), signal)
      const sums = emptySums()
      const where = () => `step ${sums.steps + 1} of epoch ${epoch} of the head; last good checkpoint: none`
      const waiting: Step[] = []
      let share = 0
      let loss = 0
      for (let begin = 0; begin < order.length; begin += batchSize) {
        await pace.turn()
        const index = order.slice(begin, begin + batchSize)
        share = scheduleAt((epoch + (begin + index.length / 2) / order.length) / epochs, 0)
        const dropout = { rate: options.dropout, seed: dropSeed(seed, streams.headStep + count++), nextElement: 0 }
        const outputs = () => head.apply(gatherRows(all, Tensor.from(device, index)), { dropout })
        const sequences = index.map(i => training[i])
        waiting.push(enqueueStep(learnt, optimizer, outputs, sequences, share))
        if (waiting.length >= IN_FLIGHT) loss = await finishStep(waiting.shift()!, learnt.goal, sums, where)
      }
      for (const step of waiting) loss = await finishStep(step, learnt.goal, sums, where)
      log.push({
        phase: 'head',
        epoch,
        steps: sums.steps,
        events: 0,
        loss: sums.loss / sums.rows,
        validation: null,
        learningRate: headLearningRate * share,
        gradientNorm: sums.gradientNorm / sums.steps,
        seconds: (performance.now() - begun) / 1000,
      })
      onProgress?.({ phase: 'head', done: epoch + 1, total: epochs, epoch, epochs, loss })
    }
  } finally {
    optimizer.dispose()
    all.dispose()
  }
  return log
}

/** Outputs that know nothing but how frequent the classes are. */
function firstOutputs({ goal, learnt, classWeights }: Learnt, training: Int32Array): Float32Array {
  if (goal.task === 'regression') return new Float32Array(1)
  const sums = new Float64Array(goal.classes.length)
  for (const row of training) sums[learnt[row]] += classWeights ? classWeights[learnt[row]] : 1
  const total = sums.reduce((a, b) => a + b, 0)
  return Float32Array.from(sums, sum => Math.log(sum / total))
}
