// kmeans_assign and kmeans_seed on the CPU. Lanes are centres, so that each distance is one chain of sums over the
// features; four rows share each load of the centres.
#include "ops/kmeans.h"

#include <math.h>

#include "kernels/cpu/variant.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr float kFar = __builtin_huge_valf();
constexpr int kTogether = 4;

template <int kRows>
struct RowCount {
  static constexpr int value = kRows;
};

struct Nearest {
  float best;    // squared
  float second;  // squared
  int32_t center;
};

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using DI = hn::RebindToSigned<D>;

// Squared distances of rows to the lanes from `first` on. No fused multiply-adds.
template <int kRows>
HWY_INLINE void distances(const float* const* rows, int64_t features, const float* centers, int64_t padded,
                          V (&out)[kRows]) {
  const D d;
  for (int i = 0; i < kRows; ++i) out[i] = hn::Zero(d);
  for (int64_t f = 0; f < features; ++f) {
    const V center = hn::LoadU(d, centers + f * padded);
    for (int i = 0; i < kRows; ++i) {
      const V difference = hn::Sub(hn::Set(d, rows[i][f]), center);
      out[i] = hn::Add(out[i], hn::Mul(difference, difference));
    }
  }
}

template <int kRows>
void nearest(const KmeansAssign& a, const float* const* rows, Nearest* out) {
  const D d;
  const DI di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V best[kRows];
  V second[kRows];
  hn::Vec<DI> index[kRows];
  for (int i = 0; i < kRows; ++i) {
    best[i] = hn::Set(d, kFar);
    second[i] = hn::Set(d, kFar);
    index[i] = hn::Zero(di);
  }
  for (int64_t k = 0; k < a.clusters; k += lanes) {
    V distance[kRows];
    distances<kRows>(rows, a.features, a.centers + k, a.padded, distance);
    const auto here = hn::Iota(di, static_cast<int32_t>(k));
    const auto real = hn::RebindMask(d, hn::Lt(here, hn::Set(di, static_cast<int32_t>(a.clusters))));
    for (int i = 0; i < kRows; ++i) {
      const V value = hn::IfThenElse(real, distance[i], hn::Set(d, kFar));
      const auto closer = hn::Lt(value, best[i]);
      second[i] = hn::Min(second[i], hn::Max(value, best[i]));
      best[i] = hn::Min(value, best[i]);
      index[i] = hn::IfThenElse(hn::RebindMask(di, closer), here, index[i]);
    }
  }
  for (int i = 0; i < kRows; ++i) {
    const float least = hn::GetLane(hn::MinOfLanes(d, best[i]));
    const auto has_least = hn::Eq(best[i], hn::Set(d, least));
    const auto most = hn::Set(di, INT32_MAX);
    const int32_t center =
        hn::GetLane(hn::MinOfLanes(di, hn::IfThenElse(hn::RebindMask(di, has_least), index[i], most)));
    const auto is_it = hn::And(has_least, hn::RebindMask(d, hn::Eq(index[i], hn::Set(di, center))));
    const V others = hn::IfThenElse(is_it, hn::Set(d, kFar), best[i]);
    out[i] = {least, hn::GetLane(hn::MinOfLanes(d, hn::Min(others, second[i]))), center};
  }
}

void add_row(const KmeansAssign& a, int64_t r, double* sums, int64_t* counts) {
  const float* row = a.values + r * a.features;
  double* to = sums + a.assigned[r] * a.features;
  for (int64_t f = 0; f < a.features; ++f) to[f] += static_cast<double>(row[f]);
  ++counts[a.assigned[r]];
}

template <int kRows>
void settle(const KmeansAssign& a, const int64_t* rows, int64_t* changed) {
  const float* values[kRows];
  Nearest found[kRows];
  for (int i = 0; i < kRows; ++i) values[i] = a.values + rows[i] * a.features;
  nearest<kRows>(a, values, found);
  for (int i = 0; i < kRows; ++i) {
    const int64_t r = rows[i];
    *changed += a.assigned[r] != found[i].center;
    a.assigned[r] = found[i].center;
    a.upper[r] = sqrtf(found[i].best) * (1 + a.slack);
    a.lower[r] = sqrtf(found[i].second) * (1 - a.slack);
  }
}

}  // namespace

void kmeans_assign(const KmeansAssign& a, Workers& workers) {
  const int64_t tasks = (a.rows + kKmeansTaskRows - 1) / kKmeansTaskRows;
  workers.run(a.parts, [&](int64_t part, int) {
    double* sums = a.sums + part * a.clusters * a.features;
    int64_t* counts = a.counts + part * a.clusters;
    for (int64_t i = 0; i < a.clusters * a.features; ++i) sums[i] = 0;
    for (int64_t i = 0; i < a.clusters; ++i) counts[i] = 0;
    for (int64_t task = tasks * part / a.parts; task < tasks * (part + 1) / a.parts; ++task) {
      const int64_t first = task * kKmeansTaskRows;
      const int64_t end = first + kKmeansTaskRows < a.rows ? first + kKmeansTaskRows : a.rows;
      int64_t changed = 0;
      int64_t waiting[kTogether];
      int count = 0;
      for (int64_t r = first; r < end; ++r) {
        if (a.moved && kmeans_stays(a, r)) continue;
        waiting[count++] = r;
        if (count < kTogether) continue;
        settle<kTogether>(a, waiting, &changed);
        count = 0;
      }
      for (int i = 0; i < count; ++i) settle<1>(a, waiting + i, &changed);
      a.changed[task] = changed;
      for (int64_t r = first; r < end; ++r) add_row(a, r, sums, counts);
    }
  });
}

void kmeans_seed(const KmeansSeed& a, Workers& workers) {
  const int64_t tasks = (a.rows + kKmeansTaskRows - 1) / kKmeansTaskRows;
  workers.run(tasks, [&](int64_t task, int) {
    const D d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    const int64_t first = task * kKmeansTaskRows;
    const int64_t end = first + kKmeansTaskRows < a.rows ? first + kKmeansTaskRows : a.rows;
    double potential[kKmeansLanes] = {};
    const auto rows = [&](int64_t r, auto size) {
      constexpr int kRows = decltype(size)::value;
      const float* values[kRows];
      HWY_ALIGN float distance[kRows][kKmeansLanes];
      for (int i = 0; i < kRows; ++i) values[i] = a.values + (r + i) * a.features;
      for (int64_t k = 0; k < a.count; k += lanes) {
        V squared[kRows];
        distances<kRows>(values, a.features, a.candidates + k, kKmeansLanes, squared);
        for (int i = 0; i < kRows; ++i) hn::StoreU(squared[i], d, distance[i] + k);
      }
      for (int i = 0; i < kRows; ++i) {
        const float closest = a.closest[r + i];
        for (int64_t k = 0; k < a.count; ++k) {
          potential[k] += static_cast<double>(distance[i][k] < closest ? distance[i][k] : closest);
        }
        if (a.update && distance[i][0] < closest) a.closest[r + i] = distance[i][0];
      }
    };
    int64_t r = first;
    for (; r + kTogether <= end; r += kTogether) rows(r, RowCount<kTogether>{});
    for (; r < end; ++r) rows(r, RowCount<1>{});
    for (int64_t k = 0; k < kKmeansLanes; ++k) a.potentials[task * kKmeansLanes + k] = potential[k];
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
