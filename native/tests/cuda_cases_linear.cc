// Cases of linear.
#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

struct Shape {
  int64_t rows;
  int64_t in_features;
  int64_t out_features;
};

constexpr Shape kShapes[] = {{0, 5, 3},       {1, 1, 1},       {3, 5, 7},     {1, 64, 32},      {33, 100, 36},
                             {200, 64, 256},  {129, 257, 130}, {1000, 48, 1}, {77, 1, 33},      {5, 1000, 3},
                             {4096, 16, 16},  {700, 256, 192}, {64, 8, 257},  {1300, 128, 128}, {1500, 256, 768},
                             {9000, 64, 128}, {900, 768, 256}, {50, 64, 8},   {100, 72, 136},   {4000, 320, 1280}};
// Small ones of several tiles a block, and rings that go round, where a card has four multiprocessors: with a right
// operand that stays in shared memory, and without.
constexpr Shape kTiledShapes[] = {
    {1000, 136, 136}, {1300, 200, 100}, {1100, 520, 100}, {600, 264, 200}, {600, 136, 600}};

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
  int64_t gap;    // elements between rows
  bool x_stored;  // where activations are bfloat16: x
  bool out_stored;
};

// Tensor cores cut off what they add instead of rounding it: up to a unit of 2⁻²³ a step of 16 terms.
constexpr Judge kTensorSums{4e-5};

// Values that bfloat16 has, stored so or not.
const float* operands_of(Side& side, int64_t count, Storage stored) {
  return stored == Storage::float32 ? side.operands(count) : side.activations(count);
}

LinearForward forward_of(Side& side, const Shape& s, const Parts& parts) {
  LinearForward a{};
  a.rows = s.rows;
  a.in_features = s.in_features;
  a.out_features = s.out_features;
  a.x_stride = s.in_features + parts.gap;
  a.out_stride = s.out_features + parts.gap;
  a.residual_stride = s.out_features + parts.gap;
  a.activation = parts.activation;
  a.x_stored = parts.x_stored ? side.stored() : Storage::float32;
  a.out_stored = parts.out_stored ? side.stored() : Storage::float32;
  a.x = operands_of(side, s.rows * a.x_stride, a.x_stored);
  a.weight = side.operands(s.in_features * s.out_features);
  if (parts.packed) {
    const LinearPack pack = pack_of(side, s, a.weight);
    side.run(&KernelTable::linear_pack, &cuda::LauncherTable::linear_pack, pack);
    side.snapshot();
    a.packed = pack.packed;
  } else {
    a.scratch = side.scratch(linear_packed_bytes(s.in_features, s.out_features));
  }
  if (parts.bias) a.bias = side.rounds_biases() ? side.operands(s.out_features) : side.normals(s.out_features);
  a.residual = parts.residual ? side.input(side.random(s.rows * a.residual_stride), a.out_stored) : nullptr;
  // Every element is one chain of fused multiply-adds; GELU's exponential is each device's own. Tensor cores add up in
  // an order of theirs, of operands that are not rounded here. Sums that are kept are rounded before the activation is
  // taken of them.
  const bool same = side.cpu_fuses() && !side.rounds_operands();
  const Judge chain = same ? kSame : kTensorSums;
  Judge judge = parts.activation != Activation::kGelu ? chain : same ? kElements : kTensorSums;
  const bool rounds_sums = side.rounds_operands() && (parts.saved || parts.activation == Activation::kGelu);
  if (rounds_sums) judge.tolerance += kStoredError;
  a.out = side.output("out", s.rows * a.out_stride, judge, a.out_stored);
  a.saved = parts.saved ? side.output("saved", s.rows * s.out_features, chain, a.x_stored) : nullptr;
  return a;
}

LinearBackward backward_of(Side& side, const Shape& s, Activation activation, int parts, bool x_stored,
                           bool out_stored) {
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
  a.x_stored = x_stored ? side.stored() : Storage::float32;
  a.out_stored = out_stored ? side.stored() : Storage::float32;
  a.dx_stored = parts == 4 ? a.out_stored : s.rows % 2 == 0 ? side.stored() : a.x_stored;
  a.x = operands_of(side, s.rows * s.in_features, a.x_stored);
  a.weight = side.operands(s.in_features * s.out_features);
  a.dout = operands_of(side, s.rows * s.out_features, a.out_stored);
  a.saved = activation == Activation::kNone ? nullptr : side.input(side.random(s.rows * s.out_features), a.x_stored);
  // Operands are not rounded here, but for dout once it has gone through GELU.
  const bool rounds = side.rounds_operands() && activation == Activation::kGelu;
  // What is added to may cancel a single term of size 1.
  const Judge judge = rounds ? side.products(1) : side.rounds_operands() ? kTensorSums : kSums;
  Judge bias_judge = sums_of(s.rows, 0.5);
  if (side.rounds_operands()) bias_judge.tolerance = judge.tolerance;
  a.dx = wants_dx ? side.result("dx", s.rows * s.in_features, a.accumulate_dx, judge, a.dx_stored) : nullptr;
  a.dweight = wants_dweight ? side.added("dweight", s.in_features * s.out_features, judge) : nullptr;
  a.dbias = parts != 3 ? side.added("dbias", s.out_features, bias_judge) : nullptr;
  if (parts == 1) a.dresidual = side.added("dresidual", s.rows * s.out_features, kElements, a.out_stored);
  if (parts == 4) a.dresidual = a.dx;  // x was the residual
  a.scratch = side.scratch(linear_backward_scratch(s.rows, s.in_features, s.out_features));
  return a;
}

}  // namespace

void add_linear_cases(CaseTable& table) {
  constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu};
  int turn = 0;
  const auto add = [&](const Shape& s, bool is_tiled) {
    table.linear_pack.push_back(
        {label_of(s), [=](Side& side) { return pack_of(side, s, side.normals(s.in_features * s.out_features)); }});
    for (const Activation activation : kActivations) {
      const bool always = is_tiled && activation == Activation::kNone;
      for (int i = 0; i < 3; ++i) {
        ++turn;
        const Parts parts{activation,    turn % 2 == 0,         turn % 3 == 0, turn % 5 < 2,
                          turn % 4 == 3, turn % 7 == 6 ? 3 : 0, turn % 5 != 3, turn % 4 != 1};
        table.linear_forward.push_back(
            {label_of(s) + ", " +
                 label({"activation", "bias", "residual", "saved", "packed", "gap", "x stored", "out stored"},
                       static_cast<int>(activation), parts.bias, parts.residual, parts.saved, parts.packed, parts.gap,
                       parts.x_stored, parts.out_stored),
             [=](Side& side) { return forward_of(side, s, parts); }, always});
      }
      for (int parts = 0; parts < 5; ++parts) {
        if (parts == 4 && s.in_features != s.out_features) continue;
        // x and its residual are one tensor in variant 4.
        const bool x_stored = ++turn % 5 != 3;
        const bool out_stored = parts == 4 ? x_stored : turn % 4 != 1;
        table.linear_backward.push_back(
            {label_of(s) + ", " +
                 label({"activation", "variant", "x stored", "out stored"}, static_cast<int>(activation), parts,
                       x_stored, out_stored),
             [=](Side& side) { return backward_of(side, s, activation, parts, x_stored, out_stored); }, always});
      }
    }
  };
  for (const Shape& s : kShapes) add(s, false);
  for (const Shape& s : kTiledShapes) add(s, true);
}

}  // namespace seqrisk::parity
