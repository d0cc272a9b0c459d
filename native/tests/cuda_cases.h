// The cases of cuda_parity: for every kernel of ops/kernels.def, problems to solve on both sides.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "tests/parity_side.h"

namespace seqrisk::parity {

template <class Arguments>
struct Case {
  std::string label;
  std::function<Arguments(Side&)> build;
  bool always = false;  // --quick takes it whatever its size
};

struct CaseTable {
#define SEQRISK_KERNEL(function, Arguments) std::vector<Case<Arguments>> function;
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
};

void add_element_cases(CaseTable& table);
void add_field_cases(CaseTable& table);
void add_row_cases(CaseTable& table);
void add_linear_cases(CaseTable& table);
void add_loss_cases(CaseTable& table);
void add_attention_cases(CaseTable& table);
void add_convolution_cases(CaseTable& table);
void add_tree_cases(CaseTable& table);

// "rows 3, width 5"
template <class... Values>
std::string label(std::initializer_list<const char*> names, Values... values) {
  std::string text;
  auto name = names.begin();
  ((text += (text.empty() ? "" : ", ") + std::string(*name++) + " " + std::to_string(values)), ...);
  return text;
}

// Batches with empty sequences, without events, without sequences, with one long sequence, with many short ones.
struct Batch {
  const char* name;
  std::vector<int32_t> lengths;
};

inline std::vector<int32_t> short_lengths(int32_t sequences) {
  std::vector<int32_t> lengths;
  for (int32_t i = 0; i < sequences; ++i) lengths.push_back(i * 5 % 8);
  return lengths;
}

inline std::vector<Batch> batches(int32_t longest = 777) {
  return {{"one event", {1}},      {"mixed", {5, 0, 3, 1, 70, 131, 0}}, {"no events", {0, 0, 0}}, {"no sequences", {}},
          {"one long", {longest}}, {"many short", short_lengths(300)}};
}

}  // namespace seqrisk::parity
