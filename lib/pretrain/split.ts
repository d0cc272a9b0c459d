// Which entities are trained on, and which are kept out for the held-out loss.

import type { EncodedEvents } from '../events/encode.js'
import type { Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import type { Resolved } from './options.js'

/** Held-out entities that are used, at most. */
const MAX_HELD_OUT = 2000
/** The Philox stream of the choice. */
const SPLIT_STREAM = 0xffffffff
/** Entities that are looked at between two turns of the event loop. */
const ENTITIES_PER_STEP = 65_536

export interface Split {
  /** Ascending. */
  readonly training: Int32Array
  readonly heldOut: Int32Array
  /** Events of each entity that fit into the window. */
  readonly lengths: Int32Array
  /** Σ lengths over `training`: what an epoch sees. */
  readonly trainingEvents: number
}

/** A function of the seed alone. */
export function* splitSteps({ offsets }: EncodedEvents, options: Resolved): Steps<Split> {
  const entities = offsets.length - 1
  const lengths = new Int32Array(entities)
  const order = new Int32Array(entities)
  for (let i = 0; i < entities; i++) {
    lengths[i] = Math.min(offsets[i + 1] - offsets[i], options.window)
    order[i] = i
    if (i % ENTITIES_PER_STEP === 0) yield
  }
  yield* new Philox(options.seed, SPLIT_STREAM).shuffleSteps(order)
  const held = Math.min(MAX_HELD_OUT, Math.floor(entities * options.heldOut))
  const isHeld = new Uint8Array(entities)
  for (let i = 0; i < held; i++) isHeld[order[i]] = 1
  const heldOut = new Int32Array(held)
  const training = new Int32Array(entities - held)
  let trainingEvents = 0
  for (let i = 0, h = 0, t = 0; i < entities; i++) {
    if (isHeld[i]) {
      heldOut[h++] = i
    } else {
      training[t++] = i
      trainingEvents += lengths[i]
    }
    if (i % ENTITIES_PER_STEP === 0) yield
  }
  return { training, heldOut, lengths, trainingEvents }
}
