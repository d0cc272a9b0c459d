#include "runtime/cpu_stream.h"

#include <algorithm>
#include <cstring>

namespace seqrisk {
namespace {

// In guard mode a buffer stands between two zones of this pattern, and its own bytes start as it: a float of these
// bits is a NaN.
constexpr std::byte kPoison{0xff};
constexpr size_t kGuardBytes = 64;
// A piece of memory that one thread moves at a time. A cancel waits for the pieces that are on their way: where a
// system has to find each page first, even one of these takes milliseconds.
constexpr size_t kPieceBytes = size_t{256} << 10;

// Calls f(begin, bytes) for every piece of so many bytes; after a cancel the remaining ones are skipped.
template <class F>
void in_pieces(ThreadPool& pool, size_t bytes, F f) {
  pool.run(static_cast<int64_t>((bytes + kPieceBytes - 1) / kPieceBytes), [&](int64_t piece, int) {
    const size_t begin = static_cast<size_t>(piece) * kPieceBytes;
    f(begin, std::min(kPieceBytes, bytes - begin));
  });
}

void copy_in_pieces(ThreadPool& pool, void* to, const void* from, size_t bytes) {
  in_pieces(pool, bytes, [=](size_t begin, size_t count) {
    std::memcpy(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin, count);
  });
}

bool disjoint(const std::byte* a, const std::byte* b, size_t bytes) {
  return a + bytes <= b || b + bytes <= a;
}

}  // namespace

CpuStream::CpuStream(const StreamOptions& options)
    : table_(options.precision == Precision::bfloat16 ? choose_cpu_bfloat16(options.variant)
                                                      : choose_cpu_variant(options.variant)),
      guard_(options.guard),
      allocator_(memory_, options.memory_limit),
      pool_(options.threads) {
  start();
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
  if (closed()) allocator_.trim(0, clock());
}

void CpuStream::give_up() {
  pool_.stop();
  allocator_.trim(0, clock());
}

void CpuStream::complete(Completion done, uint64_t position) {
  done(cancelled(position) ? cancelled_error() : error_);
  error_.reset();
}

void CpuStream::submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) {
  const auto* begin = static_cast<const std::byte*>(arguments);
  // A packed weight is kept for later calls, like what was uploaded, so it is made whatever happened before.
  const bool always = kernel == Kernel::linear_pack;
  enqueue({[this, kernel, copy = std::vector<std::byte>(begin, begin + bytes), keep = std::move(keep)] {
             run_kernel(kernel, copy.data());
           },
           nullptr, always});
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
  enqueue({[this, device, staged = staging().copy(host, bytes)]() mutable {
             copy_in_pieces(pool_, device, staged.data(), staged.size());
             staging().give_back(std::move(staged));
           },
           nullptr, true});
}

void CpuStream::download(void* host, const std::byte* device, size_t bytes, Completion done) {
  enqueue({[=, this] { copy_in_pieces(pool_, host, device, bytes); }, std::move(done)});
}

void CpuStream::copy(std::byte* to, const std::byte* from, size_t bytes) {
  enqueue({[=, this] {
             if (disjoint(to, from, bytes)) {
               copy_in_pieces(pool_, to, from, bytes);
             } else {
               std::memmove(to, from, bytes);  // views of one buffer: no piece may run before its neighbour
             }
           },
           nullptr});
}

void CpuStream::fill(std::byte* device, uint32_t pattern, size_t words) {
  enqueue({[=, this] {
             in_pieces(pool_, words * sizeof pattern, [=](size_t begin, size_t bytes) {
               std::fill_n(reinterpret_cast<uint32_t*>(device + begin), bytes / sizeof pattern, pattern);
             });
           },
           nullptr});
}

void CpuStream::fence(Completion done) {
  enqueue({nullptr, std::move(done)});
}

void CpuStream::run(HostTask task, Completion done) {
  enqueue({[this, task = std::move(task)] { error_ = run_task(task, {table_, pool_}); }, std::move(done)});
}

}  // namespace seqrisk
