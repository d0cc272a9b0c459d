// A device: where tensors live and work runs, in order, off the JavaScript thread.

import { availableParallelism, totalmem } from 'node:os'
import type { StreamHandle, StreamInfo } from '../../binding.js'
import { binding } from '../native.js'
import { expectOptions, expectRange, SeqriskError, sentence } from '../util/errors.js'

export type DeviceKind = 'auto' | 'cpu' | 'cuda'

export interface DeviceOptions {
  /** Default `auto`: the fastest that this binary and this machine have. */
  readonly kind?: DeviceKind
  /** Threads of the CPU stream, the stream's own included. Default: the cores that this process may use. */
  readonly threads?: number
  /** Kernel variant by name, for tests and benches. Default: `$SEQRISK_VARIANT`, or else the best supported. */
  readonly variant?: string
  /** Bytes that the stream's memory may take. Default: what this machine or container has. */
  readonly memoryLimit?: number
  /** Poison fresh memory with NaN and look for writes outside buffers. Slow; for tests. */
  readonly guard?: boolean
}

/** Beyond it the system would end the process instead of refusing an allocation. */
function memoryOfMachine(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
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

  /**
   * @throws {RangeError} for an unknown variant or thread count
   * @throws {SeqriskError} code `NO_CUDA` when CUDA is asked for and this binary has none
   */
  constructor(options: DeviceOptions = {}) {
    expectOptions('Device', options, ['kind', 'threads', 'variant', 'memoryLimit', 'guard'])
    const {
      kind = 'auto',
      threads = availableParallelism(),
      variant = '',
      memoryLimit = memoryOfMachine(),
      guard = false,
    } = options
    expectRange(['auto', 'cpu', 'cuda'].includes(kind), 'Device', "kind 'auto', 'cpu' or 'cuda'", kind)
    expectRange(Number.isInteger(threads), 'Device', 'threads to be an integer', threads)
    if (kind === 'cuda') {
      const advice = "use device 'cpu' or 'auto'"
      throw new SeqriskError(
        'NO_CUDA',
        sentence('Device', 'a binary with CUDA kernels', 'one for the CPU alone', advice),
      )
    }
    this.handle = binding.stream_open(threads, variant, memoryLimit, guard)
    const info = this.info()
    this.kind = info.device
    this.variant = info.variant
    this.threads = info.threads
  }

  /** Memory in bytes, kernel variant, threads. */
  info(): StreamInfo {
    return binding.stream_info(this.handle)
  }

  /** Resolves when all work so far is done; rejects with the first error since the last read. */
  sync(): Promise<void> {
    return binding.stream_sync(this.handle)
  }

  /** Skips all work that was submitted so far; reads that wait reject with code `ABORTED`. */
  cancel(): void {
    binding.stream_cancel(this.handle)
  }

  /** Skips what is left and frees the threads. Tensors of a closed device cannot be used any more. */
  close(): void {
    binding.stream_close(this.handle)
  }
}
