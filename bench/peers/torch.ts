// PyTorch from the system's packages, in a Python process that answers one question a line.

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const INSTALL_TORCH = 'apt-get install --no-install-recommends python3-torch libopenblas0-pthread'
const PYTHON = '/usr/bin/python3'

export interface TorchShape {
  readonly users: number
  readonly length: number
  readonly width: number
  readonly blocks: number
  readonly kernel: number
  readonly heads: number
  readonly block: number
  readonly classes: number
  readonly threads: number
}

export function hasTorch(): boolean {
  return spawnSync(PYTHON, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0
}

export class Torch {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>

  constructor(threads: number) {
    const script = fileURLToPath(new URL('torch_step.py', import.meta.url))
    const env = { ...process.env, OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads) }
    this.#child = spawn(PYTHON, [script], { env })
    this.#child.stderr.pipe(process.stderr)
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** A fresh model for batches of this shape. */
  async open(shape: TorchShape): Promise<{ readonly torch: string; readonly parameters: number }> {
    return (await this.#ask({ open: shape })) as { torch: string; parameters: number }
  }

  /** Gives the model an encoder's weights. */
  async load(weights: ReadonlyMap<string, { readonly values: Float32Array }>): Promise<void> {
    const load = Object.fromEntries([...weights].map(([name, { values }]) => [name, Array.from(values)]))
    await this.#ask({ load })
  }

  async vectors(codes: Int32Array): Promise<number[]> {
    return ((await this.#ask({ vectors: Array.from(codes) })) as { vectors: number[] }).vectors
  }

  /** Seconds of each of so many steps. */
  async steps(steps: number): Promise<number[]> {
    return ((await this.#ask({ steps })) as { seconds: number[] }).seconds
  }

  close(): void {
    this.#child.stdin.end()
  }

  async #ask(question: object): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('[torch_step.py] ended without an answer')
    return JSON.parse(value)
  }
}
