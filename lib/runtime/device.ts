// A device: where tensors live and work runs, in order, off the JavaScript thread.

import { availableParallelism, totalmem } from 'node:os'
import type { CudaStatus, StreamHandle, StreamInfo } from '../../binding.js'
import { binding } from '../native.js'
import { expectOptions, expectRange } from '../util/errors.js'

export type { CudaStatus, StreamInfo } from '../../binding.js'

/** What a device may be asked to be. */
export type DeviceKind = 'auto' | 'cpu' | 'cuda'

/**
 * Of the operands of matrix products, and on a card of the activations inside an encoder's blocks. Sums, the residual
 * stream, weights, their gradients and the optimiser are float32, on the CPU also attention.
 */
export type Precision = 'float32' | 'bfloat16'

/** What a device can be told. */
export interface DeviceOptions {
  /** Default `auto`: a card when there is one and `work` or `tableValues` are enough to keep it busy, else the CPU. */
  readonly kind?: DeviceKind | undefined
  /** For `auto`: multiply-adds between two reads, such as those of a training step. Default 0. */
  readonly work?: number | undefined
  /** For `auto`: values of the table that boosted trees are trained on, rows times columns. Default 0. */
  readonly tableValues?: number | undefined
  /** CPU: threads of the stream, its own included. Default: the cores that this process may use. */
  readonly threads?: number | undefined
  /** CPU: kernel variant by name, for tests and benches. Default: `$SEQRISK_VARIANT`, or else the best supported. */
  readonly variant?: string | undefined
  /** CUDA: which card, as `CUDA_VISIBLE_DEVICES` leaves them. Default 0. */
  readonly index?: number | undefined
  /** Default `float32`. `bfloat16` wants AVX-512 BF16 of a CPU, compute capability 8.0 of a card. */
  readonly precision?: Precision | undefined
  /**
   * CUDA in `bfloat16`: let NVIDIA's cuBLASLt multiply activations by weights, in place of own kernels. `true` looks for
   * `libcublasLt.so.13`, a string names another or its path. Biases are rounded too. See docs/cuda.md, when it may pay. Default false.
   */
  readonly cublaslt?: boolean | string | undefined
  /**
   * CUDA: hand launches that wait to the card together, as CUDA graphs. Same bits. Pays where the host launches slowly; where it was
   * measured it did not, see docs/cuda.md. Default false.
   */
  readonly graphs?: boolean | undefined
  /** Bytes that the stream's memory may take. Default: what this machine or container has; of a card, what is free. */
  readonly memoryLimit?: number | undefined
  /** Poison fresh memory with NaN and look for writes outside buffers. Slow; for tests. */
  readonly guard?: boolean | undefined
}

/** Beyond it the system would end the process instead of refusing an allocation. */
function memoryOfMachine(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}

const CUBLASLT = 'libcublasLt.so.13'

/** Below it the CPU is done before a card has been told what to do; see docs/cuda.md. */
const LEAST_WORK_OF_A_CARD = 2e8
/** A card fits trees faster from 10^5 values on, but opening one takes 0.2 s; see docs/cuda.md. */
const LEAST_TABLE_OF_A_CARD = 1e7

/** The NVIDIA cards that this process can use, or why there are none. */
export function cudaStatus(): CudaStatus {
  return binding.cuda_status()
}

/** Kernel variants that this processor supports, best first. */
export function variants(): string[] {
  return binding.variants()
}

/**
 * One in-order stream on one device. Ops on its tensors return at once; reading waits, as a Promise.
 * Close it when done; a device that is collected closes itself.
 */
export class Device {
  readonly handle: StreamHandle
  readonly kind: 'cpu' | 'cuda'
  readonly variant: string
  readonly threads: number
  /** How layers store activations between their ops. */
  readonly activations: Precision

  /**
   * @throws {RangeError} for an unknown variant, card or thread count
   * @throws {SeqriskError} code `NO_CUDA`, `NO_CUBLASLT` or `NO_BFLOAT16` when that is asked for and cannot be had: says what
   * is missing
   */
  constructor(options: DeviceOptions = {}) {
    const known = [
      'kind',
      'work',
      'tableValues',
      'threads',
      'variant',
      'index',
      'precision',
      'cublaslt',
      'graphs',
      'memoryLimit',
      'guard',
    ] as const
    expectOptions('Device', options, known)
    const {
      kind = 'auto',
      work = 0,
      tableValues = 0,
      threads = availableParallelism(),
      variant = '',
      index = 0,
      precision = 'float32',
      cublaslt = false,
      graphs = false,
      memoryLimit,
      guard = false,
    } = options
    expectRange(['auto', 'cpu', 'cuda'].includes(kind), 'Device', "kind 'auto', 'cpu' or 'cuda'", kind)
    expectRange(Number.isInteger(threads), 'Device', 'threads to be an integer', threads)
    expectRange(work >= 0, 'Device', 'work to be a number from 0', work)
    expectRange(tableValues >= 0, 'Device', 'tableValues to be a number from 0', tableValues)
    expectRange(['float32', 'bfloat16'].includes(precision), 'Device', "precision 'float32' or 'bfloat16'", precision)
    const isForCublaslt = precision === 'bfloat16' && kind !== 'cpu'
    expectRange(!cublaslt || isForCublaslt, 'Device', "cublaslt with a card and precision 'bfloat16'", {
      kind,
      precision,
    })
    expectRange(!graphs || kind !== 'cpu', 'Device', 'graphs with a card', kind)
    const library = cublaslt === true ? CUBLASLT : cublaslt || ''
    const isEnough = work >= LEAST_WORK_OF_A_CARD || tableValues >= LEAST_TABLE_OF_A_CARD
    const takesCard = kind === 'cuda' || (kind === 'auto' && isEnough && cudaStatus().devices.length > 0)
    this.handle = takesCard
      ? binding.cuda_open(index, precision === 'bfloat16', library, memoryLimit ?? 0, guard, graphs)
      : binding.stream_open(threads, variant, precision === 'bfloat16', memoryLimit ?? memoryOfMachine(), guard)
    const info = this.info()
    this.kind = info.device
    this.variant = info.variant
    this.threads = info.threads
    this.activations = takesCard ? precision : 'float32'
  }

  /** Memory in bytes, kernel variant, threads. */
  info(): StreamInfo {
    return binding.stream_info(this.handle)
  }

  /** Resolves when all work so far is done; rejects with the first error since the last read. */
  sync(): Promise<void> {
    return binding.stream_sync(this.handle)
  }

  /**
   * Skips all work that was submitted so far, whoever did so; reads that wait reject with code `ABORTED`. A call that is aborted by
   * its own signal leaves the work of others alone.
   */
  cancel(): void {
    binding.stream_cancel(this.handle)
  }

  /** Skips what is left and frees the threads. Tensors of a closed device cannot be used any more. */
  close(): void {
    binding.stream_close(this.handle)
  }
}

/**
 * Ends the work of a device that nobody else uses, before it is closed: `close` alone would hold the event loop until the op that runs
 * has stopped.
 */
export async function quiet(device: Device): Promise<void> {
  device.cancel()
  await device.sync().catch(() => {})
}
