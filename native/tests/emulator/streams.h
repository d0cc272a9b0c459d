// Streams and events of emulated cards. What CUDA leaves open of the order between streams, and between them and the
// host, is drawn from the seed: a copy or a fill is done at once, when some more have come, or when somebody waits for
// it, as who frees memory does. Kernels run when they are launched, behind all that their stream has before them. So
// one that waits for less than it needs finds old values.
//
// Each stream belongs to a card, and takes launches only while the card is the thread's. Stricter than CUDA, it copies
// and fills no memory of another card: this project never means to. What a kernel reads is not looked at.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

struct CUstream_st {
  int card;
  // Does all that the stream has. A pointer, as the stand-in for cuBLASLt is a library of its own.
  void (*settle)(CUstream_st*);
  struct Queue* queue;
};

namespace emulator {

// Does what the stream has; false, with a failure recorded, where the thread's card is not the stream's. Null is the
// stream of those that name none.
bool before_launch(cudaStream_t stream);
// Does all that the streams of a card have; with −1 those of all.
void settle_card(int card);

// The thread's.
int card();
// Of the memory around it, or −1 for the host's. Pinned memory is the host's, too.
int card_of(const void* data);
bool is_pinned(const void* data);

}  // namespace emulator
