// onnxruntime-node, where it is installed. It is 290 MB and no dependency of anything but comparisons.

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { OnnxArray } from '../../lib/export/onnx_inputs.js'

export const INSTALL = 'ONNXRUNTIME_NODE_INSTALL=skip npm ci --prefix bench/peers'
export const INSTALLED_BY = 'seqrisk bench --install-peers fetches it (290 MB)'

/** What is used of the package; its own types are there only when it is. */
interface Package {
  readonly Tensor: new (type: string, data: Int32Array | Float32Array, dims: readonly number[]) => OnnxTensor
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OnnxSession>
  }
  readonly env: { readonly versions: { readonly node?: string } }
}

export interface OnnxTensor {
  readonly dims: readonly number[]
  readonly data: Float32Array
}

export interface OnnxSession {
  readonly inputNames: readonly string[]
  run(feeds: Readonly<Record<string, OnnxTensor>>): Promise<Readonly<Record<string, OnnxTensor>>>
  release(): Promise<void>
}

export interface Onnxruntime {
  readonly version: string
  /** A session on so many threads, with all optimisations. */
  session(model: Uint8Array, threads: number): Promise<OnnxSession>
  /** The inputs that the session has. */
  feeds(session: OnnxSession, inputs: Readonly<Record<string, OnnxArray>>): Record<string, OnnxTensor>
}

/** Null when it is not installed. With `install`, it is installed first; that needs the npm registry. */
export function loadOnnxruntime({ install = false } = {}): Onnxruntime | null {
  const found = tryPackage()
  if (found || !install) return found && wrap(found)
  process.stderr.write(`[peers] installing onnxruntime-node: ${INSTALL}\n`)
  const folder = fileURLToPath(new URL('.', import.meta.url))
  const args = ['ci', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error']
  // Without the variable, its install script fetches CUDA libraries.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' }
  const { status } = spawnSync('npm', args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const installed = status === 0 ? tryPackage() : null
  return installed && wrap(installed)
}

function tryPackage(): Package | null {
  const require = createRequire(new URL('package.json', import.meta.url))
  try {
    return require('onnxruntime-node') as Package
  } catch (error) {
    // Not there; a package that is there and does not load is a fault to be seen.
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return null
    throw error
  }
}

function wrap({ Tensor, InferenceSession, env }: Package): Onnxruntime {
  return {
    version: env.versions.node ?? 'unknown',
    session: (model, threads) =>
      InferenceSession.create(model, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        graphOptimizationLevel: 'all',
        extra: {
          // Fusing the residual sum with the layer norm makes both slower on a CPU.
          optimization: { disable_specified_optimizers: 'SkipLayerNormFusion' },
        },
      }),
    feeds: (session, inputs) =>
      Object.fromEntries(
        session.inputNames.map(name => {
          const { type, values, shape } = inputs[name]
          return [name, new Tensor(type, values, shape)]
        }),
      ),
  }
}
