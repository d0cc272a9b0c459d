// How far to go from a fitted head, or how many epochs to train without one, where labels are too few to keep some out: parts are
// kept out in turn, and what serves them best is the answer.

import { Encoder } from '../../encoder/encoder.js'
import { readParameters } from '../../encoder/model_files.js'
import { inTurns } from '../../util/pace.js'
import { Philox } from '../../util/philox.js'
import { innerPartsSteps } from '../folds.js'
import { outputsOf, type ScoreQuality } from './goal.js'
import { Head } from './head.js'
import type { FinetuneJob } from './job.js'
import type { KeptParts } from './kept_parts.js'
import { type Best, isBetter } from './log.js'
import { mixesOf } from './mixing.js'
import { type FinetuneOptions, type Resolved, streams } from './options.js'
import { amongRuns } from './run_progress.js'
import { FinetuneTrainer } from './trainer.js'

/** How good a part's model is on it, after each epoch or for each share of the way. */
export interface Curve {
  readonly rows: number
  readonly qualities: readonly ScoreQuality[]
}

/**
 * What is best, and the quality that it had over the parts; null where a class is too rare to judge on. Each part is trained to the
 * end and tells how far towards it is best; where all of the way is gone each epoch is judged.
 * @param start  the encoder as it is before anything is learnt; stays so
 * @param kept   parts that are done; takes those that follow
 */
export async function crossValidate(
  start: Encoder,
  job: FinetuneJob,
  options: Resolved,
  { signal, onProgress }: Pick<FinetuneOptions, 'signal' | 'onProgress'>,
  kept: KeptParts<Curve>,
): Promise<Best | null> {
  const { goal, learnt, training } = job
  const classes = goal.task === 'regression' ? new Int32Array(learnt.length) : Int32Array.from(learnt)
  const random = new Philox(options.seed, streams.parts)
  const parts = await inTurns(innerPartsSteps(training, classes, random), signal)
  // A part of one class has no score, and one of one label no R².
  if (parts.length === 0 || parts.some(part => new Set(part.map(row => learnt[row])).size < 2)) return null
  const weights = await readParameters(start.parameters)
  const judges = options.mixing === 1 ? 'epochs' : 'mixes'
  for (const part of parts.slice(kept.done.length)) {
    const isHeld = new Set(part)
    const own: FinetuneJob = { ...job, training: training.filter(row => !isHeld.has(row)), validation: part, judges }
    const { length: place } = kept.done
    // The model itself follows them.
    const among = amongRuns(onProgress, place, parts.length + 1)
    const call = { init: start, signal, onProgress: among && asPart(among, place, parts.length) }
    const encoder = new Encoder(start.encoding, start.config, { device: start.device, weights })
    let head: Head | null = null
    let trainer: FinetuneTrainer | null = null
    try {
      head = new Head(encoder, outputsOf(goal))
      trainer = new FinetuneTrainer(encoder, head, own, options, '', call)
      const { log, mixes } = await trainer.run()
      await kept.add({ rows: part.length, qualities: judges === 'mixes' ? mixes : log.map(row => row.validation!) })
    } finally {
      trainer?.dispose()
      head?.dispose()
      encoder.dispose()
    }
  }
  const { index, quality } = bestOf(kept.done, options.stopOn)
  if (judges === 'mixes') {
    const mixing = mixesOf(options.mixing)[index]
    // What would be trained would be thrown away.
    return { epochs: mixing === 0 ? 0 : options.epochs, mixing, quality }
  }
  // With a fitted head the first row is of no epoch.
  return { epochs: index + (options.warmHead ? 0 : 1), mixing: 1, quality }
}

/** Where the mean quality is best. A part that stopped early stays at what it had when it stopped. */
export function bestOf(
  curves: readonly Curve[],
  stopOn: Resolved['stopOn'],
): { readonly index: number; readonly quality: ScoreQuality } {
  const rows = curves.reduce((sum, curve) => sum + curve.rows, 0)
  const longest = Math.max(...curves.map(({ qualities }) => qualities.length))
  let best: ReturnType<typeof bestOf> | null = null
  for (let i = 0; i < longest; i++) {
    const mean = (pick: (quality: ScoreQuality) => number | undefined) =>
      curves.reduce((sum, curve) => {
        const quality = curve.qualities[Math.min(i, curve.qualities.length - 1)]
        return sum + (curve.rows / rows) * pick(quality)!
      }, 0)
    const { metric, accuracy, rmse } = curves[0].qualities[0]
    const quality: ScoreQuality = {
      metric,
      score: mean(one => one.score),
      loss: mean(one => one.loss),
      ...(accuracy !== undefined && { accuracy: mean(one => one.accuracy) }),
      ...(rmse !== undefined && { rmse: mean(one => one.rmse) }),
    }
    if (isBetter(quality, best, stopOn)) best = { index: i, quality }
  }
  return best!
}

/** Progress of one part of the cross-validation, as a part of the whole. */
function asPart(
  onProgress: NonNullable<FinetuneOptions['onProgress']>,
  part: number,
  parts: number,
): NonNullable<FinetuneOptions['onProgress']> {
  return progress => {
    if (progress.phase !== 'train') return
    const share = Math.min(1, progress.done / Math.max(1, progress.total))
    onProgress({ ...progress, phase: 'validate', done: part + share, total: parts })
  }
}
