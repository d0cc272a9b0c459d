import { binding } from '../native.js'
import type { Tensor } from '../runtime/tensor.js'

type Float = Tensor<'float32'>

/** What one parameter brings to the update; all four tensors have the same number of elements. */
export interface AdamwEntry {
  readonly value: Float
  readonly gradient: Float
  /** Running mean of the gradient. */
  readonly m: Float
  /** Running mean of the squared gradient. */
  readonly v: Float
  readonly decay: boolean
}

export interface AdamwSettings {
  readonly lr: number
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  readonly weightDecay: number
  /** Gradients are scaled down to this norm over all entries; `Infinity`: never. */
  readonly maxNorm: number
  /** Number of this step, from 1. */
  readonly step: number
  readonly zeroGradients: boolean
}

/**
 * One step of AdamW over all entries, in place; writes the norm of all gradients (before clipping) to `norm` (1).
 * When that norm is not finite nothing else is written. Deterministic for any number of threads.
 * @throws {RangeError} if sizes differ, a tensor comes twice or a setting is out of range
 * Source: Loshchilov & Hutter 2019, algorithm 2; clipping: Pascanu et al. 2013.
 */
export function adamwUpdate(entries: readonly AdamwEntry[], norm: Float, settings: AdamwSettings): void {
  binding.adamw_update(
    norm.device.handle,
    entries.map(entry => entry.value.handle),
    entries.map(entry => entry.gradient.handle),
    entries.map(entry => entry.m.handle),
    entries.map(entry => entry.v.handle),
    entries.map(entry => entry.decay),
    norm.handle,
    settings.lr,
    settings.beta1,
    settings.beta2,
    settings.eps,
    settings.weightDecay,
    settings.maxNorm,
    settings.step,
    settings.zeroGradients,
  )
  for (const { value } of entries) value.changed()
}
