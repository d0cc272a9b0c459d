// Learning rates by depth: one optimiser for each group of weights that learn alike.

import type { Encoder } from '../../encoder/encoder.js'
import { AdamW, type HostTensors } from '../../runtime/optimizer.js'
import type { Parameter } from '../../runtime/tape.js'
import type { Tensor } from '../../runtime/tensor.js'
import type { Resolved } from './options.js'

export interface RateGroup {
  readonly name: string
  /** Peak learning rate. */
  readonly rate: number
  readonly parameters: readonly Parameter[]
}

/**
 * The encoder's weights by depth and the head: the final norm and the last block learn at `learningRate`, each block below
 * `layerDecay` times as fast as the one above it, the embeddings slowest. Groups of rate 0 are left out: they stay as they are.
 */
export function rateGroups(encoder: Encoder, head: readonly Parameter[], options: Resolved): RateGroup[] {
  const { learningRate, headLearningRate, layerDecay } = options
  const { blocks } = encoder.config
  const groups = new Map<number, Parameter[]>()
  for (const parameter of encoder.parameters) {
    const depth = depthOf(parameter.name, blocks)
    groups.set(depth, [...(groups.get(depth) ?? []), parameter])
  }
  const own = [...groups]
    .sort(([a], [b]) => a - b)
    .map(([depth, parameters]) => ({ name: `depth ${depth}`, rate: learningRate * layerDecay ** depth, parameters }))
  return [{ name: 'head', rate: headLearningRate, parameters: head }, ...own].filter(({ rate }) => rate > 0)
}

/** Blocks above a weight: 0 for the last one, as many as there are blocks for the embeddings. */
export function depthOf(name: string, blocks: number): number {
  const block = /^blocks\.(\d+)\./.exec(name)
  if (block) return blocks - 1 - Number(block[1])
  return name.startsWith('embedding.') ? blocks : 0
}

/** AdamW over groups; each group's gradient is clipped by its own norm. */
export class GroupedAdamW {
  readonly #groups: readonly { readonly name: string; readonly rate: number; readonly optimizer: AdamW }[]

  constructor(groups: readonly RateGroup[], { weightDecay, clip }: Pick<Resolved, 'weightDecay' | 'clip'>) {
    const made: { name: string; rate: number; optimizer: AdamW }[] = []
    try {
      for (const { name, rate, parameters } of groups) {
        made.push({ name, rate, optimizer: new AdamW(parameters, { weightDecay, maxNorm: clip }) })
      }
    } catch (error) {
      for (const { optimizer } of made) optimizer.dispose()
      throw error
    }
    this.#groups = made
  }

  /** @param share  of the peak rates  @returns the norm of each group's gradient, (1) each, valid until the next step */
  step(share: number): Tensor<'float32'>[] {
    return this.#groups.map(({ rate, optimizer }) => optimizer.step(rate * share))
  }

  get size(): number {
    return this.#groups.length
  }

  async state(): Promise<HostTensors> {
    const all = new Map<string, { shape: readonly number[]; values: Float32Array }>()
    for (const { name, optimizer } of this.#groups) {
      for (const [key, tensor] of await optimizer.state()) all.set(`${name}: ${key}`, tensor)
    }
    return all
  }

  load(state: HostTensors): void {
    for (const { name, optimizer } of this.#groups) {
      const prefix = `${name}: `
      const own = [...state].filter(([key]) => key.startsWith(prefix))
      optimizer.load(new Map(own.map(([key, tensor]) => [key.slice(prefix.length), tensor])))
    }
  }

  dispose(): void {
    for (const { optimizer } of this.#groups) optimizer.dispose()
  }
}
