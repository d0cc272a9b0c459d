// linear on the CPU: weight packed once, then strips of rows times panels of columns (gemm-inl.h), activation and
// residual applied to a tile while it is in L1. All tasks and all sums are cut by the sizes alone. The build compiles
// this file once more with operands of bfloat16 (SEQRISK_BFLOAT16).
#include "ops/linear.h"

#include "kernels/cpu/gelu-inl.h"
#ifdef SEQRISK_BFLOAT16
#include "kernels/cpu/gemm_bfloat16-inl.h"
#else
#include "kernels/cpu/gemm-inl.h"
#endif
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

#ifdef SEQRISK_BFLOAT16
using Operands = Bfloat16Operands;
#else
using Operands = FloatOperands;
#endif
constexpr int64_t kDepth = kGemmDepth * Operands::kSteps;  // of a slab
static_assert(kLinearPanelCols % kGemmCols == 0 && kLinearDepth <= kDepth && kLinearDepth % Operands::kSteps == 0);

constexpr int64_t kRowsPerTask = kGemmRows * (kGemmRows > 6 ? 8 : 16);
// So that a group of panels, kGemmDepth deep, takes 512 KB (AVX-512) or 256 KB: it stays in L2 for all strips of a
// task.
constexpr int64_t kGroupPanels = (kGemmRows > 6 ? 512 : 256) / kGemmCols;
// Up to here a task packs the panels that it uses itself, which saves a round of the workers.
constexpr int64_t kFewRows = 256;

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t at_most(int64_t a, int64_t limit) {
  return a < limit ? a : limit;
}
// Rows of a panel, and words of a slab's row, for so much depth.
constexpr int64_t words(int64_t depth) {
  return ceil_div(depth, Operands::kSteps);
}

// Rows of A times packed B.
struct Product {
  const float* a;
  int64_t a_stride;
  const float* packed;
  int64_t depth;
  int64_t cols;
  float* c;
  int64_t c_stride;
  const float* bias;  // or null
  bool accumulate;
};

// Panels per task: fewer than kGroupPanels where the rows alone would not make enough tasks.
int64_t panels_per_task(int64_t rows, int64_t row_tasks, int64_t depth, int64_t cols) {
  constexpr int64_t kTasks = 16;
  constexpr int64_t kLeastMultiplyAdds = int64_t{1} << 18;
  const int64_t all = gemm_panels(cols);
  int64_t panels = at_most(all, kGroupPanels);
  while (panels > 1 && row_tasks * ceil_div(all, panels) < kTasks &&
         rows * depth * panels * kGemmCols / row_tasks > 2 * kLeastMultiplyAdds) {
    panels = (panels + 1) / 2;
  }
  return panels;
}

// C[row0…row1) × panels [panel0…panel1). done(row, rows, col, cols) is called for each finished tile.
template <class Done>
void multiply(const Product& p, int64_t row0, int64_t row1, int64_t panel0, int64_t panel1, Done done) {
  HWY_ALIGN float slab[kGemmSlab];
  const int64_t strips = gemm_strips(row1 - row0);
  for (int64_t k = 0; k < p.depth; k += kDepth) {
    const int64_t depth = at_most(p.depth - k, kDepth);
    const bool is_last = k + depth == p.depth;
    for (int64_t strip = 0; strip < strips; ++strip) {
      const int64_t row = row0 + gemm_strip_start(row1 - row0, strip);
      const int64_t end = row0 + gemm_strip_start(row1 - row0, strip + 1);
      const int64_t next = row0 + gemm_strip_start(row1 - row0, strip + 2 < strips ? strip + 2 : strips);
      const int64_t rows_per_panel = ceil_div(next - end, panel1 - panel0);
      Operands::slab_rows(p.a + row * p.a_stride + k, p.a_stride, end - row, depth, slab);
      for (int64_t panel = panel0; panel < panel1; ++panel) {
        const int64_t col = panel * kGemmCols;
        const int64_t cols = at_most(p.cols - col, kGemmCols);
        const int64_t ahead = at_most(end + (panel - panel0) * rows_per_panel, next);
        gemm_tile<Operands::Rows>(end - row, {.slab = slab,
                                              .b = p.packed + col * words(p.depth) + words(k) * kGemmCols,
                                              .b_step = kGemmCols,
                                              .depth = words(depth),
                                              .c = p.c + row * p.c_stride + col,
                                              .c_stride = p.c_stride,
                                              .row = p.bias ? p.bias + col : nullptr,
                                              .cols = cols,
                                              .start = k > 0 || p.accumulate ? GemmStart::kLoad
                                                       : p.bias              ? GemmStart::kRow
                                                                             : GemmStart::kZero,
                                              .ahead = panel1 - panel0 > 1 ? kGemmAhead : 0,
                                              .next = p.a + ahead * p.a_stride + k,
                                              .next_step = kGemmLine * Operands::kSteps,
                                              .next_stride = p.a_stride,
                                              .next_lines = at_most(next - ahead, rows_per_panel)});
        if (is_last) done(row, end - row, col, cols);
      }
    }
  }
}

void pack_weight(const LinearPack& a, int64_t panel0, int64_t panel1) {
  for (int64_t panel = panel0; panel < panel1; ++panel) {
    const int64_t col = panel * kGemmCols;
    Operands::pack_b_transposed(a.weight + col * a.in_features, a.in_features, a.in_features,
                                at_most(a.out_features - col, kGemmCols), a.packed + col * words(a.in_features));
  }
}

template <Activation kActivation>
HWY_INLINE GemmVec activate(GemmVec v) {
  const GemmTag d;
  if constexpr (kActivation == Activation::kRelu) return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);  // NaN passes
  if constexpr (kActivation == Activation::kGelu) return gelu(v);
  return v;
}

// Keeps the tile's sums, applies activation and residual.
template <Activation kActivation>
void finish_tile(const LinearForward& a, int64_t row0, int64_t rows, int64_t col, int64_t cols) {
  const GemmTag d;
  for (int64_t row = row0; row < row0 + rows; ++row) {
    float* out = a.out + row * a.out_stride + col;
    float* saved = a.saved ? a.saved + row * a.out_features + col : nullptr;
    const float* residual = a.residual ? a.residual + row * a.residual_stride + col : nullptr;
    int64_t i = 0;
    for (; i + kGemmLanes <= cols; i += kGemmLanes) {
      GemmVec v = hn::LoadU(d, out + i);
      if (saved) hn::StoreU(v, d, saved + i);
      v = activate<kActivation>(v);
      if (residual) v = hn::Add(v, hn::LoadU(d, residual + i));
      hn::StoreU(v, d, out + i);
    }
    if (i == cols) continue;
    GemmVec v = load_first(d, out + i, cols - i);
    if (saved) store_first(v, d, saved + i, cols - i);
    v = activate<kActivation>(v);
    if (residual) v = hn::Add(v, load_first(d, residual + i, cols - i));
    store_first(v, d, out + i, cols - i);
  }
}

template <class Done>
void forward_tasks(const LinearForward& a, Workers& workers, Done done) {
  const int64_t panels = gemm_panels(a.out_features);
  const LinearPack pack = {a.weight, a.scratch, a.in_features, a.out_features};
  const Product product = {.a = a.x,
                           .a_stride = a.x_stride,
                           .packed = a.packed ? a.packed : a.scratch,
                           .depth = a.in_features,
                           .cols = a.out_features,
                           .c = a.out,
                           .c_stride = a.out_stride,
                           .bias = a.bias,
                           .accumulate = false};
  const bool is_few = !a.packed && a.rows <= kFewRows;
  const int64_t row_tasks = is_few ? 1 : ceil_div(a.rows, kRowsPerTask);
  const int64_t step = panels_per_task(a.rows, row_tasks, a.in_features, a.out_features);
  const int64_t groups = ceil_div(panels, step);
  if (!a.packed && !is_few) {
    workers.run(panels, [&](int64_t panel, int) { pack_weight(pack, panel, panel + 1); });
  }
  workers.run(row_tasks * groups, [&](int64_t task, int) {
    const int64_t panel0 = task % groups * step;
    const int64_t panel1 = at_most(panel0 + step, panels);
    if (is_few) pack_weight(pack, panel0, panel1);
    const int64_t row_task = task / groups;
    multiply(product, a.rows * row_task / row_tasks, a.rows * (row_task + 1) / row_tasks, panel0, panel1, done);
  });
}

// g = dout ⊙ act'(saved) for a block of rows, into contiguous rows.
template <Activation kActivation>
void slope_rows(const LinearBackward& a, int64_t row0, int64_t rows, float* g) {
  const GemmTag d;
  const auto slope = [&](GemmVec dout, GemmVec saved) {
    if constexpr (kActivation == Activation::kRelu) return hn::IfThenElseZero(hn::Gt(saved, hn::Zero(d)), dout);
    return hn::Mul(dout, gelu_slope(saved));
  };
  for (int64_t row = row0; row < row0 + rows; ++row, g += a.out_features) {
    const float* dout = a.dout + row * a.dout_stride;
    const float* saved = a.saved + row * a.out_features;
    int64_t i = 0;
    for (; i + kGemmLanes <= a.out_features; i += kGemmLanes) {
      hn::StoreU(slope(hn::LoadU(d, dout + i), hn::LoadU(d, saved + i)), d, g + i);
    }
    const int64_t left = a.out_features - i;
    if (left > 0) store_first(slope(load_first(d, dout + i, left), load_first(d, saved + i, left)), d, g + i, left);
  }
}

// Where x itself was the residual, dx starts as dout.
bool residual_is_x(const LinearBackward& a) {
  return a.dx && a.dx == a.dresidual;
}

void add_residual_rows(const LinearBackward& a, int64_t row0, int64_t rows) {
  const bool is_fresh = residual_is_x(a) && !a.accumulate_dx;
  for (int64_t row = row0; row < row0 + rows; ++row) {
    const float* dout = a.dout + row * a.dout_stride;
    float* to = a.dresidual + row * a.out_features;
    for (int64_t i = 0; i < a.out_features; ++i) to[i] = is_fresh ? dout[i] : to[i] + dout[i];
  }
}

// The pieces of scratch, and one block of rows.
struct BackwardBlock {
  LinearBackwardPlan plan;
  float* packed_weight;
  float* packed_x;  // per kLinearDepth rows: panels of kLinearDepth × kGemmCols
  float* slopes;
  float* sums;  // per chunk: dweight, dbias
  int64_t row0;
  int64_t rows;
  const float* g;  // row row0 of dout ⊙ act'
  int64_t g_stride;
};

// Adds the rows of a slab of columns to sum. Lanes beyond rows hold leftovers and are dropped.
void add_slab_rows(const float* slab, int64_t rows, int64_t depth, float* sum) {
  const GemmTag d;
  for (int64_t row = 0; row < rows; row += kGemmLanes) {
    GemmVec total[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    const float* from = slab + row;
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      gemm_unroll<4>([&](auto i) __attribute__((always_inline)) {
        total[i] = hn::Add(total[i], Operands::sum(hn::LoadU(d, from + (k + i) * kGemmRows)));
      });
    }
    for (; k < depth; ++k) total[0] = hn::Add(total[0], Operands::sum(hn::LoadU(d, from + k * kGemmRows)));
    const GemmVec all = hn::Add(hn::Add(total[0], total[1]), hn::Add(total[2], total[3]));
    const int64_t count = at_most(rows - row, kGemmLanes);
    store_first(hn::Add(all, load_first(d, sum + row, count)), d, sum + row, count);
  }
}

// One tile of dweight over one chunk of the block's rows.
void dweight_task(const LinearBackward& a, const BackwardBlock& block, int64_t task) {
  const LinearBackwardPlan& plan = block.plan;
  const int64_t tile_in = task % plan.tiles_in;
  const int64_t tile_out = task / plan.tiles_in % plan.tiles_out;
  const int64_t chunk = task / plan.tiles_in / plan.tiles_out;
  const int64_t out_step = ceil_div(ceil_div(a.out_features, plan.tiles_out), kGemmRows) * kGemmRows;
  const int64_t out0 = at_most(tile_out * out_step, a.out_features);
  const int64_t out1 = at_most(out0 + out_step, a.out_features);
  const int64_t panels = gemm_panels(a.in_features);
  const int64_t panel0 = panels * tile_in / plan.tiles_in;
  const int64_t panel1 = panels * (tile_in + 1) / plan.tiles_in;
  const int64_t weights = a.out_features * a.in_features;
  float* sums = plan.chunks > 1 ? block.sums + chunk * linear_sum_elems(a.in_features, a.out_features) : nullptr;
  float* dweight = sums ? sums : a.dweight;
  float* dbias = tile_in > 0 ? nullptr : sums && a.dbias ? sums + weights : a.dbias;
  const bool is_new = sums && block.row0 == 0;
  const int64_t depths = ceil_div(block.rows, kLinearDepth);
  const int64_t depth0 = depths * chunk / plan.chunks;
  const int64_t depth1 = depths * (chunk + 1) / plan.chunks;
  if (is_new && dbias) {
    for (int64_t i = out0; i < out1; ++i) dbias[i] = 0.0f;
  }
  if (is_new && depth0 == depth1) {
    for (int64_t i = out0; i < out1; ++i) {
      const int64_t end = at_most(panel1 * kGemmCols, a.in_features);
      for (int64_t j = panel0 * kGemmCols; j < end; ++j) dweight[i * a.in_features + j] = 0.0f;
    }
  }
  HWY_ALIGN float slab[kGemmSlab];
  const int64_t strips = gemm_strips(out1 - out0);
  const int64_t lines = ceil_div(kGemmLine * Operands::kSteps, panel1 - panel0);
  for (int64_t index = depth0; index < depth1; ++index) {
    const int64_t row = index * kLinearDepth;
    const int64_t depth = at_most(block.rows - row, kLinearDepth);
    const float* packed_x = block.packed_x + words(row) * panels * kGemmCols;
    for (int64_t strip = 0; strip < strips; ++strip) {
      const int64_t start = out0 + gemm_strip_start(out1 - out0, strip);
      const int64_t count = out0 + gemm_strip_start(out1 - out0, strip + 1) - start;
      Operands::slab_transposed(block.g + row * block.g_stride + start, block.g_stride, count, depth, slab);
      if (dbias) add_slab_rows(slab, count, words(depth), dbias + start);
      if (!a.dweight) continue;
      // The next strip begins in the cache lines of this one: the lines of its last column are the new ones.
      const bool is_last = strip + 1 == strips;
      const int64_t next_end = out0 + gemm_strip_start(out1 - out0, is_last ? 1 : strip + 2);
      const float* next = block.g + (is_last ? row + depth : row) * block.g_stride + next_end - 1;
      const int64_t rounds = ceil_div(words(depth), kGemmLine);
      for (int64_t panel = panel0; panel < panel1; ++panel) {
        const int64_t col = panel * kGemmCols;
        gemm_tile<Operands::Columns>(count, {.slab = slab,
                                             .b = packed_x + col * words(kLinearDepth),
                                             .b_step = kGemmCols,
                                             .depth = words(depth),
                                             .c = dweight + start * a.in_features + col,
                                             .c_stride = a.in_features,
                                             .row = nullptr,
                                             .cols = at_most(a.in_features - col, kGemmCols),
                                             .start = is_new && index == depth0 ? GemmStart::kZero : GemmStart::kAdd,
                                             .ahead = kGemmAhead,
                                             .next = next + (panel - panel0) * lines * rounds * block.g_stride,
                                             .next_step = block.g_stride,
                                             .next_stride = rounds * block.g_stride,
                                             .next_lines = lines});
      }
    }
  }
}

// Packs weight (once) and x, applies the slope of the activation to dout.
void prepare_block(const LinearBackward& a, const BackwardBlock& block, Workers& workers) {
  constexpr int64_t kRows = 32;
  const int64_t weight_tasks = a.dx && block.row0 == 0 ? ceil_div(a.out_features, kRows) : 0;
  const bool has_rows = a.dweight || a.dresidual || a.activation != Activation::kNone;
  workers.run(weight_tasks + (has_rows ? ceil_div(block.rows, kRows) : 0), [&](int64_t task, int) {
    if (task < weight_tasks) {
      const int64_t row = task * kRows;
      Operands::pack_b(a.weight + row * a.in_features, a.in_features, at_most(a.out_features - row, kRows),
                       a.in_features, block.packed_weight + words(row) * kGemmCols, words(a.out_features) * kGemmCols);
      return;
    }
    const int64_t row = (task - weight_tasks) * kRows;
    const int64_t rows = at_most(block.rows - row, kRows);
    if (a.dweight) {
      const int64_t first = row / kLinearDepth * kLinearDepth;
      Operands::pack_b(
          a.x + (block.row0 + row) * a.x_stride, a.x_stride, rows, a.in_features,
          block.packed_x + words(first) * gemm_panels(a.in_features) * kGemmCols + words(row - first) * kGemmCols,
          words(kLinearDepth) * kGemmCols);
    }
    float* slopes = block.slopes + row * a.out_features;
    if (a.activation == Activation::kRelu) slope_rows<Activation::kRelu>(a, block.row0 + row, rows, slopes);
    if (a.activation == Activation::kGelu) slope_rows<Activation::kGelu>(a, block.row0 + row, rows, slopes);
    if (a.dresidual) add_residual_rows(a, block.row0 + row, rows);
  });
}

// The block's share of dweight and dbias, and its rows of dx.
void run_block(const LinearBackward& a, const BackwardBlock& block, Workers& workers) {
  const LinearBackwardPlan& plan = block.plan;
  const int64_t sum_tasks = a.dweight || a.dbias ? plan.chunks * plan.tiles_out * plan.tiles_in : 0;
  const int64_t panels = gemm_panels(a.in_features);
  const int64_t row_tasks = ceil_div(block.rows, kRowsPerTask);
  const int64_t step = panels_per_task(block.rows, row_tasks, a.out_features, a.in_features);
  const int64_t groups = ceil_div(panels, step);
  const Product product = {.a = block.g,
                           .a_stride = block.g_stride,
                           .packed = block.packed_weight,
                           .depth = a.out_features,
                           .cols = a.in_features,
                           .c = a.dx ? a.dx + block.row0 * a.dx_stride : nullptr,
                           .c_stride = a.dx_stride,
                           .bias = nullptr,
                           .accumulate = a.accumulate_dx || residual_is_x(a)};
  workers.run(sum_tasks + (a.dx ? row_tasks * groups : 0), [&](int64_t task, int) {
    if (task < sum_tasks) {
      dweight_task(a, block, task);
      return;
    }
    const int64_t panel0 = (task - sum_tasks) % groups * step;
    const int64_t row0 = (task - sum_tasks) / groups * kRowsPerTask;
    multiply(product, row0, at_most(row0 + kRowsPerTask, block.rows), panel0, at_most(panel0 + step, panels),
             [](int64_t, int64_t, int64_t, int64_t) {});
  });
}

// Chunk after chunk: the same bits for any number of workers.
void add_chunks(const LinearBackward& a, const BackwardBlock& block, Workers& workers) {
  constexpr int64_t kElems = 4096;
  const int64_t weights = a.out_features * a.in_features;
  const int64_t step = linear_sum_elems(a.in_features, a.out_features);
  const auto add = [&](float* to, const float* from, int64_t begin, int64_t end) {
    for (int64_t chunk = 0; chunk < block.plan.chunks; ++chunk, from += step) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    }
  };
  const int64_t slices = a.dweight ? ceil_div(weights, kElems) : 0;
  workers.run(slices + (a.dbias ? 1 : 0), [&](int64_t slice, int) {
    if (slice < slices) {
      add(a.dweight, block.sums, slice * kElems, at_most(slice * kElems + kElems, weights));
    } else {
      add(a.dbias, block.sums + weights, 0, a.out_features);
    }
  });
}

}  // namespace

void linear_pack(const LinearPack& a, Workers& workers) {
  workers.run(gemm_panels(a.out_features), [&](int64_t panel, int) { pack_weight(a, panel, panel + 1); });
}

void linear_forward(const LinearForward& a, Workers& workers) {
  if (a.rows == 0) return;
  const auto finish = [&]<Activation kActivation>() {
    forward_tasks(a, workers, [&a](int64_t row, int64_t rows, int64_t col, int64_t cols) {
      finish_tile<kActivation>(a, row, rows, col, cols);
    });
  };
  if (a.activation == Activation::kRelu) {
    finish.template operator()<Activation::kRelu>();
  } else if (a.activation == Activation::kGelu) {
    finish.template operator()<Activation::kGelu>();
  } else if (a.residual || a.saved) {
    finish.template operator()<Activation::kNone>();
  } else {
    forward_tasks(a, workers, [](int64_t, int64_t, int64_t, int64_t) {});
  }
}

void linear_backward(const LinearBackward& a, Workers& workers) {
  const bool has_sums = a.dweight || a.dbias;
  if (a.rows == 0 || (!has_sums && !a.dx && !a.dresidual)) return;
  const int64_t padded = gemm_panels(a.in_features) * kGemmCols;
  BackwardBlock block = {};
  block.plan = linear_backward_plan(a.rows, a.in_features, a.out_features);
  block.packed_weight = a.scratch;
  block.packed_x = block.packed_weight + a.out_features * padded;
  block.slopes = block.packed_x + block.plan.block_rows * padded;
  block.sums = block.slopes + block.plan.block_rows * a.out_features;
  for (; block.row0 < a.rows; block.row0 += block.plan.block_rows) {
    block.rows = at_most(a.rows - block.row0, block.plan.block_rows);
    const bool has_slopes = a.activation != Activation::kNone;
    block.g = has_slopes ? block.slopes : a.dout + block.row0 * a.dout_stride;
    block.g_stride = has_slopes ? a.out_features : a.dout_stride;
    prepare_block(a, block, workers);
    run_block(a, block, workers);
  }
  if (has_sums && block.plan.chunks > 1) add_chunks(a, block, workers);
}

}  // namespace seqrisk::SEQRISK_VARIANT
