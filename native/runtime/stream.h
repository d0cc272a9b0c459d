// An in-order queue of work on one device. Commands run off the caller's thread; only completions report back. The CPU
// stream stands in cpu_stream.h; a CUDA stream implements the same interface.
// All methods are called on the thread that owns the stream (a JavaScript thread), but for the completions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/allocator.h"
#include "runtime/error.h"
#include "runtime/kernel_table.h"

namespace seqrisk {

// Called on the stream's own thread when the queue has reached it, with the first error since the last completion.
using Completion = std::function<void(const std::optional<Error>& error)>;

class ThreadPool;

// What a task on a card's stream may ask of the card; all of it happens in the order of the calls.
class Card {
 public:
  // Pointers of the arguments are read before this returns, unless they are the card's.
  template <class Arguments>
  void launch(Kernel kernel, const Arguments& arguments) {
    launch_bytes(kernel, &arguments);
  }
  template <class Arguments>
  void launch(CardKernel kernel, const Arguments& arguments) {
    launch_bytes(kernel, &arguments);
  }
  // The host bytes may change when it returns.
  virtual void upload(void* card, const void* host, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  virtual void clear(void* card, size_t bytes) = 0;
  // Waits. False when the card or a launch failed: the task ends then, and the stream reports it.
  virtual bool download(void* host, const void* card, size_t bytes) = 0;

 protected:
  ~Card() = default;
  virtual void launch_bytes(Kernel kernel, const void* arguments) = 0;
  virtual void launch_bytes(CardKernel kernel, const void* arguments) = 0;
};

// Host code that orders kernels by itself, such as a training loop. It polls workers.cancelled() between kernels: after
// a cancel they leave their work undone. What it returns is reported as a kernel's fault would be.
struct HostContext {
  const KernelTable& kernels;  // the processor's
  ThreadPool& workers;
  Card* card = nullptr;  // on a card's stream
};
using HostTask = std::function<std::optional<Error>(HostContext& context)>;

enum class Precision { float32, bfloat16 };  // of the operands of matrix products

struct StreamOptions {
  int threads = 1;
  Precision precision = Precision::float32;
  std::string variant;             // empty: $SEQRISK_VARIANT or the best supported
  size_t memory_limit = SIZE_MAX;  // bytes
  bool guard = false;              // poison fresh memory with NaN and check guard bytes behind every buffer
};

class Stream {
 public:
  virtual ~Stream() = default;

  virtual const char* device() const = 0;
  virtual const char* variant() const = 0;
  virtual int threads() const = 0;
  virtual bool has_scratch() const { return true; }    // whether kernels get scratch memory from their caller
  virtual bool has_bfloat16() const { return false; }  // whether activations may be stored so

  virtual Block* allocate(size_t bytes, const char* where) = 0;
  virtual void release(Block* block) = 0;

  // Enqueues a kernel. The arguments are copied; `keep` lives until the kernel has run.
  template <class Arguments>
  void submit(Kernel kernel, const Arguments& arguments, std::shared_ptr<const void> keep = nullptr) {
    static_assert(std::is_trivially_copyable_v<Arguments>);
    submit_bytes(kernel, &arguments, sizeof(Arguments), std::move(keep));
  }

  // The host bytes are copied before the call returns. Neither an error before it nor a cancel skips it.
  virtual void upload(std::byte* device, const void* host, size_t bytes) = 0;
  // `host` must stay valid until the completion is called.
  virtual void download(void* host, const std::byte* device, size_t bytes, Completion done) = 0;
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;
  virtual void fill(std::byte* device, uint32_t pattern, size_t words) = 0;
  virtual void fence(Completion done) = 0;
  // Without a completion, what goes wrong is reported by the next one.
  virtual void run(HostTask task, Completion done) = 0;

  // Where kernels report values that they cannot use.
  virtual Fault* fault() = 0;

  // Skips everything that was submitted so far; its completions get an error with code ABORTED.
  virtual void cancel() = 0;
  // Cancels, waits for the running command and refuses further work.
  virtual void close() = 0;
  virtual bool closed() const = 0;

  virtual AllocatorStats memory() const = 0;
  virtual uint64_t graphs() const { return 0; }  // CUDA graphs so far
  virtual void fail_allocation(uint64_t after) = 0;

 protected:
  virtual void submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) = 0;
};

}  // namespace seqrisk
