import { binding } from '../../lib/native.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { selfAttentionCases } from '../support/self_attention.js'

export default () =>
  runOpBench({
    op: 'full_attention',
    *cases(device): Iterable<OpCase> {
      const { handle } = device
      for (const [users, length] of [
        [8, 1000],
        [500, 64],
        [2, 4000],
      ]) {
        const shape = { users, length, width: 128, heads: 4, block: length }
        yield* selfAttentionCases(
          device,
          shape,
          ({ qkv, offsets, out, lse }) =>
            binding.full_attention_forward(handle, qkv.handle, offsets.handle, shape.heads, out.handle, lse.handle),
          ({ qkv, offsets, out, lse, dout, dqkv }) =>
            binding.full_attention_backward(
              ...([handle, qkv.handle, offsets.handle, shape.heads, out.handle, lse.handle, dout.handle] as const),
              dqkv.handle,
              false,
            ),
        )
      }
    },
  })
