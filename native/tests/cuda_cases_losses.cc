// Cases of the losses.
#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

enum class Rows { all, some, none, at_fault };

// Kept is what the backward needs; a row at fault has none.
SoftmaxCrossEntropyForward softmax_of(Side& side, int64_t rows, int64_t classes, Rows kind, bool weighted, bool kept) {
  SoftmaxCrossEntropyForward a{};
  a.logits = side.normals(rows * classes, 4);
  std::vector<int32_t> targets = side.random_ids(rows, kind == Rows::some ? -1 : 0, classes);
  if (kind == Rows::none) targets.assign(targets.size(), -1);
  if (kind == Rows::at_fault) targets[static_cast<size_t>(rows / 2)] = static_cast<int32_t>(classes);
  a.targets = side.input(targets);
  if (weighted) {
    std::vector<float> weights(static_cast<size_t>(rows));
    for (float& weight : weights) weight = static_cast<float>(side.pick(0, 4)) * 0.75f;
    a.weights = side.input(weights);
  }
  a.loss = side.output("loss", 1, kSums);
  a.correct = side.output("correct", 1, kSame);
  if (kept) {
    a.row_max = side.output("row_max", rows, kSame);
    a.row_sum = side.output("row_sum", rows, kSums);
    a.total = side.output("total", 1, kElements);
  }
  a.scratch = side.scratch<double>(softmax_cross_entropy_forward_scratch(rows, classes));
  a.fault = side.fault();
  a.rows = rows;
  a.classes = classes;
  return a;
}

void softmax_cross_entropy(CaseTable& table) {
  constexpr int64_t kShapes[][2] = {{0, 5},    {1, 1},    {7, 3},    {100, 10}, {33, 1000},
                                    {5, 5000}, {3, 2047}, {3, 2048}, {2000, 2}, {40, 65},
                                    {9, 36},   {9, 132},  {9, 260},  {9, 515},  {5, 2000}};
  for (const auto& [rows, classes] : kShapes) {
    for (const Rows kind : {Rows::all, Rows::some, Rows::none, Rows::at_fault}) {
      if (kind == Rows::at_fault && rows == 0) continue;
      for (const bool weighted : {false, true}) {
        const std::string name =
            label({"rows", "classes", "targets", "weighted"}, rows, classes, static_cast<int>(kind), weighted);
        const bool kept = kind != Rows::at_fault && !(weighted && kind == Rows::some);
        table.softmax_cross_entropy_forward.push_back(
            {name, [=](Side& side) { return softmax_of(side, rows, classes, kind, weighted, kept); }});
        if (kind == Rows::at_fault) continue;
        for (const bool accumulate : {false, true}) {
          table.softmax_cross_entropy_backward.push_back(
              {name + ", " + label({"accumulate"}, accumulate), [=](Side& side) {
                 Side host = side.before();
                 const SoftmaxCrossEntropyForward f = softmax_of(host, rows, classes, kind, weighted, true);
                 host.run(&KernelTable::softmax_cross_entropy_forward,
                          &cuda::LauncherTable::softmax_cross_entropy_forward, f);
                 SoftmaxCrossEntropyBackward a{};
                 a.logits = side.input(f.logits, rows * classes);
                 a.targets = side.input(f.targets, rows);
                 a.weights = f.weights ? side.input(f.weights, rows) : nullptr;
                 a.row_max = side.input(f.row_max, rows);
                 a.row_sum = side.input(f.row_sum, rows);
                 a.total = side.input(f.total, 1);
                 a.dout = side.normals(1);
                 a.dlogits = side.result("dlogits", rows * classes, accumulate, kSums);
                 a.rows = rows;
                 a.classes = classes;
                 a.accumulate_dlogits = accumulate;
                 return a;
               }});
        }
      }
    }
  }
}

// Entities: of [0, kinds).
PairContrastiveForward pairs_of(Side& side, int64_t pairs, int64_t kinds, bool is_binary) {
  PairContrastiveForward a{};
  a.scores = side.normals(pairs * pairs);
  a.entity = side.input(side.random_ids(pairs, 0, kinds));
  a.loss = side.output("loss", 1, kSums);
  a.correct = side.output("correct", 1, kSame);
  a.stats = side.output("stats", 4 * pairs, is_binary ? kAny : kSums);
  a.count = side.output("count", 1, kSame);
  a.scratch = side.scratch<double>(pair_contrastive_forward_scratch(pairs));
  a.pairs = pairs;
  a.inverse_temperature = 2.5f;
  a.is_binary = is_binary;
  return a;
}

void pair_contrastive(CaseTable& table) {
  for (const int64_t pairs : {0, 1, 2, 5, 32, 33, 100, 257, 700}) {
    for (const int64_t kinds : {1, 3, 1000000}) {
      for (const bool is_binary : {false, true}) {
        const std::string name = label({"pairs", "entities", "binary"}, pairs, kinds, is_binary);
        table.pair_contrastive_forward.push_back(
            {name, [=](Side& side) { return pairs_of(side, pairs, kinds, is_binary); }});
        for (const bool accumulate : {false, true}) {
          table.pair_contrastive_backward.push_back(
              {name + ", " + label({"accumulate"}, accumulate), [=](Side& side) {
                 Side host = side.before();
                 const PairContrastiveForward f = pairs_of(host, pairs, kinds, is_binary);
                 host.run(&KernelTable::pair_contrastive_forward, &cuda::LauncherTable::pair_contrastive_forward, f);
                 PairContrastiveBackward a{};
                 a.scores = side.input(f.scores, pairs * pairs);
                 a.entity = side.input(f.entity, pairs);
                 a.stats = side.input(f.stats, 4 * pairs);
                 a.count = side.input(f.count, 1);
                 a.dout = side.normals(1);
                 a.dscores = side.result("dscores", pairs * pairs, accumulate, kSums);
                 a.pairs = pairs;
                 a.inverse_temperature = f.inverse_temperature;
                 a.is_binary = is_binary;
                 a.accumulate_dscores = accumulate;
                 return a;
               }});
        }
      }
    }
  }
}

// What is at fault: nothing, a target, or a problem's number. Then results are nobody's business.
LogisticGradient logistic_of(Side& side, int64_t rows, int64_t width, int64_t active, int64_t outputs, int fault) {
  LogisticGradient a{};
  const int64_t problems = 3;
  const int64_t classes = outputs == 1 ? 2 : outputs;
  std::vector<int32_t> target = side.random_ids(problems * rows, -1, classes);
  std::vector<int32_t> problem;
  for (int64_t i = 0; i < active; ++i) problem.push_back(static_cast<int32_t>((i + 1) % problems));
  if (fault == 1) target[static_cast<size_t>(rows + rows / 2)] = static_cast<int32_t>(classes);
  if (fault == 2) problem.back() = static_cast<int32_t>(problems);
  a.x = side.normals(rows * width);
  a.target = side.input(target);
  a.problem = side.input(problem);
  a.weight = side.normals(active * outputs * width, 0.3);
  const Judge judge = fault ? kAny : kSums;
  a.loss = side.output("loss", active * 2, judge);
  a.gradient = side.output("gradient", active * outputs * width, fault ? kAny : sums_of(rows, 0.3));
  a.scores = active % 2 == 1 ? side.output("scores", active * outputs * rows, judge) : nullptr;
  a.scratch = side.scratch<std::byte>(logistic_gradient_scratch(rows, width, active, outputs));
  a.fault = side.fault();
  a.rows = rows;
  a.width = width;
  a.problems = problems;
  a.active = active;
  a.outputs = outputs;
  return a;
}

void logistic(CaseTable& table) {
  constexpr int64_t kShapes[][3] = {{0, 3, 1},  {1, 1, 1},    {33, 3, 2},    {1000, 17, 5},
                                    {5, 64, 0}, {129, 33, 3}, {5000, 64, 2}, {9000, 5, 1}};
  for (const auto& [rows, width, active] : kShapes) {
    for (const int64_t outputs : {1, 3}) {
      for (const int fault : {0, 1, 2}) {
        if (fault && (rows < 33 || active == 0)) continue;
        table.logistic_gradient.push_back(
            {label({"rows", "width", "active", "outputs", "fault"}, rows, width, active, outputs, fault),
             [=](Side& side) { return logistic_of(side, rows, width, active, outputs, fault); }});
      }
    }
  }
}

}  // namespace

void add_loss_cases(CaseTable& table) {
  logistic(table);
  pair_contrastive(table);
  softmax_cross_entropy(table);
}

}  // namespace seqrisk::parity
