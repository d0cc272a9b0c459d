// Cases of what trees have on a card. The passes of a boosting round that a card alone has are checked by whole fits:
// cuda_fits.cc. Everything here has the CPU's very bits.
#include <algorithm>
#include <limits>

#include "tests/cuda_cases.h"

namespace seqrisk::parity {
namespace {

// Raw values and bounds stand in host memory on both sides; every third column is one of categories.
template <class T>
GbrtBinColumn column_of(Side& side, int64_t rows, bool categories) {
  std::vector<T> values;
  std::vector<T> bounds;
  GbrtBinColumn column{};
  const int64_t number = side.pick(1, kGbrtBounds);
  for (int64_t i = 0; i < number; ++i) bounds.push_back(static_cast<T>(categories ? 2 * i : side.pick(-500, 500)));
  std::sort(bounds.begin(), bounds.end());
  for (int64_t row = 0; row < 2 * rows; ++row) {
    values.push_back(row % 17 == 0 ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(side.pick(-600, 600)));
  }
  bounds.resize(static_cast<size_t>(kGbrtBounds), std::numeric_limits<T>::infinity());
  if (categories) {
    std::vector<uint8_t> bin_of(static_cast<size_t>(kGbrtBounds));
    for (uint8_t& bin : bin_of) bin = static_cast<uint8_t>(side.pick(0, 256));
    column.bin_of = side.keep(std::move(bin_of));
  }
  column.values = side.keep(std::move(values));
  column.bounds = side.keep(std::move(bounds));
  column.stride = 2;
  column.last = static_cast<uint8_t>(number - 1);
  column.nan = 255;
  column.is_double = sizeof(T) == 8;
  return column;
}

GbrtBin bin_of(Side& side, int64_t rows, int64_t features) {
  GbrtBin a{};
  std::vector<GbrtBinColumn> columns;
  auto* out = side.output_of<uint8_t>("out", rows * features);
  for (int64_t f = 0; f < features; ++f) {
    columns.push_back(f % 2 == 0 ? column_of<float>(side, rows, f % 3 == 2)
                                 : column_of<double>(side, rows, f % 3 == 2));
    columns.back().out = out + f;
    columns.back().out_stride = features;
  }
  a.columns = side.keep(std::move(columns));
  a.rows = rows;
  a.features = features;
  return a;
}

enum class Rows { all, listed, at_fault };

GbrtHistogram histogram_of(Side& side, int64_t rows, int64_t features, Rows kind, int64_t most_weight) {
  side.align();  // 64-bit integers
  GbrtHistogram a{};
  std::vector<uint8_t> bins(static_cast<size_t>(rows * features));
  for (uint8_t& bin : bins) bin = static_cast<uint8_t>(side.pick(0, side.pick(0, 2) ? 256 : 3));
  std::vector<int64_t> packed(static_cast<size_t>(rows));
  for (int64_t& value : packed) {
    const int64_t weight = side.pick(1, most_weight + 1);
    value = weight * side.pick(-(1 << 20), (1 << 20) + 1) * (int64_t{1} << kGbrtGeneral.shift);
    value += weight * side.pick(0, (1 << 17) + 1);
  }
  a.bins = {side.input(bins), rows, features};
  a.packed = side.input(packed);
  a.count = rows;
  if (kind != Rows::all) {
    a.count = rows / 2 + 1;
    std::vector<int32_t> index = side.random_ids(a.count, 0, rows);
    if (kind == Rows::at_fault) index[static_cast<size_t>(a.count / 2)] = -3;
    a.row_index = side.input(index);
  }
  a.shift = kGbrtGeneral.shift;
  a.most_weight = most_weight;
  // The CPU leaves a whole block of listed rows out when one is at fault.
  a.out = side.output_of<int64_t>("out", features * 2 * kGbrtCells, kind == Rows::at_fault ? kAny : kSame);
  const int64_t words = GbrtCellMemory::words(features) * side.workers();
  a.cells = {side.scratch<int64_t>(static_cast<size_t>(words) * sizeof(int64_t)), features, side.workers()};
  if (a.cells.base) std::fill_n(a.cells.base, words, 0);
  a.fault = side.fault();
  return a;
}

// Half of the values of a float64 input are NaN or beyond all thresholds now and then.
template <class T>
const void* values_of(Side& side, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) {
    value = side.pick(0, 13) == 0 ? std::numeric_limits<T>::quiet_NaN() : static_cast<T>(side.pick(-600, 600)) / 64;
  }
  return side.input(values);
}

constexpr int64_t kForestTrees = 6;

// Trees of random shapes over numbers, categories and missing values of every kind.
ForestPredict forest_of(Side& side, int64_t rows, int64_t features, int64_t classes, int64_t leaves_each,
                        ForestTransform transform, bool is_double, bool by_columns) {
  side.align();
  ForestPredict a{};
  std::vector<ForestNode> nodes;
  std::vector<int32_t> roots;
  std::vector<double> leaves;
  std::vector<uint32_t> bits(4);
  for (uint32_t& word : bits) word = static_cast<uint32_t>(side.pick(0, int64_t{1} << 32));
  for (int64_t tree = 0; tree < kForestTrees; ++tree) {
    const auto first = static_cast<int32_t>(nodes.size());
    const auto first_leaf = static_cast<int32_t>(leaves.size());
    roots.push_back(leaves_each > 1 ? first : -1 - first_leaf);
    for (int64_t i = 0; i < leaves_each; ++i) leaves.push_back(static_cast<double>(side.pick(-500, 500)) / 7);
    // A chain with leaves at its sides: the deepest that there is.
    for (int32_t i = 0; i + 1 < leaves_each; ++i) {
      ForestNode node{};
      node.feature = static_cast<int32_t>(side.pick(0, features));
      node.threshold = static_cast<double>(side.pick(-500, 500)) / 64;
      node.missing = static_cast<ForestMissing>(side.pick(0, 3));
      node.nan_left = side.pick(0, 2) == 1;
      node.is_category = side.pick(0, 5) == 0;
      if (node.is_category) {
        node.threshold = static_cast<double>(side.pick(0, 3));
        node.words = static_cast<uint16_t>(side.pick(0, 2));
      }
      const int32_t leaf = -1 - (first_leaf + i);
      const int32_t next = i + 2 < leaves_each ? first + i + 1 : -1 - (first_leaf + i + 1);
      const bool is_left = side.pick(0, 2) == 1;
      node.left = is_left ? next : leaf;
      node.right = is_left ? leaf : next;
      nodes.push_back(node);
    }
  }
  a.all_nodes = static_cast<int64_t>(nodes.size());
  a.all_leaves = static_cast<int64_t>(leaves.size());
  a.all_words = static_cast<int64_t>(bits.size());
  a.nodes = side.keep(std::move(nodes));
  a.roots = side.keep(std::move(roots));
  a.leaves = side.keep(std::move(leaves));
  a.category_bits = side.keep(std::move(bits));
  a.trees = kForestTrees;
  a.classes = classes;
  a.transform = transform;
  a.sigmoid = 0.7;
  a.is_double = is_double;
  a.values = is_double ? values_of<double>(side, rows * features) : values_of<float>(side, rows * features);
  a.row_stride = by_columns ? 1 : features;
  a.feature_stride = by_columns ? rows : 1;
  a.rows = rows;
  a.features = features;
  a.out = reinterpret_cast<double*>(side.output_of<int64_t>("out", rows * classes));
  return a;
}

// Values that tie, some of them zeros of both signs, and some that are missing or infinite; the last column is
// constant.
IforestGrow growing_of(Side& side, int64_t count, int64_t samples, int64_t features, int64_t extension,
                       bool constant = false) {
  side.align();
  IforestGrow a{};
  a.first = count < 5 ? 0 : 2;
  a.count = count;
  a.samples = samples;
  a.features = features;
  a.extension = extension;
  while (int64_t{1} << a.levels < samples) ++a.levels;
  a.seed = static_cast<uint64_t>(side.pick(0, int64_t{1} << 50));
  std::vector<double> values(static_cast<size_t>(count * samples * features));
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t kind = side.pick(0, 40);
    values[i] = static_cast<double>(side.pick(-90, 91)) / 16;
    if (kind < 5) values[i] = std::numeric_limits<double>::quiet_NaN();
    if (kind == 5) values[i] = std::numeric_limits<double>::infinity();
    if (kind == 6) values[i] = -std::numeric_limits<double>::infinity();
    const auto column = static_cast<int64_t>(i) % features;
    if (column == 1) values[i] = kind < 20 ? -0.0 : kind < 30 ? 0.0 : std::numeric_limits<double>::denorm_min();
    if (column == 2 || constant) values[i] = 7;
  }
  a.values = side.input(values);
  a.scratch = side.scratch<std::byte>(iforest_grow_bytes(a) * static_cast<size_t>(side.workers()));
  const int64_t nodes = (a.first + count) * (2 * samples - 1);
  const int64_t terms = extension > 0 ? (a.first + count) * (samples - 1) * (extension + 1) : 0;
  const auto words = [](size_t bytes) { return static_cast<int64_t>(bytes / sizeof(int64_t)); };
  a.nodes = reinterpret_cast<IforestNode*>(side.output_of<int64_t>("nodes", nodes * words(sizeof(IforestNode))));
  a.depths = reinterpret_cast<double*>(side.output_of<int64_t>("depths", nodes));
  a.terms = reinterpret_cast<IforestTerm*>(side.output_of<int64_t>("terms", terms * words(sizeof(IforestTerm))));
  return a;
}

IforestScore scoring_of(Side& side, int64_t rows, int64_t features, int64_t terms, bool is_double) {
  side.align();
  IforestScore a{};
  constexpr int64_t kLevels = 5;
  constexpr int32_t kInner = (1 << kLevels) - 1;
  std::vector<IforestNode> nodes;
  std::vector<double> depths;
  std::vector<IforestTerm> list;
  a.trees = 7;
  a.nodes_per_tree = 2 * kInner + 1;
  for (int64_t tree = 0; tree < a.trees; ++tree) {
    const auto root = static_cast<int32_t>(nodes.size());
    for (int32_t i = 0; i < a.nodes_per_tree; ++i) {
      IforestNode node{};
      const bool is_leaf = i >= kInner;
      node.left = is_leaf ? root + i : root + 2 * i + 1;
      node.threshold =
          is_leaf ? std::numeric_limits<double>::infinity() : static_cast<double>(side.pick(-500, 500)) / 64;
      node.nan_right = !is_leaf && side.pick(0, 2) == 1;
      node.feature = static_cast<uint32_t>(is_leaf     ? 0
                                           : terms > 0 ? static_cast<int64_t>(list.size())
                                                       : side.pick(0, features)) &
                     0x7fffffffu;
      for (int64_t k = 0; !is_leaf && k < terms; ++k) {
        list.push_back({static_cast<double>(side.pick(-9, 10)) / 3, static_cast<double>(side.pick(-9, 10)) / 7,
                        side.pick(0, features)});
      }
      nodes.push_back(node);
      depths.push_back(static_cast<double>(side.pick(1, 90)) / 11);
    }
  }
  a.nodes = side.input(nodes);
  a.depths = side.input(depths);
  a.terms = terms > 0 ? side.input(list) : nullptr;
  a.terms_per_node = std::max<int64_t>(1, terms);
  a.levels = kLevels;
  a.per_depth = 0.1;
  a.is_double = is_double;
  a.values = is_double ? values_of<double>(side, rows * features) : values_of<float>(side, rows * features);
  a.row_stride = features;
  a.feature_stride = 1;
  a.rows = rows;
  a.features = features;
  a.scratch = side.scratch<double>(static_cast<size_t>(side.workers() * features * kIforestTileRows) * sizeof(double));
  a.out = reinterpret_cast<double*>(side.output_of<int64_t>("out", rows));
  return a;
}

int64_t tasks_of(int64_t rows) {
  return (rows + kKmeansTaskRows - 1) / kKmeansTaskRows;
}

KmeansAssign kmeans_of(Side& side, int64_t rows, int64_t features, int64_t clusters, int64_t parts, bool has_bounds) {
  side.align();
  KmeansAssign a{};
  a.rows = rows;
  a.features = features;
  a.clusters = clusters;
  a.padded = (clusters + kKmeansLanes - 1) / kKmeansLanes * kKmeansLanes;
  a.parts = parts;
  a.values = side.normals(rows * features);
  a.centers = side.normals(features * a.padded);
  a.slack = 1e-5F;
  std::vector<float> upper(static_cast<size_t>(rows));
  std::vector<float> lower(static_cast<size_t>(rows));
  std::vector<int32_t> assigned(static_cast<size_t>(rows));
  for (size_t r = 0; r < upper.size(); ++r) {
    upper[r] = static_cast<float>(side.pick(0, 1000)) / 500;
    lower[r] = static_cast<float>(side.pick(0, 1000)) / 300;
    assigned[r] = static_cast<int32_t>(side.pick(0, clusters));
  }
  if (has_bounds) {
    std::vector<float> moved(static_cast<size_t>(clusters), 0.125F);
    moved[0] = 0.25F;
    a.moved = side.input(moved);
    a.apart = side.input(std::vector<float>(static_cast<size_t>(clusters), 0.5F));
    a.second_farthest = 0.125F;
  }
  a.upper = side.changed("upper", upper, kSame);
  a.lower = side.changed("lower", lower, kSame);
  a.assigned = side.changed_ids("assigned", assigned, kSame);
  a.changed = side.output_of<int64_t>("changed", tasks_of(rows));
  a.sums = reinterpret_cast<double*>(side.output_of<int64_t>("sums", parts * clusters * features));
  a.counts = side.output_of<int64_t>("counts", parts * clusters);
  return a;
}

KmeansSeed seed_of(Side& side, int64_t rows, int64_t features, int64_t count, bool update) {
  side.align();
  KmeansSeed a{};
  a.rows = rows;
  a.features = features;
  a.count = count;
  a.update = update;
  a.values = side.normals(rows * features);
  a.candidates = side.normals(features * kKmeansLanes);
  std::vector<float> closest(static_cast<size_t>(rows));
  for (float& value : closest) value = static_cast<float>(side.pick(1, 4000)) / 100;
  a.closest = side.changed("closest", closest, kSame);
  a.potentials = reinterpret_cast<double*>(side.output_of<int64_t>("potentials", tasks_of(rows) * kKmeansLanes));
  return a;
}

}  // namespace

void add_tree_cases(CaseTable& table) {
  constexpr int64_t kShapes[][2] = {{0, 3}, {1, 1}, {7, 5}, {513, 16}, {1000, 17}, {9000, 33}, {20000, 2}};
  for (const auto& [rows, features] : kShapes) {
    const std::string shape = label({"rows", "features"}, rows, features);
    table.gbrt_bin.push_back({shape, [=](Side& side) { return bin_of(side, rows, features); }});
    for (const Rows kind : {Rows::all, Rows::listed, Rows::at_fault}) {
      if (kind != Rows::all && rows == 0) continue;
      for (const int64_t most_weight : {int64_t{1}, int64_t{100}, kGbrtMostPending}) {
        table.gbrt_histogram.push_back(
            {shape + ", " + label({"rows listed", "most_weight"}, static_cast<int>(kind), most_weight),
             [=](Side& side) { return histogram_of(side, rows, features, kind, most_weight); }});
      }
    }
  }
  for (const auto& [rows, features] : kShapes) {
    if (rows == 0) continue;
    const std::string shape = label({"rows", "features"}, rows, features);
    for (const bool wide : {false, true}) {
      const std::string kind = shape + (wide ? ", float64" : ", float32");
      for (const int64_t leaves : {1, 2, 31, 100}) {
        for (const int64_t classes : {1, 3}) {
          for (const ForestTransform transform :
               {ForestTransform::raw, ForestTransform::sigmoid, ForestTransform::softmax, ForestTransform::average}) {
            table.forest_predict.push_back(
                {kind + ", " + label({"leaves", "classes", "transform"}, leaves, classes, static_cast<int>(transform)),
                 [=](Side& side) {
                   return forest_of(side, rows, features, classes, leaves, transform, wide, leaves == 31);
                 }});
          }
        }
      }
      for (const int64_t terms : {0, 1, 3}) {
        table.iforest_score.push_back({kind + ", " + label({"terms"}, terms),
                                       [=](Side& side) { return scoring_of(side, rows, features, terms, wide); }});
      }
    }
    for (const int64_t clusters : {1, 7, 16, 100}) {
      for (const bool has_bounds : {false, true}) {
        const int64_t parts = std::min<int64_t>(tasks_of(rows), 5);
        table.kmeans_assign.push_back(
            {shape + ", " + label({"clusters", "bounds"}, clusters, static_cast<int>(has_bounds)),
             [=](Side& side) { return kmeans_of(side, rows, features, clusters, parts, has_bounds); }});
      }
    }
    for (const int64_t count : {1, 5, 16}) {
      table.kmeans_seed.push_back({shape + ", " + label({"candidates"}, count),
                                   [=](Side& side) { return seed_of(side, rows, features, count, count == 1); }});
    }
  }
  // From a tree of one row on.
  constexpr int64_t kSamples[][2] = {{1, 1}, {1, 3}, {2, 1}, {3, 2}, {33, 1}, {64, 17}, {256, 28}, {300, 5}};
  for (const auto& [samples, features] : kSamples) {
    for (const int64_t count : {1, 5}) {
      for (int64_t extension = 0; extension < std::min<int64_t>(features, 3); ++extension) {
        table.iforest_grow.push_back(
            {label({"trees", "samples", "features", "extension"}, count, samples, features, extension),
             [=](Side& side) { return growing_of(side, count, samples, features, extension); }});
      }
    }
  }
  for (const int64_t extension : {0, 1}) {
    table.iforest_grow.push_back({label({"scratch memory of no block's own, extension"}, extension),
                                  [=](Side& side) { return growing_of(side, 3, 2950, 2, extension); }, true});
    table.iforest_grow.push_back({label({"rows alike, extension"}, extension),
                                  [=](Side& side) { return growing_of(side, 2, 40, 3, extension, true); }});
  }
  table.iforest_grow.push_back({"no trees", [](Side& side) { return growing_of(side, 0, 7, 2, 1); }});
  table.kmeans_assign.push_back(
      {"rows too wide for shared memory", [](Side& side) { return kmeans_of(side, 700, 300, 9, 2, true); }});
}

}  // namespace seqrisk::parity
