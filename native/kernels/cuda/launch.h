// What a launcher gets: the CUDA stream, the card, scratch memory, and where kernels record faults. A launcher has the
// name and the arguments of the CPU's kernel: void layer_norm_forward(const LayerNormForward&, Launch&). It enqueues
// and returns; what goes wrong is read off the launch by the stream. No type of the C++ library crosses this header:
// nvcc's host compiler and the addon's may be two.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace seqrisk {
namespace cuda {

struct Cublaslt;

// In device memory, one per stream: the first value that a kernel could not use. Pointers are of the host.
struct FaultRecord {
  int32_t claimed;
  const char* kernel;
  const char* expected;
  int64_t index;
  int64_t value;
};

class Launch {
 public:
  cudaStream_t stream = nullptr;
  int multiprocessors = 1;
  int capability = 0;            // 90 for 9.0
  size_t shared_limit = 0;       // bytes of shared memory that a block may ask for
  bool bfloat16 = false;         // matrix products round their operands to bfloat16, and sum in float32
  Cublaslt* cublaslt = nullptr;  // what multiplies bfloat16, where the device was opened with it
  FaultRecord* faults = nullptr;
  const char* kernel = "";  // the name of what is launched

  // Set where launches are recorded for later: they go to the card now, as before memory that they work on is given
  // back.
  void (*hand_over)(void* recorder) = nullptr;
  void* recorder = nullptr;

  // Device memory for this launch alone: what comes later on the stream may have the same. Null when there is none;
  // then the launcher returns at once.
  void* workspace(size_t bytes);
  template <class T>
  T* workspace_of(int64_t elements) {
    return static_cast<T*>(workspace(static_cast<size_t>(elements) * sizeof(T)));
  }
  void free_workspace();

  // For a launcher that cannot do what it was asked for: the card lacks something. The stream reports it.
  void refuse(const char* expected) { refused_ = expected; }
  // For a product that cuBLASLt did not take, with its status.
  void refuse_cublaslt(int status) { cublaslt_status_ = status; }
  // What was refused since the last call, or nulls and zeros.
  struct Refusal {
    const char* expected;
    size_t bytes;  // of a workspace that could not be had
    int cublaslt;  // its status
  };
  Refusal take_refusal() {
    const Refusal refusal{refused_, refused_bytes_, cublaslt_status_};
    refused_ = nullptr;
    refused_bytes_ = 0;
    cublaslt_status_ = 0;
    return refusal;
  }

 private:
  void* workspace_ = nullptr;
  size_t workspace_bytes_ = 0;
  size_t refused_bytes_ = 0;
  const char* refused_ = nullptr;
  int cublaslt_status_ = 0;
};

// Moves the record to pinned host memory and clears it, in order with the stream.
void take_fault(FaultRecord* from, FaultRecord* to, cudaStream_t stream);
// Writes `pattern` to `words` words.
void fill_words(uint32_t* to, uint32_t pattern, int64_t words, cudaStream_t stream);
// Records a fault unless all bytes are `pattern`.
void check_guard(const std::byte* begin, int64_t bytes, int32_t pattern, Launch& launch);

}  // namespace cuda
}  // namespace seqrisk
