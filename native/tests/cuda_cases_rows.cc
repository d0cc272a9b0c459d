// Cases of the ops whose sums run along a row, or over the rows of a sequence.
#include <algorithm>
#include <cmath>

#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

constexpr int64_t kShapes[][2] = {{0, 8},    {1, 1},    {300, 1}, {3, 5},    {1, 64},   {257, 64},
                                  {33, 100}, {64, 256}, {5, 777}, {9, 1024}, {3, 5000}, {5000, 20}};

LayerNormForward layer_norm_of(Side& side, int64_t rows, int64_t width, bool kept) {
  LayerNormForward a{};
  a.x = side.normals(rows * width, 2);
  a.weight = side.normals(width);
  a.bias = side.normals(width);
  a.out_stored = rows % 2 == 0 ? side.stored() : Storage::float32;
  a.out = side.output("out", rows * width, kSums, a.out_stored);
  a.mean = kept ? side.output("mean", rows, {kSums.tolerance, 1 / std::sqrt(width)}) : nullptr;
  a.rstd = kept ? side.output("rstd", rows, kSums) : nullptr;
  a.rows = rows;
  a.width = width;
  a.eps = 1e-5f;
  return a;
}

void layer_norm(CaseTable& table) {
  for (const auto& [rows, width] : kShapes) {
    for (const bool kept : {true, false}) {
      table.layer_norm_forward.push_back({label({"rows", "width", "kept"}, rows, width, kept),
                                          [=](Side& side) { return layer_norm_of(side, rows, width, kept); }});
    }
    for (int variant = 0; variant < 3; ++variant) {
      table.layer_norm_backward.push_back(
          {label({"rows", "width", "variant"}, rows, width, variant), [=](Side& side) {
             Side host = side.before();
             const LayerNormForward f = layer_norm_of(host, rows, width, true);
             host.run(&KernelTable::layer_norm_forward, &cuda::LauncherTable::layer_norm_forward, f);
             LayerNormBackward a{};
             a.x = side.input(f.x, rows * width);
             a.weight = side.input(f.weight, width);
             a.mean = side.input(f.mean, rows);
             a.rstd = side.input(f.rstd, rows);
             a.out_stored = rows % 2 == 0 ? side.stored() : Storage::float32;
             a.dout = side.input(side.random(rows * width), a.out_stored);
             // One column has no variance: terms of size 1/√eps cancel.
             const Judge judge{kSums.tolerance, width == 1 ? 316.0 : 0.0};
             a.dx_stored = width % 3 == 0 ? side.stored() : Storage::float32;
             a.dx = variant == 2 ? nullptr : side.result("dx", rows * width, variant == 1, judge, a.dx_stored);
             a.dweight = side.added("dweight", width, sums_of(rows, 0.5));
             a.dbias = side.added("dbias", width, sums_of(rows, 0.5));
             a.scratch = side.scratch(layer_norm_backward_scratch(rows, width));
             a.rows = rows;
             a.width = width;
             a.accumulate_dx = variant == 1;
             return a;
           }});
    }
  }
}

L2NormalizeForward l2_normalize_of(Side& side, int64_t rows, int64_t width) {
  L2NormalizeForward a{};
  std::vector<float> x = side.random(rows * width);
  // A row of zeros, and one that is shorter than eps.
  if (rows > 2) {
    for (int64_t i = 0; i < width; ++i) {
      x[static_cast<size_t>(i)] = 0.0f;
      x[static_cast<size_t>(width + i)] *= 1e-6f;
    }
  }
  a.x = side.input(x);
  a.out = side.output("out", rows * width, kSums);
  a.scale = side.output("scale", rows, kSums);
  a.rows = rows;
  a.width = width;
  a.eps = 1e-3f;
  return a;
}

void l2_normalize(CaseTable& table) {
  for (const auto& [rows, width] : kShapes) {
    table.l2_normalize_forward.push_back(
        {label({"rows", "width"}, rows, width), [=](Side& side) { return l2_normalize_of(side, rows, width); }});
    for (const bool accumulate : {false, true}) {
      table.l2_normalize_backward.push_back(
          {label({"rows", "width", "accumulate"}, rows, width, accumulate), [=](Side& side) {
             Side host = side.before();
             const L2NormalizeForward f = l2_normalize_of(host, rows, width);
             host.run(&KernelTable::l2_normalize_forward, &cuda::LauncherTable::l2_normalize_forward, f);
             L2NormalizeBackward a{};
             a.out = side.input(f.out, rows * width);
             a.scale = side.input(f.scale, rows);
             a.dout = side.normals(rows * width);
             // Of one column nothing is left: terms of size 1/‖x‖ cancel.
             a.dx = side.result("dx", rows * width, accumulate, {kSums.tolerance, width == 1 ? 1.0 : 0.0});
             a.rows = rows;
             a.width = width;
             a.eps = f.eps;
             a.accumulate_dx = accumulate;
             return a;
           }});
    }
  }
}

// Ascending knots, some of one place; values that are knots, and beyond them.
template <class Arguments>
void set_curves(Side& side, Arguments& a, int64_t rows, int64_t width, int64_t num_knots) {
  std::vector<float> x = side.random(rows * width, 3);
  std::vector<float> knots(static_cast<size_t>(num_knots * width));
  for (int64_t c = 0; c < width; ++c) {
    std::vector<float> own = side.random(num_knots);
    std::sort(own.begin(), own.end());
    if (c % 3 == 1) std::fill(own.begin() + num_knots / 2, own.end(), own[static_cast<size_t>(num_knots / 2)]);
    for (int64_t k = 0; k < num_knots; ++k) knots[static_cast<size_t>(k * width + c)] = own[static_cast<size_t>(k)];
    for (int64_t row = c % 5; row < rows; row += 5) {
      x[static_cast<size_t>(row * width + c)] = own[static_cast<size_t>(row % num_knots)];
    }
  }
  a.x = side.input(x);
  a.knots = side.input(knots);
  a.slopes = side.normals((num_knots + 1) * width);
  a.rows = rows;
  a.width = width;
  a.num_knots = num_knots;
}

void piecewise_linear(CaseTable& table) {
  for (const auto& [rows, width] : kShapes) {
    for (const int64_t num_knots : {1, 2, 33}) {
      table.piecewise_linear_forward.push_back(
          {label({"rows", "width", "knots"}, rows, width, num_knots), [=](Side& side) {
             PiecewiseLinearForward a{};
             set_curves(side, a, rows, width, num_knots);
             a.offset = side.normals(width);
             a.out = side.output("out", rows * width, sums_of(num_knots, 1));
             return a;
           }});
      for (const bool accumulate : {false, true}) {
        table.piecewise_linear_backward.push_back(
            {label({"rows", "width", "knots", "accumulate"}, rows, width, num_knots, accumulate), [=](Side& side) {
               PiecewiseLinearBackward a{};
               set_curves(side, a, rows, width, num_knots);
               a.dout = side.normals(rows * width);
               a.dx = side.result("dx", rows * width, accumulate, kElements);
               a.accumulate_dx = accumulate;
               return a;
             }});
      }
    }
  }
}

PoolForward pool_of(Side& side, const Batch& batch, PoolMode mode, int64_t width, bool kept) {
  PoolForward a{};
  a.mode = mode;
  a.packing = side.packing(batch.lengths);
  std::vector<float> x = side.random(a.packing.events * width);
  // Many equal ones: the first has to win.
  if (mode == PoolMode::max) {
    for (float& value : x) value = static_cast<float>(static_cast<int>(value * 2));
  }
  a.x = side.input(x);
  const int64_t cells = a.packing.sequences * width;
  const Judge mean{kSums.tolerance, 0.5 / std::sqrt(1.0 + a.packing.max_length)};
  a.out = side.output("out", cells, mode == PoolMode::mean ? mean : kSame);
  a.argmax = mode == PoolMode::max && kept ? side.output_ids("argmax", cells) : nullptr;
  a.width = width;
  return a;
}

void pool(CaseTable& table) {
  for (const Batch& batch : batches(5000)) {
    for (const int64_t width : {1, 7, 32, 68}) {
      for (const PoolMode mode : {PoolMode::mean, PoolMode::max, PoolMode::last}) {
        const std::string name =
            std::string(batch.name) + ", " + label({"mode", "width"}, static_cast<int>(mode), width);
        table.pool_forward.push_back({name, [=](Side& side) { return pool_of(side, batch, mode, width, width != 7); }});
        for (const int variant : {0, 1, 2, 3}) {
          const bool accumulate = variant % 2 == 1;
          const bool stored = variant >= 2;  // as activations are
          table.pool_backward.push_back(
              {name + ", " + label({"accumulate", "stored"}, accumulate, stored), [=](Side& side) {
                 Side host = side.before();
                 const PoolForward f = pool_of(host, batch, mode, width, true);
                 host.run(&KernelTable::pool_forward, &cuda::LauncherTable::pool_forward, f);
                 PoolBackward a{};
                 a.mode = mode;
                 a.packing = side.packing(batch.lengths);
                 const int64_t cells = a.packing.sequences * width;
                 a.argmax = f.argmax ? side.input(f.argmax, cells) : nullptr;
                 a.dout = side.normals(cells);
                 a.dx_stored = stored ? side.stored() : Storage::float32;
                 a.dx = side.result("dx", a.packing.events * width, accumulate, kElements, a.dx_stored);
                 a.width = width;
                 a.accumulate_dx = accumulate;
                 return a;
               }});
        }
      }
    }
  }
}

// r and z in (0, 1), n in (−1, 1), u_n any: what a forward could have left.
std::vector<float> gates_of(Side& side, int64_t events, int64_t width) {
  std::vector<float> gates = side.random(4 * events * width);
  for (int64_t i = 0; i < events * 4 * width; ++i) {
    const int64_t gate = i / width % 4;
    float& value = gates[static_cast<size_t>(i)];
    if (gate < 2) value = 1 / (1 + std::exp(-value));
    if (gate == 2) value = std::tanh(value);
  }
  return gates;
}

void gru(CaseTable& table) {
  // The longest: errors of steps fade, since a gate passes on less than it gets.
  for (const Batch& batch : batches(200)) {
    for (const int64_t width : {1, 7, 32, 100, 300}) {
      const std::string name = std::string(batch.name) + ", " + label({"width"}, width);
      const double scale = 1 / std::sqrt(static_cast<double>(width));
      for (const bool kept : {false, true}) {
        table.gru_forward.push_back(
            {name + ", " + label({"kept"}, kept), [=](Side& side) {
               GruForward a{};
               a.packing = side.packing(batch.lengths);
               a.width = width;
               a.x = side.normals(a.packing.events * 3 * width);
               a.weight = side.normals(3 * width * width, scale);
               a.bias = side.normals(3 * width);
               a.out = side.output("out", a.packing.events * width, kSums);
               a.gates = kept ? side.output("gates", 4 * a.packing.events * width, kSums) : nullptr;
               a.scratch = side.scratch(gru_forward_scratch(a.packing.sequences, width, side.workers()));
               return a;
             }});
      }
      for (const bool accumulate : {false, true}) {
        table.gru_backward.push_back({name + ", " + label({"accumulate"}, accumulate), [=](Side& side) {
                                        GruBackward a{};
                                        a.packing = side.packing(batch.lengths);
                                        a.width = width;
                                        const int64_t elements = a.packing.events * width;
                                        a.weight = side.normals(3 * width * width, scale);
                                        a.out = side.normals(elements, 0.5);
                                        a.gates = side.input(gates_of(side, a.packing.events, width));
                                        a.dout = side.normals(elements);
                                        a.dx = side.result("dx", 3 * elements, accumulate, kSums);
                                        a.accumulate_dx = accumulate;
                                        a.dhidden = side.output("dhidden", 3 * elements, kSums);
                                        a.previous = side.output("previous", elements, kSame);
                                        a.scratch = side.scratch(
                                            gru_backward_scratch(a.packing.sequences, width, side.workers()));
                                        return a;
                                      }});
      }
    }
  }
}

}  // namespace

void add_row_cases(CaseTable& table) {
  l2_normalize(table);
  layer_norm(table);
  piecewise_linear(table);
  pool(table);
  gru(table);
}

}  // namespace seqrisk::parity
