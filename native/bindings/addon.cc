// The module: its state per environment and its exports, typed by binding.d.ts.
#include <napi.h>

#include "bindings/bindings.h"
#include "bindings/environment.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  seqrisk::Environment::attach(env);
  seqrisk::register_adamw(exports);
  seqrisk::register_add(exports);
  seqrisk::register_binned_matrix(exports);
  seqrisk::register_binned_saved(exports);
  seqrisk::register_block_attention(exports);
  seqrisk::register_dropout(exports);
  seqrisk::register_field_embedding(exports);
  seqrisk::register_fixed_attention(exports);
  seqrisk::register_forest_predict(exports);
  seqrisk::register_forest_shap(exports);
  seqrisk::register_full_attention(exports);
  seqrisk::register_gated_dwconv(exports);
  seqrisk::register_gated_separable_conv(exports);
  seqrisk::register_gather_rows(exports);
  seqrisk::register_gbrt_histogram(exports);
  seqrisk::register_gbrt_trainer(exports);
  seqrisk::register_gbrt_watch(exports);
  seqrisk::register_isolation_forest(exports);
  seqrisk::register_kmeans(exports);
  seqrisk::register_l2_normalize(exports);
  seqrisk::register_layer_norm(exports);
  seqrisk::register_glu(exports);
  seqrisk::register_gru(exports);
  seqrisk::register_unfold(exports);
  seqrisk::register_machine(exports);
  seqrisk::register_random_uniform(exports);
  seqrisk::register_linear(exports);
  seqrisk::register_logistic(exports);
  seqrisk::register_pair_contrastive(exports);
  seqrisk::register_piecewise_linear(exports);
  seqrisk::register_philox(exports);
  seqrisk::register_pool(exports);
  seqrisk::register_scale(exports);
  seqrisk::register_softmax_cross_entropy(exports);
  seqrisk::register_stream(exports);
  seqrisk::register_tensor(exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(seqrisk, init)
