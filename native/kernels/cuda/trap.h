// Fault injection for tests.
#pragma once

namespace seqrisk {
namespace cuda {

// Starts a kernel that fails, as one that reaches for memory which is not its own.
void trap();

}  // namespace cuda
}  // namespace seqrisk
