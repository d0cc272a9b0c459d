// One registration function per file of this folder; addon.cc calls them all.
#pragma once

#include <napi.h>

namespace seqrisk {

void register_adamw(Napi::Object& exports);
void register_add(Napi::Object& exports);
void register_binned_matrix(Napi::Object& exports);
void register_binned_saved(Napi::Object& exports);
void register_block_attention(Napi::Object& exports);
void register_dropout(Napi::Object& exports);
void register_field_embedding(Napi::Object& exports);
void register_fixed_attention(Napi::Object& exports);
void register_forest_predict(Napi::Object& exports);
void register_forest_shap(Napi::Object& exports);
void register_full_attention(Napi::Object& exports);
void register_gated_dwconv(Napi::Object& exports);
void register_gated_separable_conv(Napi::Object& exports);
void register_gather_rows(Napi::Object& exports);
void register_gbrt_histogram(Napi::Object& exports);
void register_gbrt_trainer(Napi::Object& exports);
void register_gbrt_watch(Napi::Object& exports);
void register_isolation_forest(Napi::Object& exports);
void register_kmeans(Napi::Object& exports);
void register_l2_normalize(Napi::Object& exports);
void register_layer_norm(Napi::Object& exports);
void register_glu(Napi::Object& exports);
void register_gru(Napi::Object& exports);
void register_unfold(Napi::Object& exports);
void register_machine(Napi::Object& exports);
void register_random_uniform(Napi::Object& exports);
void register_linear(Napi::Object& exports);
void register_logistic(Napi::Object& exports);
void register_pair_contrastive(Napi::Object& exports);
void register_piecewise_linear(Napi::Object& exports);
void register_philox(Napi::Object& exports);
void register_pool(Napi::Object& exports);
void register_scale(Napi::Object& exports);
void register_softmax_cross_entropy(Napi::Object& exports);
void register_stream(Napi::Object& exports);
void register_tensor(Napi::Object& exports);

}  // namespace seqrisk
