// What becomes of the sums of a row's leaves, for processors and cards.
#pragma once

#include "ops/both.h"
#include "ops/forest_predict.h"
#include "ops/same_math.h"

namespace seqrisk {

SEQRISK_BOTH void forest_transform(const ForestPredict& a, double* out) {
  switch (a.transform) {
    case ForestTransform::raw:
      break;
    case ForestTransform::sigmoid:
      for (int64_t k = 0; k < a.classes; ++k) out[k] = 1.0 / (1.0 + same_exp(-a.sigmoid * out[k]));
      break;
    case ForestTransform::softmax: {
      double most = out[0];
      for (int64_t k = 1; k < a.classes; ++k) most = out[k] > most ? out[k] : most;
      double sum = 0;
      for (int64_t k = 0; k < a.classes; ++k) sum += out[k] = same_exp(out[k] - most);
      for (int64_t k = 0; k < a.classes; ++k) out[k] /= sum;
      break;
    }
    case ForestTransform::average:
      for (int64_t k = 0; k < a.classes; ++k) out[k] /= static_cast<double>(a.trees / a.classes);
      break;
  }
}

}  // namespace seqrisk
