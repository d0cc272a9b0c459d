// pair_contrastive on the CPU. Pairs of one entity become −inf as they are loaded, which e^s, sigmoid and softplus all
// turn into nothing; the diagonal is one of them, and is added by hand.
#include "ops/pair_contrastive.h"

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;
using IdTag = hn::RebindToSigned<Tag>;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(Tag()));
// Terms summed in one float before they go on to the next sum.
constexpr int64_t kChunk = 64;

int64_t at_most(int64_t a, int64_t limit) {
  return a < limit ? a : limit;
}
float larger(float a, float b) {
  return a > b ? a : b;
}

// A scalar through the vector functions, so that diagonals get the bits that vectors would give them.
template <class F>
HWY_INLINE float scalar(float x, F f) {
  return hn::GetLane(f(hn::Set(hn::CappedTag<float, 1>(), x)));
}

// Scaled scores of up to kLanes pairs, −inf where the entities agree and behind the n pairs.
HWY_INLINE Vec negatives(const float* scores, const int32_t* entity, int32_t own, float scale, int64_t n) {
  const Tag d;
  const IdTag di;
  const bool is_whole = n == kLanes;
  const Vec s = hn::Mul(is_whole ? hn::LoadU(d, scores) : load_first(d, scores, n), hn::Set(d, scale));
  const auto other = is_whole ? hn::LoadU(di, entity) : load_first(di, entity, n);
  const auto is_same = hn::RebindMask(d, hn::Eq(other, hn::Set(di, own)));
  const auto is_inside = hn::FirstN(d, static_cast<size_t>(n));
  return hn::IfThenElse(hn::AndNot(is_same, is_inside), s, hn::Set(d, -__builtin_inff()));
}

// The sum of f over the row's negatives.
template <class F>
HWY_INLINE double sum_over_row(const float* scores, const int32_t* entity, int32_t own, float scale, int64_t pairs,
                               F f) {
  const Tag d;
  double sum = 0.0;
  for (int64_t begin = 0; begin < pairs; begin += kChunk * kLanes) {
    const int64_t end = at_most(begin + kChunk * kLanes, pairs);
    Vec part = hn::Zero(d);
    for (int64_t j = begin; j < end; j += kLanes) {
      part = hn::Add(part, f(negatives(scores + j, entity + j, own, scale, at_most(end - j, kLanes))));
    }
    sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, part)));
  }
  return sum;
}

struct RowSums {
  double diagonal = 0.0;
  double beside = 0.0;
  double correct = 0.0;
  double count = 0.0;
};

void add_row(const PairContrastiveForward& a, int64_t i, RowSums& sums) {
  const Tag d;
  const float* scores = a.scores + i * a.pairs;
  const int32_t own = a.entity[i];
  const float s = scores[i] * a.inverse_temperature;
  Vec top = hn::Set(d, -__builtin_inff());
  for (int64_t j = 0; j < a.pairs; j += kLanes) {
    const int64_t n = at_most(a.pairs - j, kLanes);
    top = hn::Max(top, negatives(scores + j, a.entity + j, own, a.inverse_temperature, n));
  }
  const float top_negative = hn::GetLane(hn::MaxOfLanes(d, top));
  sums.correct += s > top_negative ? 1.0 : 0.0;
  int64_t count = 0;
  for (int64_t j = 0; j < a.pairs; ++j) count += a.entity[j] != own;
  sums.count += static_cast<double>(count);
  const auto each = [&](auto f) { return sum_over_row(scores, a.entity, own, a.inverse_temperature, a.pairs, f); };
  if (a.is_binary) {
    sums.diagonal += static_cast<double>(scalar(-s, [](auto x) { return softplus(x); }));
    sums.beside += each([](Vec x) { return softplus(x); });
    return;
  }
  const float row_max = larger(s, top_negative);
  const Vec row_max_v = hn::Set(d, row_max);
  const double sum = static_cast<double>(scalar(s - row_max, [](auto x) { return exp_nonpositive(x); })) +
                     each([&](Vec x) { return exp_nonpositive(hn::Sub(x, row_max_v)); });
  a.stats[i] = row_max;
  a.stats[a.pairs + i] = static_cast<float>(sum);
  sums.diagonal += static_cast<double>(scalar(static_cast<float>(sum), [](auto x) { return log_positive(x); })) -
                   (static_cast<double>(s) - static_cast<double>(row_max));
}

// Maximum and sum of up to kLanes columns that start at j.
void column_stats(const PairContrastiveForward& a, int64_t j, int64_t n) {
  const Tag d;
  HWY_ALIGN float diagonal[kLanes] = {};
  for (int64_t lane = 0; lane < n; ++lane) {
    diagonal[lane] = a.scores[(j + lane) * a.pairs + j + lane] * a.inverse_temperature;
  }
  const auto row = [&](int64_t i) {
    return negatives(a.scores + i * a.pairs + j, a.entity + j, a.entity[i], a.inverse_temperature, n);
  };
  const Vec s = hn::Load(d, diagonal);
  Vec top = s;
  for (int64_t i = 0; i < a.pairs; ++i) top = hn::Max(top, row(i));
  Vec sum = exp_nonpositive(hn::Sub(s, top));
  for (int64_t begin = 0; begin < a.pairs; begin += kChunk) {
    const int64_t end = at_most(begin + kChunk, a.pairs);
    Vec part = hn::Zero(d);
    for (int64_t i = begin; i < end; ++i) part = hn::Add(part, exp_nonpositive(hn::Sub(row(i), top)));
    sum = hn::Add(sum, part);
  }
  store_first(top, d, a.stats + 2 * a.pairs + j, n);
  store_first(sum, d, a.stats + 3 * a.pairs + j, n);
}

double column_loss(const PairContrastiveForward& a, int64_t begin, int64_t end) {
  double loss = 0.0;
  for (int64_t j = begin; j < end; ++j) {
    const float s = a.scores[j * a.pairs + j] * a.inverse_temperature;
    const float log_sum = scalar(a.stats[3 * a.pairs + j], [](auto x) { return log_positive(x); });
    loss += static_cast<double>(log_sum) - (static_cast<double>(s) - static_cast<double>(a.stats[2 * a.pairs + j]));
  }
  return loss;
}

// dscores of one row: `slope` of the negatives, `own` of the diagonal.
template <class Slope>
HWY_INLINE void write_row(const PairContrastiveBackward& a, int64_t i, float own, Slope slope) {
  const Tag d;
  float* out = a.dscores + i * a.pairs;
  const float before = out[i];
  for (int64_t j = 0; j < a.pairs; j += kLanes) {
    const int64_t n = at_most(a.pairs - j, kLanes);
    const Vec s = negatives(a.scores + i * a.pairs + j, a.entity + j, a.entity[i], a.inverse_temperature, n);
    Vec value = slope(s, j, n);
    if (n == kLanes) {
      if (a.accumulate_dscores) value = hn::Add(value, hn::LoadU(d, out + j));
      hn::StoreU(value, d, out + j);
    } else {
      if (a.accumulate_dscores) value = hn::Add(value, load_first(d, out + j, n));
      store_first(value, d, out + j, n);
    }
  }
  out[i] = a.accumulate_dscores ? before + own : own;
}

}  // namespace

void pair_contrastive_forward(const PairContrastiveForward& a, Workers& workers) {
  const int64_t row_tasks = pair_contrastive_row_tasks(a.pairs);
  const int64_t column_tasks = a.is_binary ? 0 : pair_contrastive_column_tasks(a.pairs);
  workers.run(row_tasks + column_tasks, [&](int64_t task, int) {
    if (task < row_tasks) {
      RowSums sums;
      const int64_t begin = task * kPairContrastiveRowsPerTask;
      const int64_t end = at_most(begin + kPairContrastiveRowsPerTask, a.pairs);
      for (int64_t i = begin; i < end; ++i) add_row(a, i, sums);
      double* partial = a.scratch + task * 4;
      partial[0] = sums.diagonal;
      partial[1] = sums.beside;
      partial[2] = sums.correct;
      partial[3] = sums.count;
      return;
    }
    const int64_t begin = (task - row_tasks) * kPairContrastiveColumnsPerTask;
    const int64_t end = at_most(begin + kPairContrastiveColumnsPerTask, a.pairs);
    for (int64_t j = begin; j < end; j += kLanes) column_stats(a, j, at_most(end - j, kLanes));
    a.scratch[3 * row_tasks + task] = column_loss(a, begin, end);
  });
  RowSums sums;
  for (int64_t task = 0; task < row_tasks; ++task) {
    sums.diagonal += a.scratch[task * 4];
    sums.beside += a.scratch[task * 4 + 1];
    sums.correct += a.scratch[task * 4 + 2];
    sums.count += a.scratch[task * 4 + 3];
  }
  for (int64_t task = 0; task < column_tasks; ++task) sums.diagonal += a.scratch[4 * row_tasks + task];
  double loss = 0.0;
  if (a.pairs > 0) loss += 0.5 * sums.diagonal / static_cast<double>(a.pairs);
  if (sums.count > 0.0) loss += 0.5 * sums.beside / sums.count;
  a.loss[0] = static_cast<float>(loss);
  a.correct[0] = static_cast<float>(sums.correct);
  a.count[0] = static_cast<float>(sums.count);
}

void pair_contrastive_backward(const PairContrastiveBackward& a, Workers& workers) {
  const Tag d;
  const float half = 0.5f * a.dout[0] * a.inverse_temperature;
  const float share = half / static_cast<float>(a.pairs);
  const float share_beside = a.count[0] > 0.0f ? half / a.count[0] : 0.0f;
  workers.run(pair_contrastive_row_tasks(a.pairs), [&](int64_t task, int) {
    const int64_t begin = task * kPairContrastiveRowsPerTask;
    const int64_t end = at_most(begin + kPairContrastiveRowsPerTask, a.pairs);
    for (int64_t i = begin; i < end; ++i) {
      const float s = a.scores[i * a.pairs + i] * a.inverse_temperature;
      if (a.is_binary) {
        const float own = -share * scalar(-s, [](auto x) { return sigmoid(x); });
        const Vec share_v = hn::Set(d, share_beside);
        write_row(a, i, own, [&](Vec x, int64_t, int64_t) { return hn::Mul(sigmoid(x), share_v); });
        continue;
      }
      const float* column_max = a.stats + 2 * a.pairs;
      const float* column_sum = a.stats + 3 * a.pairs;
      const float row_max = a.stats[i];
      const float row_sum = a.stats[a.pairs + i];
      const auto exp_of = [](auto x) { return exp_nonpositive(x); };
      const float in_row = scalar(s - row_max, exp_of) / row_sum;
      const float in_column = scalar(s - column_max[i], exp_of) / column_sum[i];
      const float own = share * ((in_row - 1.0f) + (in_column - 1.0f));
      const Vec row_max_v = hn::Set(d, row_max);
      const Vec row_scale = hn::Set(d, 1.0f / row_sum);
      const Vec share_v = hn::Set(d, share);
      write_row(a, i, own, [&](Vec x, int64_t j, int64_t n) {
        const bool is_whole = n == kLanes;
        const Vec top = is_whole ? hn::LoadU(d, column_max + j) : load_first(d, column_max + j, n);
        const Vec sum = is_whole ? hn::LoadU(d, column_sum + j) : load_first(d, column_sum + j, n);
        const Vec row_part = hn::Mul(exp_nonpositive(hn::Sub(x, row_max_v)), row_scale);
        const Vec column_part = hn::Div(exp_nonpositive(hn::Sub(x, top)), sum);
        return hn::Mul(hn::Add(row_part, column_part), share_v);
      });
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
