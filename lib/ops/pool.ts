import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type Offsets, Tensor } from '../runtime/tensor.js'
import { expectOptions, expectRange } from '../util/errors.js'

const MODES = ['mean', 'max', 'last'] as const

export type PoolMode = (typeof MODES)[number]

/**
 * One row per sequence of a packed batch: the mean of its events' rows, their maximum in every column (gradients go to
 * the first of equal ones), or the last row. Zeros for an empty sequence.
 * @param x  (events, width) float32
 * @returns  (sequences, width) float32
 * @throws {RangeError} if a shape differs.  Deterministic.
 */
export function pool(
  x: Tensor<'float32'>,
  offsets: Offsets,
  options: { readonly mode?: PoolMode } = {},
): Tensor<'float32'> {
  expectOptions('pool', options, ['mode'])
  const { mode = 'mean' } = options
  expectRange(MODES.includes(mode), 'pool', `mode ${MODES.map(name => `'${name}'`).join(', ')}`, mode)
  const { device } = x
  const tape = currentTape()
  const code = MODES.indexOf(mode)
  const shape = [offsets.sequences, x.shape[1] ?? 0]
  const out = Tensor.empty(device, 'float32', shape)
  const argmax = tape?.wants(x) && mode === 'max' ? Tensor.empty(device, 'int32', shape) : null
  binding.pool_forward(device.handle, code, x.handle, offsets.handle, out.handle, argmax?.handle)
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    binding.pool_backward(
      device.handle,
      code,
      offsets.handle,
      dout.handle,
      argmax?.handle,
      dx.tensor.handle,
      dx.accumulate,
    )
  })
  return out
}
