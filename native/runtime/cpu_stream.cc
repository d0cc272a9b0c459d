#include "runtime/cpu_stream.h"

#include <cstring>
#include <new>

namespace seqrisk {
namespace {

// The worker looks this often for the next command before it sleeps; see thread_pool.cc.
constexpr int kSpinsBeforeSleep = 2000;

// In guard mode a buffer stands between two zones of this pattern, and its own bytes start as it: a float of these
// bits is a NaN.
constexpr std::byte kPoison{0xff};
constexpr size_t kGuardBytes = 64;

}  // namespace

CpuStream::CpuStream(const StreamOptions& options)
    : table_(choose_cpu_variant(options.variant)),
      guard_(options.guard),
      allocator_(memory_, options.memory_limit),
      pool_(options.threads) {
  worker_ = start_thread([this] { work(); });
}

CpuStream::~CpuStream() {
  close();
}

Block* CpuStream::allocate(size_t bytes, const char* where) {
  Block* block = allocator_.allocate(guard_ ? bytes + 2 * kGuardBytes : bytes, clock(), where);
  block->used = bytes;
  block->offset = guard_ ? kGuardBytes : 0;
  if (guard_) {
    enqueue({[block] { std::memset(block->data, static_cast<int>(kPoison), block->bytes); }, nullptr, true});
  }
  return block;
}

void CpuStream::release(Block* block) {
  if (guard_) {
    // By value: the block may belong to another buffer by the time this runs, but its memory does not change before.
    enqueue({[this, data = block->data, used = block->used, bytes = block->bytes] {
               const auto intact = [&](size_t begin, size_t end) {
                 for (size_t i = begin; i < end; ++i) {
                   if (data[i] != kPoison) return false;
                 }
                 return true;
               };
               if (error_) return;
               if (!intact(0, kGuardBytes) || !intact(kGuardBytes + used, bytes)) {
                 error_ =
                     Error::coded("GUARD", "[guard] expected the bytes around a buffer of " + std::to_string(used) +
                                               " bytes to be untouched but received a write; a kernel overruns");
               }
             },
             nullptr, true});
  }
  allocator_.release(block, clock());
}

void CpuStream::enqueue(Command command) {
  // Closed by code of the caller that ran while the arguments were read: nothing runs any more, but nobody may wait.
  if (closed_) {
    if (command.done)
      command.done(Error::coded("CLOSED", "[stream] expected an open stream but received a closed one"));
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(command));
    ++submitted_;
  }
  pending_.fetch_add(1, std::memory_order_release);
  wake_.notify_one();
}

void CpuStream::work() {
  for (;;) {
    for (int spins = 0; spins < kSpinsBeforeSleep && pending_.load(std::memory_order_acquire) == 0; ++spins) {
      spin_pause();
    }
    Command command;
    bool skip;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      command = std::move(queue_.front());
      queue_.pop_front();
      skip = completed_.load(std::memory_order_relaxed) < cancelled_through_;
      running_ = !skip;
    }
    pending_.fetch_sub(1, std::memory_order_relaxed);
    if (command.work && (command.always || (!skip && !error_))) command.work();
    {
      const std::lock_guard lock(mutex_);
      running_ = false;
      skip = completed_.load(std::memory_order_relaxed) < cancelled_through_;
      pool_.reset_cancel();
    }
    if (command.done) {
      if (skip) {
        command.done(Error::coded("ABORTED", "[stream] expected to finish but received a cancel; start again"));
      } else {
        command.done(error_);
      }
      error_.reset();
    }
    command = {};  // what it keeps alive goes before it counts as completed
    completed_.fetch_add(1, std::memory_order_release);
  }
}

void CpuStream::submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) {
  const auto* begin = static_cast<const std::byte*>(arguments);
  enqueue({[this, kernel, copy = std::vector<std::byte>(begin, begin + bytes), keep = std::move(keep)] {
             run_kernel(kernel, copy.data());
           },
           nullptr});
}

void CpuStream::run_kernel(Kernel kernel, const void* arguments) {
  const char* name = "";
  switch (kernel) {
#define SEQRISK_KERNEL(function, Arguments)                            \
  case Kernel::function:                                               \
    name = #function;                                                  \
    table_.function(*static_cast<const Arguments*>(arguments), pool_); \
    break;
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
    case Kernel::count:
      break;
  }
  if (fault_.recorded.load(std::memory_order_acquire)) {
    error_ = Error::range("[" + std::string(name) + "] expected " + fault_.expected + " but received " +
                          std::to_string(fault_.value) + " at index " + std::to_string(fault_.index));
    fault_.recorded.store(false, std::memory_order_relaxed);
    fault_.claimed.clear();
  }
}

// Always: kernels trust offsets, which were checked when they were handed in. Skipped, they would be what the memory
// held before, and work after the error or the cancel would follow them anywhere.
void CpuStream::upload(std::byte* device, const void* host, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(host);
  enqueue({[device, staged = std::vector<std::byte>(begin, begin + bytes)] {
             if (!staged.empty()) std::memcpy(device, staged.data(), staged.size());
           },
           nullptr, true});
}

void CpuStream::download(void* host, const std::byte* device, size_t bytes, Completion done) {
  enqueue({[=] {
             if (bytes != 0) std::memcpy(host, device, bytes);
           },
           std::move(done)});
}

void CpuStream::copy(std::byte* to, const std::byte* from, size_t bytes) {
  enqueue({[=] {
             if (bytes != 0) std::memmove(to, from, bytes);
           },
           nullptr});
}

void CpuStream::fill(std::byte* device, uint32_t pattern, size_t words) {
  enqueue({[=] {
             auto* begin = reinterpret_cast<uint32_t*>(device);
             for (size_t i = 0; i < words; ++i) begin[i] = pattern;
           },
           nullptr});
}

void CpuStream::fence(Completion done) {
  enqueue({nullptr, std::move(done)});
}

void CpuStream::run(HostTask task, Completion done) {
  enqueue({[this, task = std::move(task)] {
             try {
               HostContext context{table_, pool_};
               error_ = task(context);
             } catch (const Error& error) {
               error_ = error;
             } catch (const std::bad_alloc&) {
               error_ = Error::coded("OUT_OF_MEMORY", "[native] expected memory but received none; use less data");
             } catch (const std::exception& error) {
               error_ = Error::coded("INTERNAL", std::string("[native] ") + error.what());
             }
           },
           std::move(done)});
}

void CpuStream::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_through_ = submitted_;
  if (running_) pool_.cancel();
}

void CpuStream::close() {
  if (closed_) return;
  closed_ = true;
  cancel();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  worker_.join();
}

}  // namespace seqrisk
