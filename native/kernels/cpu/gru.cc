// gru on the CPU: sequences sorted by length, the longest first; a task takes a group of neighbours through time, each
// step one small product with the packed weights, which stay in L2. What a group is changes no bits: rows are
// independent.
#include "ops/gru.h"

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/gemm-inl.h"
#include "kernels/cpu/math-inl.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

static_assert(kGemmRows <= kGruMostRows && kLinearPanelCols % kGemmCols == 0);

int64_t length_of(const Packing& packing, int64_t s) {
  return packing.offsets[s + 1] - packing.offsets[s];
}

// Sequences by falling length, equal ones in their order: radix sort by bytes. `order` and `spare` hold one int32 each.
const int32_t* sort_by_length(const Packing& packing, int32_t* order, int32_t* spare) {
  for (int64_t s = 0; s < packing.sequences; ++s) order[s] = static_cast<int32_t>(s);
  for (int shift = 0; shift < 32 && (packing.max_length >> shift) > 0; shift += 8) {
    const auto digit = [&](int32_t s) { return 255 - ((length_of(packing, s) >> shift) & 255); };
    int64_t starts[257] = {};
    for (int64_t i = 0; i < packing.sequences; ++i) ++starts[digit(order[i]) + 1];
    for (int d = 0; d < 256; ++d) starts[d + 1] += starts[d];
    for (int64_t i = 0; i < packing.sequences; ++i) spare[starts[digit(order[i])]++] = order[i];
    int32_t* sorted = spare;
    spare = order;
    order = sorted;
  }
  return order;
}

// Some sequences on their way through time.
struct Group {
  const Packing* packing;
  const int32_t* sequences;  // the longest first
  int64_t rows;

  int64_t length(int64_t row) const { return length_of(*packing, sequences[row]); }
  int64_t event(int64_t row, int64_t t) const { return packing->offsets[sequences[row]] + t; }
  // How many have an event t: the first of them.
  int64_t active(int64_t t) const {
    int64_t count = rows;
    while (count > 0 && length(count - 1) <= t) --count;
    return count;
  }
};

// Calls f(group, worker) for all groups.
template <class F>
void over_groups(const Packing& packing, const int32_t* order, Workers& workers, F f) {
  const int64_t step = gru_group_rows(packing.sequences, kGemmRows);
  workers.run((packing.sequences + step - 1) / step, [&](int64_t task, int worker) {
    const int64_t first = task * step;
    const int64_t left = packing.sequences - first;
    f(Group{&packing, order + first, left < step ? left : step}, worker);
  });
}

// C (rows, cols) = start + A · B for a few rows of A that lie anywhere: row(r) says where.
template <class Row>
void multiply(int64_t rows, int64_t depth, Row row, const float* packed, int64_t cols, const float* bias, float* c) {
  HWY_ALIGN float slab[kGemmSlab];
  for (int64_t k = 0; k < depth; k += kGemmDepth) {
    const int64_t steps = depth - k < kGemmDepth ? depth - k : kGemmDepth;
    for (int64_t r = 0; r < rows; ++r) gemm_slab_rows(row(r) + k, 0, 1, steps, slab + r * kGemmSlabStride);
    for (int64_t col = 0; col < cols; col += kGemmCols) {
      gemm_tile<RowSlab>(rows, {.slab = slab,
                                .b = packed + col * depth + k * kGemmCols,
                                .b_step = kGemmCols,
                                .depth = steps,
                                .c = c + col,
                                .c_stride = cols,
                                .row = bias ? bias + col : nullptr,
                                .cols = cols - col < kGemmCols ? cols - col : kGemmCols,
                                .start = k > 0 || !bias ? GemmStart::kLoad : GemmStart::kRow,
                                .ahead = kGemmAhead});
    }
  }
}

// h[t] of one sequence from u; `before` is h[t − 1], or null at the first event.
void step_forward(const GruForward& a, int64_t event, const float* u, const float* before) {
  const int64_t width = a.width;
  const float* x = a.x + event * 3 * width;
  float* out = a.out + event * width;
  float* gates = a.gates ? a.gates + event * 4 * width : nullptr;
  over_columns(width, [&](auto d, int64_t i) {
    const auto r = sigmoid(hn::Add(hn::LoadU(d, x + i), hn::LoadU(d, u + i)));
    const auto z = sigmoid(hn::Add(hn::LoadU(d, x + width + i), hn::LoadU(d, u + width + i)));
    const auto own = hn::LoadU(d, u + 2 * width + i);
    const auto n = tanh_of(hn::MulAdd(r, own, hn::LoadU(d, x + 2 * width + i)));
    const auto last = before ? hn::LoadU(d, before + i) : hn::Zero(d);
    hn::StoreU(hn::MulAdd(z, hn::Sub(last, n), n), d, out + i);
    if (!gates) return;
    hn::StoreU(r, d, gates + i);
    hn::StoreU(z, d, gates + width + i);
    hn::StoreU(n, d, gates + 2 * width + i);
    hn::StoreU(own, d, gates + 3 * width + i);
  });
}

// With g the gradient of h[t]: dn = g(1 − z)(1 − n²), dz = g(h[t − 1] − n)z(1 − z), dr = dn·u_n·r(1 − r). `carry` is
// what later events add to g, null at the last one; it becomes what the gate z hands on.
void step_backward(const GruBackward& a, int64_t event, bool is_first, bool is_last, float* carry) {
  const int64_t width = a.width;
  const float* gates = a.gates + event * 4 * width;
  const float* before = is_first ? nullptr : a.out + (event - 1) * width;
  const float* dout = a.dout + event * width;
  float* dx = a.dx + event * 3 * width;
  float* dhidden = a.dhidden + event * 3 * width;
  float* previous = a.previous + event * width;
  over_columns(width, [&](auto d, int64_t i) {
    const auto one = hn::Set(d, 1.0f);
    const auto r = hn::LoadU(d, gates + i);
    const auto z = hn::LoadU(d, gates + width + i);
    const auto n = hn::LoadU(d, gates + 2 * width + i);
    const auto own = hn::LoadU(d, gates + 3 * width + i);
    const auto last = before ? hn::LoadU(d, before + i) : hn::Zero(d);
    const auto g = is_last ? hn::LoadU(d, dout + i) : hn::Add(hn::LoadU(d, dout + i), hn::LoadU(d, carry + i));
    const auto open = hn::Sub(one, z);
    const auto dn = hn::Mul(hn::Mul(g, open), hn::NegMulAdd(n, n, one));
    const auto dz = hn::Mul(hn::Mul(g, hn::Sub(last, n)), hn::Mul(z, open));
    const auto dr = hn::Mul(hn::Mul(dn, own), hn::Mul(r, hn::Sub(one, r)));
    const auto put = [&](auto value, int64_t at) {
      hn::StoreU(a.accumulate_dx ? hn::Add(hn::LoadU(d, dx + at), value) : value, d, dx + at);
    };
    put(dr, i);
    put(dz, width + i);
    put(dn, 2 * width + i);
    hn::StoreU(dr, d, dhidden + i);
    hn::StoreU(dz, d, dhidden + width + i);
    hn::StoreU(hn::Mul(dn, r), d, dhidden + 2 * width + i);
    hn::StoreU(last, d, previous + i);
    hn::StoreU(hn::Mul(g, z), d, carry + i);
  });
}

}  // namespace

void gru_forward(const GruForward& a, Workers& workers) {
  const int64_t width = a.width;
  int32_t* lists = reinterpret_cast<int32_t*>(a.scratch);
  float* packed = a.scratch + gru_order_elems(a.packing.sequences);
  float* held = packed + linear_padded(3 * width) * width;
  const int32_t* order = sort_by_length(a.packing, lists, lists + a.packing.sequences);
  workers.run(gemm_panels(3 * width), [&](int64_t panel, int) {
    const int64_t col = panel * kGemmCols;
    const int64_t cols = 3 * width - col < kGemmCols ? 3 * width - col : kGemmCols;
    gemm_pack_b_transposed(a.weight + col * width, width, width, cols, packed + col * width);
  });
  over_groups(a.packing, order, workers, [&](const Group& group, int worker) {
    float* u = held + worker * kGruMostRows * 3 * width;
    for (int64_t t = 0; t < group.length(0); ++t) {
      const int64_t rows = group.active(t);
      const auto before = [&](int64_t r) { return a.out + (group.event(r, t) - 1) * width; };
      if (t > 0) multiply(rows, width, before, packed, 3 * width, a.bias, u);
      for (int64_t r = 0; r < rows; ++r) {
        step_forward(a, group.event(r, t), t > 0 ? u + r * 3 * width : a.bias, t > 0 ? before(r) : nullptr);
      }
    }
  });
}

void gru_backward(const GruBackward& a, Workers& workers) {
  const int64_t width = a.width;
  int32_t* lists = reinterpret_cast<int32_t*>(a.scratch);
  float* packed = a.scratch + gru_order_elems(a.packing.sequences);
  float* held = packed + linear_padded(width) * 3 * width;
  const int32_t* order = sort_by_length(a.packing, lists, lists + a.packing.sequences);
  constexpr int64_t kRows = 32;
  workers.run((3 * width + kRows - 1) / kRows, [&](int64_t task, int) {
    const int64_t row = task * kRows;
    const int64_t rows = 3 * width - row < kRows ? 3 * width - row : kRows;
    gemm_pack_b(a.weight + row * width, width, rows, width, packed + row * kGemmCols, 3 * width * kGemmCols);
  });
  over_groups(a.packing, order, workers, [&](const Group& group, int worker) {
    float* carry = held + worker * kGruMostRows * width;
    for (int64_t t = group.length(0) - 1; t >= 0; --t) {
      const int64_t rows = group.active(t);
      for (int64_t r = 0; r < rows; ++r) {
        step_backward(a, group.event(r, t), t == 0, t + 1 == group.length(r), carry + r * width);
      }
      if (t == 0) continue;
      const auto own = [&](int64_t r) { return a.dhidden + group.event(r, t) * 3 * width; };
      multiply(rows, 3 * width, own, packed, width, nullptr, carry);
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
