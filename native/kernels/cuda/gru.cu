// gru on CUDA: a block takes some neighbouring sequences through time, a thread some places of h. All that one step
// leaves to the next lies in global memory, whose writes a block sees after a barrier.
#include "ops/gru.h"

#include "kernels/cuda/device-inl.cuh"

namespace seqrisk {
namespace cuda {
namespace {

constexpr int kRows = 4;  // sequences of a block: each weight is read once for all of them
constexpr int kThreads = 256;

struct Group {
  int64_t begin[kRows];
  int64_t length[kRows];
  int64_t longest;

  __device__ explicit Group(const Packing& packing) : longest(0) {
    for (int r = 0; r < kRows; ++r) {
      const int64_t s = static_cast<int64_t>(blockIdx.x) * kRows + r;
      const bool inside = s < packing.sequences;
      begin[r] = inside ? packing.offsets[s] : 0;
      length[r] = inside ? packing.offsets[s + 1] - packing.offsets[s] : 0;
      if (length[r] > longest) longest = length[r];
    }
  }
};

// weight (3·width, width) to (width, 3·width), so that neighbouring threads read neighbours.
__global__ void transpose_kernel(const float* weight, int64_t width, float* transposed) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= 3 * width * width) return;
  transposed[i % width * 3 * width + i / width] = weight[i];
}

__global__ void forward_kernel(GruForward a, const float* transposed) {
  const Group group(a.packing);
  const int64_t width = a.width;
  for (int64_t t = 0; t < group.longest; ++t) {
    for (int64_t j = threadIdx.x; j < width; j += blockDim.x) {
      float u[3][kRows];
      for (int gate = 0; gate < 3; ++gate) {
        for (int r = 0; r < kRows; ++r) u[gate][r] = a.bias[gate * width + j];
      }
      for (int64_t k = 0; t > 0 && k < width; ++k) {
        const float* row = transposed + k * 3 * width + j;
        const float w[3] = {row[0], row[width], row[2 * width]};
        for (int r = 0; r < kRows; ++r) {
          if (t >= group.length[r]) continue;
          const float h = a.out[(group.begin[r] + t - 1) * width + k];
          for (int gate = 0; gate < 3; ++gate) u[gate][r] = fmaf(h, w[gate], u[gate][r]);
        }
      }
      for (int r = 0; r < kRows; ++r) {
        if (t >= group.length[r]) continue;
        const int64_t event = group.begin[r] + t;
        const float* x = a.x + event * 3 * width + j;
        const float reset = 1.0f / (1.0f + expf(-(x[0] + u[0][r])));
        const float keep = 1.0f / (1.0f + expf(-(x[width] + u[1][r])));
        const float n = tanhf(fmaf(reset, u[2][r], x[2 * width]));
        const float last = t > 0 ? a.out[(event - 1) * width + j] : 0.0f;
        a.out[event * width + j] = fmaf(keep, last - n, n);
        if (!a.gates) continue;
        float* gates = a.gates + event * 4 * width + j;
        gates[0] = reset;
        gates[width] = keep;
        gates[2 * width] = n;
        gates[3 * width] = u[2][r];
      }
    }
    __syncthreads();
  }
}

// What later events add to the gradient of h[t] is summed from their gradients of u, which are there by then, and from
// what their gate z hands on, which a thread keeps for its own places.
__global__ void backward_kernel(GruBackward a, float* carries) {
  const Group group(a.packing);
  const int64_t width = a.width;
  float* carry = carries + static_cast<int64_t>(blockIdx.x) * kRows * width;
  for (int64_t t = group.longest - 1; t >= 0; --t) {
    for (int64_t j = threadIdx.x; j < width; j += blockDim.x) {
      float later[kRows];
      for (int r = 0; r < kRows; ++r) later[r] = t + 1 < group.length[r] ? carry[r * width + j] : 0.0f;
      for (int64_t k = 0; t + 1 < group.longest && k < 3 * width; ++k) {
        const float w = a.weight[k * width + j];
        for (int r = 0; r < kRows; ++r) {
          if (t + 1 >= group.length[r]) continue;
          later[r] = fmaf(a.dhidden[(group.begin[r] + t + 1) * 3 * width + k], w, later[r]);
        }
      }
      for (int r = 0; r < kRows; ++r) {
        if (t >= group.length[r]) continue;
        const int64_t event = group.begin[r] + t;
        const float* gates = a.gates + event * 4 * width + j;
        const float reset = gates[0];
        const float keep = gates[width];
        const float n = gates[2 * width];
        const float last = t > 0 ? a.out[(event - 1) * width + j] : 0.0f;
        const float g = a.dout[event * width + j] + later[r];
        const float dn = g * (1.0f - keep) * fmaf(-n, n, 1.0f);
        const float dz = g * (last - n) * (keep * (1.0f - keep));
        const float dr = dn * gates[3 * width] * (reset * (1.0f - reset));
        float* dx = a.dx + event * 3 * width + j;
        float* dhidden = a.dhidden + event * 3 * width + j;
        dx[0] = a.accumulate_dx ? dx[0] + dr : dr;
        dx[width] = a.accumulate_dx ? dx[width] + dz : dz;
        dx[2 * width] = a.accumulate_dx ? dx[2 * width] + dn : dn;
        dhidden[0] = dr;
        dhidden[width] = dz;
        dhidden[2 * width] = dn * reset;
        a.previous[event * width + j] = last;
        carry[r * width + j] = g * keep;
      }
    }
    __syncthreads();
  }
}

unsigned threads_of(int64_t width) {
  return width >= kThreads ? kThreads : static_cast<unsigned>(ceil_div(width, kWarp) * kWarp);
}

}  // namespace

void gru_forward(const GruForward& a, Launch& launch) {
  if (a.packing.events == 0) return;
  const int64_t elements = 3 * a.width * a.width;
  float* transposed = launch.workspace_of<float>(elements);
  if (!transposed) return;
  transpose_kernel<<<blocks_of(elements, kThreads), kThreads, 0, launch.stream>>>(a.weight, a.width, transposed);
  const unsigned blocks = blocks_of(a.packing.sequences, kRows);
  forward_kernel<<<blocks, threads_of(a.width), 0, launch.stream>>>(a, transposed);
}

void gru_backward(const GruBackward& a, Launch& launch) {
  if (a.packing.events == 0) return;
  const unsigned blocks = blocks_of(a.packing.sequences, kRows);
  float* carries = launch.workspace_of<float>(static_cast<int64_t>(blocks) * kRows * a.width);
  if (!carries) return;
  backward_kernel<<<blocks, threads_of(a.width), 0, launch.stream>>>(a, carries);
}

}  // namespace cuda
}  // namespace seqrisk
