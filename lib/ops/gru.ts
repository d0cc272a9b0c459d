import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type Offsets, Tensor } from '../runtime/tensor.js'
import { parameterGradient } from './gradients.js'

/**
 * A gated recurrent unit over each sequence of a packed batch, from its first event to its last:
 *   `r = σ(x_r + u_r)`, `z = σ(x_z + u_z)`, `n = tanh(x_n + r ⊙ u_n)`, `h[t] = (1 − z) ⊙ n + z ⊙ h[t − 1]`
 * with `u = weight · h[t − 1] + bias` and h = 0 before the first event.
 * @param x       (events, 3·width) float32: what `linear` makes of the inputs, in the order r, z, n
 * @param weight  (3·width, width) float32
 * @param bias    (3·width) float32
 * @returns       (events, width) float32, h. A sequence gets the same bits alone and in any batch.
 * @throws {RangeError} if a shape differs
 * Source: Cho et al. 2014, with the reset gate after the product as in PyTorch and cuDNN.
 */
export function gru(
  x: Tensor<'float32'>,
  weight: Tensor<'float32'>,
  bias: Tensor<'float32'>,
  offsets: Offsets,
): Tensor<'float32'> {
  const { device } = x
  const tape = currentTape()
  const events = x.shape[0]
  const width = weight.shape[1]
  const out = Tensor.empty(device, 'float32', [events, width])
  const gates = tape ? Tensor.empty(device, 'float32', [events, 4 * width]) : null
  binding.gru_forward(device.handle, out.handle, x.handle, weight.handle, bias.handle, offsets.handle, gates?.handle)
  tape?.add(out, [x, weight, bias], dout => {
    const dx = tape.slot(x)
    const own = (columns: number) => Tensor.empty(device, 'float32', [events, columns])
    const dhidden = own(3 * width)
    const previous = own(width)
    binding.gru_backward(
      device.handle,
      out.handle,
      weight.handle,
      offsets.handle,
      gates!.handle,
      dout.handle,
      (dx?.tensor ?? own(3 * width)).handle,
      dx?.accumulate ?? false,
      dhidden.handle,
      previous.handle,
    )
    if (!tape.wants(weight) && !tape.wants(bias)) return
    // weight and bias are those of a linear map from the h before to u.
    binding.linear_backward(
      device.handle,
      previous.handle,
      weight.handle,
      0,
      null,
      dhidden.handle,
      null,
      false,
      parameterGradient(tape, weight).handle,
      parameterGradient(tape, bias).handle,
      null,
    )
  })
  return out
}
