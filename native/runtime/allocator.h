// Caching allocator of one stream. Memory is stream-ordered: a block that is released may be handed out at once, since
// the work that still uses it stands before the new owner's work in the same queue. Used on one thread only (the
// stream's owner); what is returned to the system waits until the queue has passed the block's last use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>

namespace seqrisk {

struct Block {
  std::byte* data = nullptr;
  size_t bytes = 0;          // of the whole block
  size_t used = 0;           // what its owner asked for
  size_t offset = 0;         // where the owner's bytes start: behind the guard zone, if there is one
  uint64_t released_at = 0;  // the stream's submission count when it was released
  // While it is cached.
  std::multimap<size_t, Block*>::iterator by_size;
  std::list<Block*>::iterator by_age;

  std::byte* begin() const { return data + offset; }
};

// Submitted and completed commands of the queue that the memory belongs to.
struct QueueClock {
  uint64_t submitted = 0;
  uint64_t completed = 0;
};

// Where blocks come from: aligned host memory for a CPU stream, device memory for a CUDA one.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual std::byte* allocate(size_t bytes) = 0;  // null when there is none
  virtual void free(std::byte* data, size_t bytes) = 0;
  // Waits until what was freed so far is free, and gives the queue's clock then.
  virtual QueueClock settle(const QueueClock& clock) { return clock; }
};

class HostMemory final : public MemorySource {
 public:
  std::byte* allocate(size_t bytes) override;
  void free(std::byte* data, size_t bytes) override;
};

struct AllocatorStats {
  size_t live_bytes = 0;
  size_t cached_bytes = 0;
  size_t peak_bytes = 0;  // of live + cached
  uint64_t allocations = 0;
};

class Allocator {
 public:
  Allocator(MemorySource& source, size_t limit_bytes) : source_(source), limit_bytes_(limit_bytes) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Throws Error with code OUT_OF_MEMORY. `where` names the op in the message. The limit counts cached blocks that
  // queued work still uses, and nobody waits for them here: the event loop would wait too, as long as a fit takes.
  Block* allocate(size_t bytes, const QueueClock& clock, const char* where);
  void release(Block* block, const QueueClock& clock);

  // Returns cached blocks that no queued command uses any more to the system, until at most keep_bytes are cached.
  void trim(size_t keep_bytes, const QueueClock& clock);

  // Fault injection: the n-th allocation from now on fails (1 = the next one); 0 switches it off.
  void fail_after(uint64_t allocations) { fail_after_ = allocations; }

  const AllocatorStats& stats() const { return stats_; }

 private:
  MemorySource& source_;
  size_t limit_bytes_;
  uint64_t fail_after_ = 0;
  AllocatorStats stats_;
  std::multimap<size_t, Block*> cached_;  // by size
  std::list<Block*> by_age_;              // cached blocks, oldest release first
};

}  // namespace seqrisk
