#include "bindings/gbrt_options.h"

#include <cmath>
#include <string>

#include "bindings/args.h"
#include "bindings/host_array.h"

namespace seqrisk {
namespace {

constexpr double kMost = kGbrtMostOption;

const std::string kWhere = "[GbrtTrainer] expected ";

// Reads the options in the order in which lib/ops/gbrt_trainer.ts lists them.
class Numbers {
 public:
  explicit Numbers(const Napi::Value& value) {
    if (!value.IsArray()) throw Error::type(kWhere + "a list of options but received " + describe(value));
    list_ = value.As<Napi::Array>();
  }
  double number(const char* name, double low, double high) {
    const Napi::Value value = list_.Get(next_++);
    const double given = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
    if (given >= low && given <= high) return given;
    throw Error::range(kWhere + name + " in [" + bound(low) + ", " + bound(high) + "] but received " + describe(value));
  }
  int64_t integer(const char* name, int64_t low, int64_t high) {
    const double given = number(name, static_cast<double>(low), static_cast<double>(high));
    if (given == std::trunc(given)) return static_cast<int64_t>(given);
    throw Error::range(kWhere + name + " to be an integer but received " + std::to_string(given));
  }

 private:
  static std::string bound(double value) {
    if (value >= kMost) return "∞";
    if (value == std::trunc(value)) return std::to_string(static_cast<int64_t>(value));
    return std::to_string(value);
  }

  Napi::Array list_;
  uint32_t next_ = 0;
};

}  // namespace

GbrtOptions gbrt_options_of(const Napi::Value& value) {
  constexpr int64_t kLarge = int64_t{1} << 31;
  Numbers numbers(value);
  GbrtOptions o;
  o.objective = static_cast<GbrtObjective>(numbers.integer("objective", 0, 3));
  o.classes = numbers.integer("numClass", 1, 4096);
  o.num_leaves = numbers.integer("numLeaves", 2, 131072);
  o.max_depth = numbers.integer("maxDepth", -1, kLarge);
  o.learning_rate = numbers.number("learningRate", 1e-300, kMost);
  o.min_data_in_leaf = numbers.number("minDataInLeaf", 0, static_cast<double>(kLarge));
  o.min_hessian = numbers.number("minSumHessianInLeaf", 0, kMost);
  o.min_gain = numbers.number("minGainToSplit", 0, kMost);
  o.lambda_l1 = numbers.number("lambdaL1", 0, kMost);
  o.lambda_l2 = numbers.number("lambdaL2", 0, kMost);
  o.bagging_fraction = numbers.number("baggingFraction", 1e-9, 1);
  o.bagging_freq = numbers.integer("baggingFreq", 0, kLarge);
  o.feature_fraction = numbers.number("featureFraction", 1e-9, 1);
  o.seed = static_cast<uint64_t>(numbers.integer("seed", 0, (int64_t{1} << 53) - 1));
  o.max_cat_threshold = numbers.integer("maxCatThreshold", 1, 255);
  o.max_cat_to_onehot = numbers.integer("maxCatToOnehot", 1, 255);
  o.cat_l2 = numbers.number("catL2", 0, kMost);
  o.cat_smooth = numbers.number("catSmooth", 0, kMost);
  o.min_data_per_group = numbers.integer("minDataPerGroup", 1, kLarge);
  o.boost_from_average = numbers.integer("boostFromAverage", 0, 1) != 0;
  o.feature_fraction_by_node = numbers.number("featureFractionBynode", 1e-9, 1);
  o.forest = numbers.integer("forest", 0, 1) != 0;
  o.max_delta_step = numbers.number("maxDeltaStep", 0, kMost);
  if (o.forest && o.objective != GbrtObjective::squared) {
    throw Error::range(kWhere + "objective squared for a forest but received another one");
  }
  if (o.forest) {
    o.bagging_freq = 0;
    o.learning_rate = 1;
    o.boost_from_average = true;
    o.max_delta_step = 0;
    return o;
  }
  if (o.objective == GbrtObjective::softmax ? o.classes < 2 : o.objective != GbrtObjective::custom && o.classes != 1) {
    throw Error::range(kWhere + "numClass of at least 2 for softmax, 1 for squared and logistic, but received " +
                       std::to_string(o.classes));
  }
  if (o.bagging_fraction == 1) o.bagging_freq = 0;
  return o;
}

std::vector<int8_t> gbrt_monotone_of(const Napi::Value& value, const std::vector<GbrtFeature>& features) {
  const auto count = static_cast<int64_t>(features.size());
  const uint8_t* signs = host_bytes(value, count, kWhere + "monotone constraints as ");
  std::vector<int8_t> result;
  for (int64_t f = 0; f < count; ++f) {
    if (signs[f] > 2) {
      throw Error::range(kWhere + "monotone constraints from 0 to 2 but received " + std::to_string(signs[f]));
    }
    if (signs[f] != 0 && features[static_cast<size_t>(f)].kind == GbrtKind::categorical) {
      throw Error::range(kWhere + "monotone constraints on columns of numbers but received one on categories, column " +
                         std::to_string(f));
    }
    result.push_back(static_cast<int8_t>(signs[f] == 2 ? -1 : signs[f]));
  }
  return result;
}

}  // namespace seqrisk
