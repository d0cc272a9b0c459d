// Lists the launchers. The passes of a boosting round that a card does otherwise are empty columns.
#include "kernels/cuda/kernel_table.h"

namespace seqrisk {
namespace cuda {

#define SEQRISK_KERNEL(function, Arguments) void function(const Arguments&, Launch&);
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
#define SEQRISK_CARD_KERNEL(function, Arguments) void function(const Arguments&, Launch&);
#include "ops/card_kernels.def"
#undef SEQRISK_CARD_KERNEL

const LauncherTable kLaunchers = {
    .adamw_update = adamw_update,
    .add_forward = add_forward,
    .block_attention_forward = block_attention_forward,
    .block_attention_backward = block_attention_backward,
    .dropout_forward = dropout_forward,
    .field_embedding_forward = field_embedding_forward,
    .field_embedding_backward = field_embedding_backward,
    .fixed_attention_write_forward = fixed_attention_write_forward,
    .fixed_attention_write_backward = fixed_attention_write_backward,
    .fixed_attention_read_forward = fixed_attention_read_forward,
    .fixed_attention_read_backward = fixed_attention_read_backward,
    .forest_predict = forest_predict,
    .full_attention_forward = full_attention_forward,
    .full_attention_backward = full_attention_backward,
    .gated_dwconv_forward = gated_dwconv_forward,
    .gated_dwconv_backward = gated_dwconv_backward,
    .gated_separable_conv_forward = gated_separable_conv_forward,
    .gather_rows_forward = gather_rows_forward,
    .gather_rows_backward = gather_rows_backward,
    .gbrt_bin = gbrt_bin,
    .gbrt_find = nullptr,
    .gbrt_gradient = nullptr,
    .gbrt_histogram = gbrt_histogram,
    .gbrt_partition = nullptr,
    .iforest_grow = iforest_grow,
    .iforest_score = iforest_score,
    .kmeans_assign = kmeans_assign,
    .kmeans_seed = kmeans_seed,
    .l2_normalize_forward = l2_normalize_forward,
    .l2_normalize_backward = l2_normalize_backward,
    .glu_forward = glu_forward,
    .glu_backward = glu_backward,
    .gru_forward = gru_forward,
    .gru_backward = gru_backward,
    .unfold_forward = unfold_forward,
    .unfold_backward = unfold_backward,
    .machine_peak = machine_peak,
    .machine_copy = machine_copy,
    .machine_update = machine_update,
    .random_uniform = random_uniform,
    .layer_norm_forward = layer_norm_forward,
    .layer_norm_backward = layer_norm_backward,
    .linear_forward = linear_forward,
    .linear_backward = linear_backward,
    .linear_pack = linear_pack,
    .logistic_gradient = logistic_gradient,
    .pair_contrastive_forward = pair_contrastive_forward,
    .pair_contrastive_backward = pair_contrastive_backward,
    .piecewise_linear_forward = piecewise_linear_forward,
    .piecewise_linear_backward = piecewise_linear_backward,
    .pool_forward = pool_forward,
    .pool_backward = pool_backward,
    .scale_forward = scale_forward,
    .softmax_cross_entropy_forward = softmax_cross_entropy_forward,
    .softmax_cross_entropy_backward = softmax_cross_entropy_backward,
    .gbrt_draw_rows = gbrt_draw_rows,
    .gbrt_add_leaves = gbrt_add_leaves,
    .gbrt_pack_gradients = gbrt_pack_gradients,
    .gbrt_grow = gbrt_grow,
    .gbrt_follow = gbrt_follow,
};

}  // namespace cuda
}  // namespace seqrisk
