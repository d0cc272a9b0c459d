// Streams and events of emulated cards. What CUDA leaves open of the order between streams, and between them and the
// host, is drawn from the seed: a copy or a fill is done at once, or when somebody waits for it. Kernels run when they
// are launched, behind all that their stream has before them. So one that waits for less than it needs finds old
// values.
//
// Each stream belongs to a card, and takes neither launches while another card is the thread's nor memory of another
// card.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

struct CUstream_st {
  int card;
  void (*settle)(CUstream_st*);  // does all that the stream has
  struct Queue* queue;
};

namespace emulator {

// Does what the stream has; false, with a failure recorded, where the thread's card is not the stream's. Null is the
// stream of those that name none.
bool before_launch(cudaStream_t stream);
// Does all that any stream has.
void settle_all();

// The thread's.
int card();
// Of the memory around it, or −1 for the host's. Pinned memory is the host's, too.
int card_of(const void* data);
bool is_pinned(const void* data);

}  // namespace emulator
