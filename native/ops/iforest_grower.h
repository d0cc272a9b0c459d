// How an isolation tree is grown: one text for processors, where a worker grows a tree, and cards, where a warp does.
// Which of a node's rows come first differs between them and changes nothing: a node sees its rows as a set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/draws.h"
#include "ops/iforest_grow.h"

namespace seqrisk {
namespace {  // a copy for every source, as in both.h

constexpr uint32_t kIforestGrowStream = 0x1f1;
// Infinities stand at the ends of what differences of float64 can hold.
constexpr double kIforestEnd = 1e300;
constexpr double kIforestInfinity = __builtin_huge_val();

// Lanes that grow a tree together have all values but those of rows in common. `Lanes` is one of them:
//   kCount                how many there are
//   lane()                which this is
//   least(x), most(x)     over all lanes
//   count(flag)           of lanes with the flag: {before this one, all}
//   meet()                what a lane has written before it, all can read behind it
template <class Lanes>
class IforestGrower {
 public:
  // Tree first + `at` of the call.
  SEQRISK_EITHER_MEMBER IforestGrower(const IforestGrow& call, int64_t at, std::byte* scratch)
      : call_(call),
        values_(call.values + at * call.samples * call.features),
        draws_(call.seed, kIforestGrowStream, call.first + at),
        next_node_(static_cast<int32_t>((call.first + at) * (2 * call.samples - 1))),
        next_term_((call.first + at) * (call.samples - 1) * (call.extension + 1)),
        looked_at_(reinterpret_cast<double*>(scratch)),
        order_(reinterpret_cast<int32_t*>(looked_at_ + call.samples)),
        rows_{order_ + call.features, order_ + call.features + call.samples} {
    for (int64_t i = lanes_.lane(); i < call.samples; i += Lanes::kCount) rows_[0][i] = static_cast<int32_t>(i);
    for (int64_t f = lanes_.lane(); f < call.features; f += Lanes::kCount) order_[f] = static_cast<int32_t>(f);
    lanes_.meet();
  }

  // Works through nodes that wait, depth first.
  SEQRISK_EITHER_MEMBER void run() {
    Span open[kIforestMostLevels + 1];
    int waiting = 0;
    open[waiting++] = {next_node_++, 0, static_cast<int32_t>(call_.samples), 0};
    while (waiting > 0) {
      const Span now = open[--waiting];
      const bool may_split = now.end - now.begin > 1 && now.depth < call_.levels;
      const int32_t middle = may_split ? split(now) : now.begin;
      if (middle == now.begin) {
        leaf(now);
        continue;
      }
      open[waiting++] = {next_node_ + 1, middle, now.end, now.depth + 1};
      open[waiting++] = {next_node_, now.begin, middle, now.depth + 1};
      next_node_ += 2;
    }
  }

 private:
  // A node and its rows: rows_[depth % 2][begin … end − 1].
  struct Span {
    int32_t node, begin, end, depth;
  };
  struct Range {
    double low = kIforestInfinity;
    double high = -kIforestInfinity;
    SEQRISK_EITHER_MEMBER bool varies() const { return high > low; }
    SEQRISK_EITHER_MEMBER void add(double value) {  // NaN changes nothing
      if (value < low) low = value;
      if (value > high) high = value;
    }
  };

  SEQRISK_EITHER_MEMBER void leaf(const Span& at) {
    if (lanes_.lane() != 0) return;
    call_.nodes[at.node] = {kIforestLeaf, at.node, 0, 0};
    // One row tells nothing: its trees have depth 1, for a score of 0.5.
    const double alone = call_.samples == 1 ? 1 : 0;
    call_.depths[at.node] = static_cast<double>(at.depth) + iforest_mean_path(at.end - at.begin) + alone;
  }

  SEQRISK_EITHER_MEMBER double value(int32_t row, int64_t feature) const {
    const double v = values_[row * call_.features + feature];
    // −0 becomes 0: which of the two comes first must not tell.
    return v < -kIforestEnd ? -kIforestEnd : v > kIforestEnd ? kIforestEnd : v + 0.0;
  }
  // What a range is over all lanes.
  SEQRISK_EITHER_MEMBER Range together(const Range& own) const {
    return {lanes_.least(own.low), lanes_.most(own.high)};
  }
  SEQRISK_EITHER_MEMBER Range range_of(const Span& at, int64_t feature, bool keep) {
    const int32_t* rows = rows_[at.depth % 2];
    Range own;
    for (int32_t i = at.begin + lanes_.lane(); i < at.end; i += Lanes::kCount) {
      const double v = value(rows[i], feature);
      own.add(v);
      if (keep) looked_at_[i] = v;
    }
    return together(own);
  }

  // The next feature in random order that varies among the rows, or −1. `drawn` features were drawn before.
  SEQRISK_EITHER_MEMBER int64_t next_varying(const Span& at, int64_t& drawn, Range& range) {
    while (drawn < call_.features) {
      const int64_t chosen = drawn + draws_.below(call_.features - drawn);
      const int32_t feature = order_[chosen];
      const int32_t other = order_[drawn];
      lanes_.meet();
      if (lanes_.lane() == 0) {
        order_[chosen] = other;
        order_[drawn] = feature;
      }
      lanes_.meet();
      ++drawn;
      range = range_of(at, feature, call_.extension == 0);
      if (range.varies()) return feature;
    }
    return -1;
  }

  // Where the right child's rows begin; the node's `begin` when nothing tells its rows apart.
  SEQRISK_EITHER_MEMBER int32_t split(const Span& at) {
    Range range;
    int64_t drawn = 0;
    const int64_t feature = next_varying(at, drawn, range);
    if (feature < 0) return at.begin;
    const int64_t first = call_.extension == 0 ? feature : next_term_;
    if (call_.extension > 0) range = project(at, feature, range, drawn);
    if (!range.varies()) return at.begin;
    double threshold = range.low + draws_.uniform() * (range.high - range.low);
    threshold = threshold < range.high ? threshold : range.low;
    // Missing values go along with the known ones, as likely to a side as those.
    int32_t known = 0;
    int32_t lefts = 0;
    for (int32_t tile = at.begin; tile < at.end; tile += Lanes::kCount) {
      const int32_t i = tile + lanes_.lane();
      const bool is_row = i < at.end;
      const double v = is_row ? looked_at_[i] : 0;
      known += lanes_.count(is_row && v == v).all;
      lefts += lanes_.count(is_row && v <= threshold).all;
    }
    const bool nan_right = draws_.uniform() * static_cast<double>(known) >= static_cast<double>(lefts);
    if (lanes_.lane() == 0) {
      call_.nodes[at.node] = {threshold, next_node_, static_cast<uint32_t>(first) & 0x7fffffff, nan_right};
    }
    const int32_t middle = at.begin + lefts + (nan_right ? 0 : at.end - at.begin - known);
    part(at, threshold, nan_right, middle);
    return middle;
  }

  // Moves the rows to where the children read them.
  SEQRISK_EITHER_MEMBER void part(const Span& at, double threshold, bool nan_right, int32_t middle) {
    const int32_t* from = rows_[at.depth % 2];
    int32_t* to = rows_[(at.depth + 1) % 2];
    int32_t left = at.begin;
    int32_t right = middle;
    for (int32_t tile = at.begin; tile < at.end; tile += Lanes::kCount) {
      const int32_t i = tile + lanes_.lane();
      const bool is_row = i < at.end;
      const double v = is_row ? looked_at_[i] : 0;
      const bool goes_right = v == v ? v > threshold : nan_right;
      const auto lefts = lanes_.count(is_row && !goes_right);
      const auto rights = lanes_.count(is_row && goes_right);
      if (is_row) to[goes_right ? right + rights.before : left + lefts.before] = from[i];
      left += lefts.all;
      right += rights.all;
    }
    lanes_.meet();
  }

  // A direction over the first varying feature and others, each on the scale of its range; returns what it ranges over.
  SEQRISK_EITHER_MEMBER Range project(const Span& at, int64_t feature, Range range, int64_t drawn) {
    const int32_t* rows = rows_[at.depth % 2];
    for (int32_t i = at.begin + lanes_.lane(); i < at.end; i += Lanes::kCount) looked_at_[i] = 0;
    for (int64_t k = 0; k <= call_.extension; ++k) {
      if (k > 0 && feature >= 0) feature = next_varying(at, drawn, range);
      IforestTerm term{0, 0, 0};
      if (feature >= 0) {
        const double width = range.high - range.low;
        term = {draws_.normal() / width, range.low + width / 2, feature};
        for (int32_t i = at.begin + lanes_.lane(); i < at.end; i += Lanes::kCount) {
          const double share = term.weight * (value(rows[i], feature) - term.center);
          looked_at_[i] += share == share ? share : 0;
        }
      }
      if (lanes_.lane() == 0) call_.terms[next_term_] = term;
      ++next_term_;
    }
    Range own;
    for (int32_t i = at.begin + lanes_.lane(); i < at.end; i += Lanes::kCount) own.add(looked_at_[i]);
    return together(own);
  }

  const IforestGrow& call_;
  const Lanes lanes_{};
  const double* values_;
  Draws draws_;
  int32_t next_node_;
  int64_t next_term_;
  double* looked_at_;  // (samples): of a node's rows, what its cut looks at
  int32_t* order_;     // (features)
  int32_t* rows_[2];   // (samples) each: children read what their parent wrote to the other
};

}  // namespace
}  // namespace seqrisk
