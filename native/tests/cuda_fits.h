// Whole fits of boosted trees and forests on a card against the CPU's: what checks the passes of a round that a card
// alone has (ops/card_kernels.def), which the CPU has no twins of.
#pragma once

namespace seqrisk::parity {

// Prints what came of them; false where a model, a loss or a score has other bits. `quick` leaves out tables of more
// than one block of rows.
bool check_fits(bool quick);

}  // namespace seqrisk::parity
