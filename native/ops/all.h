// Every op contract, for the dispatch table.
#pragma once

#include "ops/adamw.h"
#include "ops/add.h"
#include "ops/block_attention.h"
#include "ops/dropout.h"
#include "ops/field_embedding.h"
#include "ops/gated_dwconv.h"
#include "ops/gather_rows.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/logistic.h"
#include "ops/packing.h"
#include "ops/pool.h"
#include "ops/scale.h"
#include "ops/softmax_cross_entropy.h"
#include "ops/workers.h"
