// Every op contract, for the dispatch table.
#pragma once

#include "ops/gated_dwconv.h"
#include "ops/layer_norm.h"
#include "ops/logistic.h"
#include "ops/packing.h"
#include "ops/workers.h"
