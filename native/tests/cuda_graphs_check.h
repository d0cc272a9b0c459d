// Streams of a card that hand launches over in graphs, against those that do it one by one.
#pragma once

#include "runtime/stream.h"

namespace seqrisk::parity {

// Prints what came of them; false where results have other bits, where nothing went into a graph, or an error is not
// told as it should be.
bool check_graphs(Precision precision);

}  // namespace seqrisk::parity
