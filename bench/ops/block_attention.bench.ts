import { binding } from '../../lib/native.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { selfAttentionCases } from '../support/self_attention.js'

export default () =>
  runOpBench({
    op: 'block_attention',
    *cases(device): Iterable<OpCase> {
      const { handle } = device
      for (const shape of [
        { users: 8, length: 4000, width: 128, heads: 4, block: 64 },
        { users: 8, length: 4000, width: 256, heads: 4, block: 64 },
        { users: 8, length: 4096, width: 128, heads: 4, block: 512 },
      ]) {
        const size = [shape.heads, shape.block, false] as const
        yield* selfAttentionCases(
          device,
          shape,
          ({ qkv, offsets, out, lse }) =>
            binding.block_attention_forward(handle, qkv.handle, offsets.handle, ...size, out.handle, lse.handle),
          ({ qkv, offsets, out, lse, dout, dqkv }) =>
            binding.block_attention_backward(
              ...([handle, qkv.handle, offsets.handle, ...size, out.handle, lse.handle, dout.handle] as const),
              dqkv.handle,
              false,
            ),
        )
      }
    },
  })
