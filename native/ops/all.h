// Every op contract, for the dispatch table.
#pragma once

#include "ops/layer_norm.h"
#include "ops/packing.h"
#include "ops/workers.h"
