// Pre-training: fit the encoding, read the events, train the encoder on the proxy tasks.

import { encoderConfig } from '../encoder/config.js'
import { Encoder } from '../encoder/encoder.js'
import { loadEncoder, saveEncoder } from '../encoder/model_files.js'
import { digestOf } from '../events/digest.js'
import { encodeSource } from '../events/encode_source.js'
import { fitEncoding } from '../events/encoding.js'
import { expectSource } from '../events/expect_source.js'
import type { Fields } from '../events/schema.js'
import type { EventSource } from '../events/source.js'
import { Device } from '../runtime/device.js'
import { SeqriskError } from '../util/errors.js'
import { inTurns, Pace } from '../util/pace.js'
import { expectFreeFolder, giveUp, removeCheckpoint } from './checkpoint.js'
import { finishedRun } from './finished_run.js'
import { type EpochRow, type Log, writeLog } from './log.js'
import { checkOptions, type PretrainOptions, resolveOptions } from './options.js'
import { splitSteps } from './split.js'
import { Trainer } from './trainer.js'

/** What pre-training gives. */
export interface Pretrained<F extends Fields = Fields> {
  readonly encoder: Encoder<F>
  /** One row per epoch, as in training.json. */
  readonly log: readonly EpochRow[]
}

/**
 * Trains an encoder on unlabelled events: masked events and Quick Thought.
 *
 * Runs off the JavaScript thread; `signal` stops it within a step, `onProgress` reports every step. With `out`, the
 * model and its log are written there in the end; until then a checkpoint, with the log so far in checkpoint.json, from
 * which `resume` continues to the same bits as an uninterrupted run. A run that has ended gives its model again.
 * @throws {SeqriskError} code `RUN_UNFINISHED` where `out` holds the checkpoint of a run that did not end, without `resume` or
 * `restart`; `TRAINING_DIVERGED` when a loss or gradient is not finite, which names the step and the last good checkpoint
 */
export async function pretrain<F extends Fields>(
  source: EventSource<F>,
  options: PretrainOptions = {},
): Promise<Pretrained<F>> {
  expectSource('pretrain', source)
  checkOptions(options)
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  await expectFreeFolder('pretrain', options)
  const encoding = await fitEncoding(source, { ...options.encoding, signal, onProgress })
  const encoded = await encodeSource(source, encoding, { signal, onProgress })
  if (encoded.ids.length === 0) {
    throw new SeqriskError('NO_EVENTS', '[pretrain] expected at least one event but received none; check the files')
  }
  const resolved = resolveOptions(options, encoded.time.length)
  const config = encoderConfig(resolved.encoder)
  const split = await inTurns(splitSteps(encoded, resolved), signal)
  const pace = new Pace(signal)
  await pace.turn()
  const device = options.device ?? new Device()
  const encoder = new Encoder<F>(encoding, config, { device, seed: resolved.seed, ownsDevice: !options.device })
  let trainer: Trainer | null = null
  try {
    await pace.turn()
    // Stands for all that must be the same for a resumed run to end in the same bits.
    const plain = { resolved, config, encoding, variant: device.variant }
    const fingerprint = options.out === undefined ? '' : await digestOf(plain, [], encoded, signal)
    await pace.turn()
    const finished = options.resume ? await finishedRun<Log>('pretrain', options.out!, fingerprint) : null
    if (finished) {
      const loaded = await loadEncoder(options.out!, { device: options.device })
      encoder.dispose()
      await removeCheckpoint(options.out!)
      return { encoder: loaded.encoder as Encoder<F>, log: finished.epochs }
    }
    trainer = new Trainer(encoder, encoded, split, resolved, fingerprint, options)
    await pace.turn()
    await giveUp(options)
    const log = await trainer.run()
    if (options.out !== undefined) {
      const weights = await saveEncoder(options.out, encoder, source.schema)
      await writeLog(options.out, { run: fingerprint, weights, epochs: log })
      await removeCheckpoint(options.out)
    }
    return { encoder, log }
  } catch (error) {
    encoder.dispose()
    throw error
  } finally {
    trainer?.dispose()
  }
}
