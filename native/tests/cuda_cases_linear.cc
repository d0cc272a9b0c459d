// Cases of linear.
#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

struct Shape {
  int64_t rows;
  int64_t in_features;
  int64_t out_features;
};

constexpr Shape kShapes[] = {{0, 5, 3},      {1, 1, 1},       {3, 5, 7},     {1, 64, 32},     {33, 100, 36},
                             {200, 64, 256}, {129, 257, 130}, {1000, 48, 1}, {77, 1, 33},     {5, 1000, 3},
                             {4096, 16, 16}, {700, 256, 192}, {64, 8, 257},  {1300, 128, 128}};

std::string label_of(const Shape& s) {
  return label({"rows", "in", "out"}, s.rows, s.in_features, s.out_features);
}

LinearPack pack_of(Side& side, const Shape& s, const float* weight) {
  // The layout is the device's own: the forward shows whether it reads what it packed.
  const int64_t count = linear_padded(s.out_features) * s.in_features;
  return {weight, side.added("packed", count, kAny), s.in_features, s.out_features};
}

struct Parts {
  Activation activation;
  bool bias;
  bool residual;
  bool saved;
  bool packed;
  int64_t gap;  // elements between rows
};

LinearForward forward_of(Side& side, const Shape& s, const Parts& parts) {
  LinearForward a{};
  a.rows = s.rows;
  a.in_features = s.in_features;
  a.out_features = s.out_features;
  a.x_stride = s.in_features + parts.gap;
  a.out_stride = s.out_features + parts.gap;
  a.residual_stride = s.out_features + parts.gap;
  a.activation = parts.activation;
  a.x = side.normals(s.rows * a.x_stride);
  a.weight = side.normals(s.in_features * s.out_features);
  if (parts.packed) {
    const LinearPack pack = pack_of(side, s, a.weight);
    side.run(&KernelTable::linear_pack, &cuda::LauncherTable::linear_pack, pack);
    side.snapshot();
    a.packed = pack.packed;
  } else {
    a.scratch = side.scratch(linear_packed_bytes(s.in_features, s.out_features));
  }
  a.bias = parts.bias ? side.normals(s.out_features) : nullptr;
  a.residual = parts.residual ? side.normals(s.rows * a.residual_stride) : nullptr;
  // Every element is one chain of fused multiply-adds; GELU's exponential is each device's own.
  const bool same = side.cpu_fuses() && !side.rounds_operands();
  const Judge chain = same ? kSame : side.products();
  const Judge judge = same ? kElements : side.products();
  a.out = side.output("out", s.rows * a.out_stride, parts.activation == Activation::kGelu ? judge : chain);
  a.saved = parts.saved ? side.output("saved", s.rows * s.out_features, chain) : nullptr;
  return a;
}

LinearBackward backward_of(Side& side, const Shape& s, Activation activation, int parts) {
  LinearBackward a{};
  a.rows = s.rows;
  a.in_features = s.in_features;
  a.out_features = s.out_features;
  a.x_stride = s.in_features;
  a.dout_stride = s.out_features;
  a.dx_stride = s.in_features;
  a.activation = activation;
  const bool wants_dx = parts != 2;
  const bool wants_dweight = parts != 3;
  a.accumulate_dx = parts == 1;
  a.x = side.normals(s.rows * s.in_features);
  a.weight = side.normals(s.in_features * s.out_features);
  a.dout = side.normals(s.rows * s.out_features);
  a.saved = activation == Activation::kNone ? nullptr : side.normals(s.rows * s.out_features);
  a.dx = wants_dx ? side.result("dx", s.rows * s.in_features, a.accumulate_dx, side.products()) : nullptr;
  a.dweight = wants_dweight ? side.added("dweight", s.in_features * s.out_features, side.products()) : nullptr;
  a.dbias = parts != 3 ? side.added("dbias", s.out_features, sums_of(s.rows, 0.5)) : nullptr;
  if (parts == 1) a.dresidual = side.added("dresidual", s.rows * s.out_features, kElements);
  if (parts == 4) a.dresidual = a.dx;  // x was the residual
  a.scratch = side.scratch(linear_backward_scratch(s.rows, s.in_features, s.out_features));
  return a;
}

}  // namespace

void add_linear_cases(CaseTable& table) {
  constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu};
  int turn = 0;
  for (const Shape& s : kShapes) {
    table.linear_pack.push_back(
        {label_of(s), [=](Side& side) { return pack_of(side, s, side.normals(s.in_features * s.out_features)); }});
    for (const Activation activation : kActivations) {
      for (int i = 0; i < 3; ++i) {
        ++turn;
        const Parts parts{activation, turn % 2 == 0, turn % 3 == 0, turn % 5 < 2, turn % 4 == 3, turn % 7 == 6 ? 3 : 0};
        table.linear_forward.push_back(
            {label_of(s) + ", " +
                 label({"activation", "bias", "residual", "saved", "packed", "gap"}, static_cast<int>(activation),
                       parts.bias, parts.residual, parts.saved, parts.packed, parts.gap),
             [=](Side& side) { return forward_of(side, s, parts); }});
      }
      for (int parts = 0; parts < 5; ++parts) {
        if (parts == 4 && s.in_features != s.out_features) continue;
        table.linear_backward.push_back(
            {label_of(s) + ", " + label({"activation", "variant"}, static_cast<int>(activation), parts),
             [=](Side& side) { return backward_of(side, s, activation, parts); }});
      }
    }
  }
}

}  // namespace seqrisk::parity
