import { binding } from '../../lib/native.js'
import { gatedDwconv } from '../../lib/ops/gated_dwconv.js'
import { gatedDwconvBackward } from '../../lib/reference/gated_dwconv.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'gated_dwconv',
    *cases(device): Iterable<OpCase> {
      for (const { users, length, channels, width } of [
        { users: 8, length: 4000, channels: 256, width: 5 },
        { users: 32, length: 512, channels: 512, width: 5 },
        { users: 10_000, length: 3, channels: 128, width: 5 },
        { users: 8, length: 4000, channels: 128, width: 31 },
        { users: 1, length: 128, channels: 128, width: 5 },
      ]) {
        const events = users * length
        const x = Tensor.from(device, normals(events * channels), [events, channels])
        const taps = [0, 1].map(() => Tensor.from(device, normals(width * channels, 0.3), [width, channels]))
        const biases = [0, 1].map(() => Tensor.from(device, normals(channels)))
        const offsets = new Offsets(
          device,
          Int32Array.from({ length: users + 1 }, (_, i) => i * length),
        )
        const call = () => gatedDwconv(x, taps[0], biases[0], taps[1], biases[1], offsets)
        const shape = `f32 ${users} × ${length}, ${channels} channels, K=${width}`
        const bound = width > 9 ? 'multiply-add' : 'copy'
        const target = width > 9 || users === 1 ? undefined : 0.7
        yield {
          shape: `forward  ${shape}`,
          bytes: 2 * events * channels * 4,
          operations: 4 * events * channels * width,
          bound,
          target,
          run: () => call().dispose(),
          async check() {
            const out = call()
            const [got, a, w, v, b, c] = await Promise.all([out, x, ...taps, ...biases].map(tensor => tensor.read()))
            const at = Math.floor(length / 2)
            const want = Float64Array.from({ length: channels }, (_, channel) => {
              let sum = b[channel]
              let gate = c[channel]
              for (let k = 0; k < width; k++) {
                const t = at + k - (width >> 1)
                if (t < 0 || t >= length) continue
                sum += w[k * channels + channel] * a[t * channels + channel]
                gate += v[k * channels + channel] * a[t * channels + channel]
              }
              return sum / (1 + Math.exp(-gate))
            })
            const row = got.subarray(at * channels, (at + 1) * channels)
            expectClose(row, want, { absolute: 0, relative: (width + 8) * 2 ** -23 })
            out.dispose()
          },
          dispose() {},
        }
        const dout = Tensor.from(device, normals(events * channels), [events, channels])
        const dx = Tensor.empty(device, 'float32', x.shape)
        const [dweight, dgateWeight] = [0, 1].map(() => Tensor.zeros(device, 'float32', [width, channels]))
        const [dbias, dgateBias] = [0, 1].map(() => Tensor.zeros(device, 'float32', [channels]))
        const backward = () =>
          binding.gated_dwconv_backward(
            device.handle,
            x.handle,
            taps[0].handle,
            biases[0].handle,
            taps[1].handle,
            biases[1].handle,
            offsets.handle,
            1,
            false,
            dout.handle,
            dx.handle,
            false,
            dweight.handle,
            dbias.handle,
            dgateWeight.handle,
            dgateBias.handle,
          )
        yield {
          shape: `backward ${shape}`,
          bytes: 3 * events * channels * 4,
          operations: 12 * events * channels * width,
          bound,
          target,
          run: backward,
          async check() {
            backward()
            const first = (values: Float32Array) => Float64Array.from(values.subarray(0, length * channels))
            const [a, w, v, b, c, d] = await Promise.all([x, ...taps, ...biases, dout].map(tensor => tensor.read()))
            const want = gatedDwconvBackward(
              {
                x: first(a),
                weight: Float64Array.from(w),
                bias: Float64Array.from(b),
                gateWeight: Float64Array.from(v),
                gateBias: Float64Array.from(c),
                offsets: [0, length],
                channels,
                dilation: 1,
                causal: false,
              },
              first(d),
            )
            const tolerance = { absolute: 2 ** -20, relative: (2 * width + 8) * 2 ** -22 }
            expectClose((await dx.read()).subarray(0, length * channels), want.dx, tolerance)
          },
          dispose() {
            for (const tensor of [x, offsets, ...taps, ...biases, dout, dx]) tensor.dispose()
            for (const tensor of [dweight, dgateWeight, dbias, dgateBias]) tensor.dispose()
          },
        }
      }
    },
  })
