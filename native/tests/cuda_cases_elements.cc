// Cases of the ops that treat every element or row alike: no sums, or short ones.
#include <cmath>
#include <limits>

#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

constexpr int64_t kCounts[] = {0, 1, 3, 4, 1023, 4096, 100003};

void add(CaseTable& table) {
  for (const int64_t count : kCounts) {
    for (const bool alias : {false, true}) {
      table.add_forward.push_back({label({"count", "alias"}, count, alias), [=](Side& side) {
                                     AddForward a{};
                                     // A residual stream and what is added to it, or two alike.
                                     a.a_stored = count % 2 == 0 ? side.stored() : Storage::float32;
                                     a.b_stored = side.stored();
                                     a.b = side.activations(count);
                                     a.out = side.result("out", count, alias, kSame, a.a_stored);
                                     a.a = alias ? a.out : side.input(side.random(count), a.a_stored);
                                     a.count = count;
                                     return a;
                                   }});
    }
  }
}

void scale(CaseTable& table) {
  for (const int64_t count : kCounts) {
    for (const bool accumulate : {false, true}) {
      table.scale_forward.push_back({label({"count", "accumulate"}, count, accumulate), [=](Side& side) {
                                       ScaleForward a{};
                                       a.x_stored = count % 3 == 0 ? Storage::float32 : side.stored();
                                       a.out_stored = count % 2 == 0 ? Storage::float32 : side.stored();
                                       a.x = side.input(side.random(count), a.x_stored);
                                       a.out = side.result("out", count, accumulate, kElements, a.out_stored);
                                       a.count = count;
                                       a.factor = -0.37f;
                                       a.accumulate = accumulate;
                                       return a;
                                     }});
    }
  }
  table.scale_forward.push_back({"in place", [](Side& side) {
                                   const Storage stored = side.stored();
                                   float* both = side.added("out", 1023, kElements, stored);
                                   return ScaleForward{both, both, 1023, 3.5f, false, stored, stored};
                                 }});
}

void dropout(CaseTable& table) {
  constexpr uint64_t kOffsets[] = {0, 1, 3, (uint64_t{1} << 34) - 2, 12345};
  int64_t i = 0;
  for (const int64_t count : kCounts) {
    for (const float rate : {0.0f, 0.1f, 0.5f, 0.99f}) {
      const uint64_t offset = kOffsets[i % 5];
      const bool accumulate = ++i % 2 == 0;
      table.dropout_forward.push_back(
          {label({"count", "rate", "offset", "accumulate"}, count, rate, offset, accumulate), [=](Side& side) {
             DropoutForward a{};
             a.stored = side.stored();
             a.x = side.activations(count);
             a.out = side.result("out", count, accumulate, kElements, a.stored);
             a.count = count;
             a.rate = rate;
             a.seed = 0x1234567890abcdefULL;
             a.offset = offset;
             a.accumulate = accumulate;
             return a;
           }});
    }
  }
}

void random_uniform(CaseTable& table) {
  for (const int64_t count : kCounts) {
    table.random_uniform.push_back({label({"count"}, count), [=](Side& side) {
                                      return RandomUniform{side.output("out", count, kSame), count, 0.3f, 99, 7};
                                    }});
  }
}

void glu(CaseTable& table) {
  constexpr int64_t kShapes[][2] = {{0, 8}, {1, 1}, {3, 5}, {300, 1}, {64, 64}, {1000, 100}, {7, 1023}};
  for (const auto& [rows, width] : kShapes) {
    table.glu_forward.push_back({label({"rows", "width"}, rows, width), [=](Side& side) {
                                   GluForward a{};
                                   a.stored = side.stored();
                                   a.x = side.activations(rows * 2 * width, 3);
                                   a.out = side.output("out", rows * width, kElements, a.stored);
                                   a.rows = rows;
                                   a.width = width;
                                   return a;
                                 }});
    for (const bool accumulate : {false, true}) {
      table.glu_backward.push_back({label({"rows", "width", "accumulate"}, rows, width, accumulate), [=](Side& side) {
                                      GluBackward a{};
                                      a.stored = side.stored();
                                      a.x = side.activations(rows * 2 * width, 3);
                                      a.dout = side.activations(rows * width);
                                      a.dx = side.result("dx", rows * 2 * width, accumulate, kElements, a.stored);
                                      a.rows = rows;
                                      a.width = width;
                                      a.accumulate_dx = accumulate;
                                      return a;
                                    }});
    }
  }
}

// Half of the picks are of one row, and most others of few.
std::vector<int32_t> skewed_index_of(Side& side, int64_t count, int64_t rows) {
  std::vector<int32_t> index = side.random_ids(count, 0, rows);
  for (int32_t& row : index) {
    if (side.pick(0, 2) == 0) {
      row = static_cast<int32_t>(rows / 2);
    } else if (side.pick(0, 4) > 0) {
      row %= 10;
    }
  }
  return index;
}

std::vector<int32_t> index_of(Side& side, int64_t count, int64_t rows, bool at_fault) {
  std::vector<int32_t> index = side.random_ids(count, 0, rows);
  if (at_fault) index[static_cast<size_t>(count / 2)] = static_cast<int32_t>(rows);
  return index;
}

void gather_rows(CaseTable& table) {
  constexpr int64_t kShapes[][3] = {{1, 1, 1},     {5, 0, 3},    {7, 100, 3},     {100, 1000, 64}, {50, 333, 17},
                                    {1000, 10, 8}, {3, 5000, 4}, {2000, 3000, 1}, {5000, 700, 36}};
  for (const auto& [rows, count, width] : kShapes) {
    for (const bool at_fault : {false, true}) {
      if (at_fault && count == 0) continue;
      const std::string shape = label({"rows", "count", "width", "fault"}, rows, count, width, at_fault);
      table.gather_rows_forward.push_back({shape, [=](Side& side) {
                                             GatherRowsForward a{};
                                             a.x = side.normals(rows * width);
                                             a.index = side.input(index_of(side, count, rows, at_fault));
                                             a.out = side.output("out", count * width, kSame);
                                             a.rows = rows;
                                             a.count = count;
                                             a.width = width;
                                             a.fault = side.fault();
                                             return a;
                                           }});
      for (const bool accumulate : {false, true}) {
        if (count <= rows) {
          table.gather_rows_backward.push_back(
              {shape + ", ascending, " + label({"accumulate"}, accumulate), [=](Side& side) {
                 GatherRowsBackward a{};
                 std::vector<int32_t> index;
                 for (int64_t i = 0; i < count; ++i) index.push_back(static_cast<int32_t>(i * rows / count));
                 if (at_fault) index.back() = static_cast<int32_t>(rows);
                 a.index = side.input(index);
                 a.dout = side.normals(count * width);
                 a.dx = side.result("dx", rows * width, accumulate, kSums);
                 a.scratch = side.scratch<int32_t>(gather_rows_backward_scratch(rows, count));
                 a.rows = rows;
                 a.count = count;
                 a.width = width;
                 a.accumulate_dx = accumulate;
                 a.ascending = true;
                 a.fault = side.fault();
                 return a;
               }});
        }
        table.gather_rows_backward.push_back({shape + ", " + label({"accumulate"}, accumulate), [=](Side& side) {
                                                GatherRowsBackward a{};
                                                a.index = side.input(index_of(side, count, rows, at_fault));
                                                a.dout = side.normals(count * width);
                                                a.dx = side.result("dx", rows * width, accumulate, kSums);
                                                a.scratch =
                                                    side.scratch<int32_t>(gather_rows_backward_scratch(rows, count));
                                                a.rows = rows;
                                                a.count = count;
                                                a.width = width;
                                                a.accumulate_dx = accumulate;
                                                a.fault = side.fault();
                                                return a;
                                              }});
      }
    }
  }
}

// Rows that have no pick, one, and so many that stretches of picks are theirs alone. Digits of a byte sort them: one to
// three.
void gather_rows_skewed(CaseTable& table) {
  constexpr int64_t kShapes[][3] = {
      {20, 30000, 5}, {5000, 9000, 132}, {70000, 30000, 4}, {256, 3000, 8}, {257, 3000, 8}};
  for (const auto& [rows, count, width] : kShapes) {
    for (const bool accumulate : {false, true}) {
      table.gather_rows_backward.push_back(
          {label({"skewed: rows", "count", "width", "accumulate"}, rows, count, width, accumulate), [=](Side& side) {
             GatherRowsBackward a{};
             a.index = side.input(skewed_index_of(side, count, rows));
             a.dout = side.normals(count * width);
             // Sums of up to 15 000 terms: √3 times the error of 5 000.
             a.dx = side.result("dx", rows * width, accumulate, {kSums.tolerance * 2});
             a.scratch = side.scratch<int32_t>(gather_rows_backward_scratch(rows, count));
             a.rows = rows;
             a.count = count;
             a.width = width;
             a.accumulate_dx = accumulate;
             a.fault = side.fault();
             return a;
           }});
    }
  }
}

void machine(CaseTable& table) {
  for (const int64_t count : kCounts) {
    table.machine_copy.push_back({label({"count"}, count), [=](Side& side) {
                                    side.align();
                                    return MachineCopy{side.normals(count), side.output("out", count, kSame), count};
                                  }});
  }
  for (const int64_t tasks : {1, 3, 17}) {
    for (const int64_t rounds : {1, 10}) {
      const std::string name = label({"tasks", "rounds"}, tasks, rounds);
      table.machine_peak.push_back({name, [=](Side& side) {
                                      return MachinePeak{side.output("sums", tasks * kMachineFloatsMax, kWritten),
                                                         side.output("multiply_adds", 1, kWritten), tasks, rounds};
                                    }});
      table.machine_update.push_back(
          {name, [=](Side& side) { return MachineUpdate{side.output_ids("sums", tasks, kWritten), tasks, rounds}; }});
    }
  }
}

struct AdamwProblem {
  const char* name;
  std::vector<int64_t> sizes;
  float max_norm;
  int64_t step;
  bool zero_gradients;
  float spoiled;  // stands in the last gradient, unless 0
};

AdamwUpdate adamw_of(Side& side, const AdamwProblem& p) {
  AdamwUpdate a{};
  std::vector<AdamwTensor> tensors;
  for (size_t i = 0; i < p.sizes.size(); ++i) {
    AdamwTensor tensor{};
    tensor.size = p.sizes[i];
    std::vector<float> gradient = side.random(tensor.size);
    std::vector<float> v = side.random(tensor.size);
    for (float& value : v) value *= value;
    if (p.spoiled != 0 && i + 1 == p.sizes.size()) gradient.back() = p.spoiled;
    tensor.value = side.added("value", tensor.size, kElements);
    tensor.gradient = side.changed("gradient", gradient, kElements);
    tensor.m = side.added("m", tensor.size, kElements);
    tensor.v = side.changed("v", v, kElements);
    tensor.first_task = a.tasks;
    tensor.decay = i % 2 == 0;
    a.tasks += adamw_tasks(tensor.size);
    tensors.push_back(tensor);
  }
  a.count = static_cast<int64_t>(tensors.size());
  a.tensors = side.keep(std::move(tensors));
  a.norm = side.output("norm", 1, kElements);
  a.scratch = side.scratch<double>(adamw_update_scratch(a.tasks));
  a.lr = 0.01f;
  a.beta1 = 0.9f;
  a.beta2 = 0.99f;
  a.eps = 1e-8f;
  a.weight_decay = 0.1f;
  a.max_norm = p.max_norm;
  a.step = p.step;
  a.zero_gradients = p.zero_gradients;
  return a;
}

void adamw(CaseTable& table) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  const AdamwProblem problems[] = {
      {"one element", {1}, kInfinite, 1, false, 0},
      {"no tensors", {}, kInfinite, 1, false, 0},
      {"no elements", {0, 0}, 1, 1, true, 0},
      {"mixed sizes, clipped", {3, 0, 16384, 16385, 100, 0}, 0.5f, 2, true, 0},
      {"many tensors", std::vector<int64_t>(107, 7), 1e6f, 1000, true, 0},
      {"a large one", {300001}, 10, 3, false, 0},
      {"an infinite gradient", {40, 5}, 1, 3, true, kInfinite},
      {"a gradient that is no number", {40, 5}, kInfinite, 3, true, std::nanf("")},
  };
  for (const AdamwProblem& p : problems) {
    table.adamw_update.push_back({p.name, [=](Side& side) { return adamw_of(side, p); }});
  }
}

}  // namespace

void add_element_cases(CaseTable& table) {
  adamw(table);
  add(table);
  dropout(table);
  gather_rows(table);
  gather_rows_skewed(table);
  glu(table);
  machine(table);
  random_uniform(table);
  scale(table);
}

}  // namespace seqrisk::parity
