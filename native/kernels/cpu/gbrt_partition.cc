// gbrt_partition on the CPU: stable and branch-free, each block by itself; the child's histogram is built while the
// block's bins are in cache.
#include "kernels/cpu/gbrt_cells-inl.h"
#include "ops/gbrt_tree.h"
#include "ops/workers.h"

namespace seqrisk::SEQRISK_VARIANT {
namespace {

constexpr int64_t kPartitionAhead = 64;  // rows; a row takes less than a nanosecond, memory a hundred

// Rows that go left are written from `left` on, which may be their own place; the others to `right`. Returns the
// former.
template <class Rows>
HWY_INLINE int64_t part(const uint8_t* column, int64_t stride, const uint8_t* go_left, const Rows& rows, int64_t base,
                        int64_t count, uint16_t* left, uint16_t* right) {
  int64_t lefts = 0;
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (Rows::kGathered) {
      hwy::Prefetch(column + rows[i + kPartitionAhead < count ? i + kPartitionAhead : count - 1] * stride);
    }
    const int64_t row = rows[i];
    const int64_t goes_left = go_left[column[row * stride]];
    left[lefts] = static_cast<uint16_t>(row - base);
    right[i - lefts] = static_cast<uint16_t>(row - base);
    lefts += goes_left;
  }
  return lefts;
}

HWY_INLINE void copy_offsets(uint16_t* to, const uint16_t* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

}  // namespace

void gbrt_partition(const GbrtPartition& a, Workers& workers) {
  const int64_t blocks = gbrt_blocks(a.bins.rows);
  const GbrtGroup group = a.bins.group_of(a.feature);
  const uint8_t* column = group.bins + a.feature - group.first;
  workers.run((blocks + a.blocks_per_task - 1) / a.blocks_per_task, [&](int64_t task, int worker) {
    uint16_t* right_in = a.scratch + worker * 2 * kGbrtBlockRows;
    uint16_t* right_out = right_in + kGbrtBlockRows;
    const int64_t last = (task + 1) * a.blocks_per_task < blocks ? (task + 1) * a.blocks_per_task : blocks;
    for (int64_t block = task * a.blocks_per_task; block < last; ++block) {
      const GbrtSegment all = a.parent[block];
      const int64_t base = block * kGbrtBlockRows;
      uint16_t* own = a.index + base + all.begin;
      const auto split = [&](const auto& rows, int64_t count, uint16_t* left, uint16_t* right) {
        return part(column, group.width, a.go_left, rows, base, count, left, right);
      };
      const ListedRows<uint16_t> listed{base, own};
      const int64_t in =
          a.is_identity ? split(EveryRow{base}, all.in, own, right_in) : split(listed, all.in, own, right_in);
      const ListedRows<uint16_t> others{base, own + all.in};
      const int64_t out = all.out ? split(others, all.out, own + in, right_out) : 0;
      copy_offsets(own + in + out, right_in, all.in - in);
      copy_offsets(own + in + out + all.in - in, right_out, all.out - out);
      const GbrtSegment left{all.begin, static_cast<uint16_t>(in), static_cast<uint16_t>(out)};
      const GbrtSegment right{static_cast<uint16_t>(all.begin + in + out), static_cast<uint16_t>(all.in - in),
                              static_cast<uint16_t>(all.out - out)};
      a.parent[block] = left;
      a.right[block] = right;
      int64_t weight = in;
      if (a.whole_weights) {
        weight = 0;
        for (int64_t i = 0; i < in; ++i) weight += static_cast<int64_t>(a.whole_weights[base + own[i]]);
      }
      a.left_weight[block] = weight;
      if (a.build == 0) continue;
      const GbrtSegment child = a.build == 1 ? left : right;
      add_rows(a.bins, a.packed, a.shift, ListedRows<uint16_t>{base, a.index + base + child.begin}, child.in,
               weight_bound(a.weight_bounds, block, child.in), a.cells.of(worker));
    }
  });
}

}  // namespace seqrisk::SEQRISK_VARIANT
