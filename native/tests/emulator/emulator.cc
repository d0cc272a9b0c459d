#include "tests/emulator/emulator.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/hopper.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx;
dim3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace emulator {

thread_local Failure failure;
const uint64_t seed = [] {
  const char* text = std::getenv("SEQRISK_EMULATOR_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}();

namespace {

constexpr size_t kSharedBoundary = 16;
constexpr uint32_t kSharedAddress = 1024;  // the lowest: a card keeps what is below it for itself
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostBlocks = 65535;  // of a grid's second and third axis
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 512 << 10;
#else
constexpr size_t kStackBytes = 128 << 10;
#endif
constexpr size_t kPageBytes = 4096;

std::minstd_rand random_bits(static_cast<unsigned>(seed));
// What a stack holds when it is not run. Stacks are switched by setjmp and longjmp: swapcontext would ask the kernel
// for the mask of signals each time. The compiler's own, as those of the C library look at the frames that they leave.
struct Context {
  void* at[5];
  bool begun = true;
  ucontext_t first;
  const void* bottom = nullptr;
  size_t bytes = 0;
  void* fake_stack = nullptr;
};

#if defined(__SANITIZE_ADDRESS__)
#define SEQRISK_NO_ADDRESS_CHECKS __attribute__((no_sanitize_address))
void leave(Context& from, const Context& to) {
  __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.bytes);
}
void arrive(const Context& at, Context* first_from) {
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(at.fake_stack, &bottom, &bytes);
  if (first_from && !first_from->bottom) {
    first_from->bottom = bottom;
    first_from->bytes = bytes;
  }
}
#else
#define SEQRISK_NO_ADDRESS_CHECKS
void leave(Context&, const Context&) {}
void arrive(const Context&, Context*) {}
#endif

[[noreturn]] SEQRISK_NO_ADDRESS_CHECKS __attribute__((noinline)) void go_on(Context& to) {
  if (to.begun) __builtin_longjmp(to.at, 1);
  to.begun = true;
  setcontext(&to.first);
  std::abort();
}
SEQRISK_NO_ADDRESS_CHECKS __attribute__((noinline)) void switch_stacks(Context& from, Context& to) {
  leave(from, to);
  if (__builtin_setjmp(from.at) == 0) go_on(to);
  arrive(from, nullptr);
}

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  bool is_there;
};
void land(const Copy& copy) {
  if (copy.is_there) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  } else {
    std::memset(copy.to, 0, copy.bytes);
  }
}

enum class State { ready, in_block, in_warp, elsewhere, returned };

struct Thread {
  Context context;
  dim3 index;
  State state;
  unsigned mask;  // of those that it meets in its warp
  void* post;
  Resolve resolve;
  const void* awaited;  // elsewhere
  Tell tell;
  Where where;
  std::vector<Copy> copies;
  std::vector<size_t> groups;  // copies that each has, the last one's not closed
};

struct Warp {
  unsigned there;    // lanes that have not returned
  unsigned waiting;  // lanes that wait for others of the warp
  size_t place;      // in the order of warps
};

struct Shared {
  const void* key;
  const char* name;
  size_t bytes;
  uint32_t address;
  std::unique_ptr<void, void (*)(void*)> data;
  bool is_poison;  // nobody of the block has come here
};

// Which thread goes on: any, the one that was set free last, or one of the warp that stands first. Such a warp gets as
// far ahead of others as barriers let it.
enum class Order { drawn, last, by_warp };

struct Block {
  unsigned threads = 0;
  unsigned left = 0;     // threads that have not returned
  unsigned waiting = 0;  // for the whole block
  Order order = Order::drawn;
  std::vector<unsigned> ready;
  std::vector<Warp> warps;
  std::vector<Shared> shared;
  std::unique_ptr<void, void (*)(void*)> dynamic{nullptr, std::free};
  size_t dynamic_bytes = 0;
  uint32_t dynamic_address = 0;
};

Context host;
std::vector<std::unique_ptr<Thread>> threads;
Block block;
unsigned current = 0;
const std::function<void()>* body = nullptr;
std::string failed_in_thread;

void* allocate(size_t bytes, size_t boundary) {
  void* data = nullptr;
  if (posix_memalign(&data, std::max(boundary, sizeof(void*)), bytes) != 0) return nullptr;
  return data;
}

std::string words(const dim3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}
std::string words(const Where& where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line());
}
bool is_same(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

// "threads 0-31, 40 at pool.cu:71"
std::string who_waits() {
  std::string text;
  std::vector<bool> told(block.threads);
  for (unsigned t = 0; t < block.threads; ++t) {
    if (told[t] || threads[t]->state == State::returned) continue;
    std::string numbers;
    const auto belongs = [&](unsigned other) {
      const Thread& it = *threads[other];
      return it.state == threads[t]->state && is_same(it.where, threads[t]->where) &&
             (it.state != State::elsewhere || it.awaited == threads[t]->awaited);
    };
    for (unsigned first = t; first < block.threads; ++first) {
      if (!belongs(first)) continue;
      unsigned last = first;
      while (last + 1 < block.threads && belongs(last + 1)) ++last;
      std::fill(told.begin() + first, told.begin() + last + 1, true);
      numbers += (numbers.empty() ? "" : ", ") + std::to_string(first);
      if (last > first) numbers += "-" + std::to_string(last);
      first = last;
    }
    text += (text.empty() ? "" : "; ") + std::string("threads ") + numbers + " at " + words(threads[t]->where);
    if (threads[t]->state == State::elsewhere) text += " (" + threads[t]->tell(threads[t]->awaited) + ")";
  }
  return text;
}

void set_free(unsigned t) {
  threads[t]->state = State::ready;
  block.ready.push_back(t);
  std::swap(block.ready.back(), block.ready[block.ready.size() - 1 - below(std::min<size_t>(block.ready.size(), 32))]);
}

// Lets all go on that came to one place, if nobody is missing.
void release_block() {
  if (block.waiting == 0 || block.waiting < block.left) return;
  std::vector<void*> posts(block.threads);
  const Thread* first = nullptr;
  for (unsigned t = 0; t < block.threads; ++t) {
    const Thread& it = *threads[t];
    if (it.state == State::returned) continue;
    if (!first) first = &it;
    if (!is_same(it.where, first->where)) return;
    posts[t] = it.post;
  }
  if (first->resolve) first->resolve(posts.data());
  block.waiting = 0;
  for (unsigned t = 0; t < block.threads; ++t) {
    if (threads[t]->state == State::in_block) set_free(t);
  }
}
void release_warp(unsigned w, unsigned mask) {
  Warp& warp = block.warps[w];
  const unsigned all = mask & warp.there;
  if (all == 0 || (all & ~warp.waiting) != 0) return;
  void* posts[kLanes] = {};
  const Thread* first = nullptr;
  for (int l = 0; l < kLanes; ++l) {
    if (!(all >> l & 1u)) continue;
    const Thread& it = *threads[w * kLanes + l];
    if (!first) first = &it;
    if (it.mask != mask || !is_same(it.where, first->where)) return;
    posts[l] = it.post;
  }
  if (first->resolve) first->resolve(posts);
  warp.waiting &= ~all;
  for (int l = 0; l < kLanes; ++l) {
    if (all >> l & 1u) set_free(w * kLanes + l);
  }
}

void to_host() {
  switch_stacks(threads[current]->context, host);
}

// The end of a thread. Who waits for it waits no longer.
void finish() {
  Thread& own = *threads[current];
  for (const size_t copies : own.groups) {
    if (copies > 0) fail("copies to be waited for before a thread returns", own.where);
  }
  if (const char* what = unfinished()) fail(what, own.where);
  own.state = State::returned;
  --block.left;
  Warp& warp = block.warps[current / kLanes];
  warp.there &= ~(1u << current % kLanes);
  release_block();
  for (unsigned waiting = warp.waiting; waiting != 0; waiting &= waiting - 1) {
    const unsigned mask = threads[current / kLanes * kLanes + __builtin_ctz(waiting)]->mask;
    if ((mask >> current % kLanes & 1u) == 0) continue;
    release_warp(current / kLanes, mask);
    break;
  }
  to_host();
}

void thread_main() {
  arrive(threads[current]->context, &host);
  for (;;) {
    (*body)();
    finish();
  }
}

std::unique_ptr<Thread> make_thread() {
  auto thread = std::make_unique<Thread>();
  // The lowest page is nobody's: a stack that is too small is a fault.
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kPageBytes, PROT_NONE) != 0) {
    std::perror("[emulated] expected memory for a stack");
    std::abort();
  }
  Context& context = thread->context;
  context.begun = false;
  context.bottom = memory;
  context.bytes = kStackBytes;
  getcontext(&context.first);
  context.first.uc_stack.ss_sp = memory;
  context.first.uc_stack.ss_size = kStackBytes;
  context.first.uc_link = nullptr;
  makecontext(&context.first, thread_main, 0);
  return thread;
}

void start_block() {
  start_hopper();
  block.left = block.threads;
  block.waiting = 0;
  block.order = static_cast<Order>(below(3));
  block.warps.assign((block.threads + kLanes - 1) / kLanes, {0, 0, 0});
  for (Warp& warp : block.warps) warp.place = below(kMostThreads);
  for (unsigned t = 0; t < block.threads; ++t) block.warps[t / kLanes].there |= 1u << t % kLanes;
  for (Shared& shared : block.shared) shared.is_poison = false;
  block.ready.resize(block.threads);
  std::iota(block.ready.begin(), block.ready.end(), 0u);
  std::shuffle(block.ready.begin(), block.ready.end(), random_bits);
  for (unsigned t = 0; t < block.threads; ++t) {
    Thread& it = *threads[t];
    it.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    it.state = State::ready;
    it.copies.clear();
    it.groups.assign(1, 0);
  }
}

size_t next_ready() {
  if (block.order == Order::drawn) return below(block.ready.size());
  if (block.order == Order::last) return block.ready.size() - 1;
  const auto place = [](unsigned t) { return block.warps[t / kLanes].place; };
  const auto first = std::min_element(block.ready.begin(), block.ready.end(),
                                      [&](unsigned a, unsigned b) { return place(a) < place(b); });
  return static_cast<size_t>(first - block.ready.begin());
}

// Runs the block to its end, or says why that does not come.
std::string run_block() {
  start_block();
  while (!block.ready.empty() || (block.left > 0 && land_box())) {
    if (block.ready.empty()) continue;
    const size_t last = block.ready.size() - 1;
    std::swap(block.ready[next_ready()], block.ready[last]);
    current = block.ready[last];
    block.ready.pop_back();
    threadIdx = threads[current]->index;
    switch_stacks(host, threads[current]->context);
    if (!failed_in_thread.empty()) return std::exchange(failed_in_thread, "");
  }
  if (block.left > 0) return "expected all threads to meet but " + who_waits() + " wait for others";
  const char* wrong = wrong_at_end();
  return wrong ? wrong : "";
}

void record(cudaError_t code, std::string text) {
  failure = {code, std::move(text)};
}

bool is_valid(const Config& config) {
  const auto count = [](const dim3& size) { return uint64_t{size.x} * size.y * size.z; };
  return count(config.grid) > 0 && count(config.block) > 0 && count(config.block) <= kMostThreads &&
         config.grid.y <= kMostBlocks && config.grid.z <= kMostBlocks && config.shared <= kMostShared;
}

}  // namespace

void run(const char* kernel, const Where& where, const Config& config, const std::function<void()>& thread) {
  // There is one processor: the kernels of all streams and cards take turns.
  static std::mutex processor;
  const std::lock_guard lock(processor);
  const std::string name = std::string(kernel) + " of " + words(where) + ", a grid of " + words(config.grid) +
                           " and blocks of " + words(config.block);
  if (!is_valid(config)) {
    return record(cudaErrorInvalidConfiguration, name + ", " + std::to_string(config.shared) + " bytes shared");
  }
  gridDim = config.grid;
  blockDim = config.block;
  block.threads = blockDim.x * blockDim.y * blockDim.z;
  while (threads.size() < block.threads) threads.push_back(make_thread());
  block.shared.clear();
  block.dynamic.reset(config.shared > 0 ? allocate(config.shared, kSharedBoundary) : nullptr);
  block.dynamic_bytes = config.shared;
  block.dynamic_address =
      kSharedAddress + static_cast<uint32_t>(below(kSharedAddress / kSharedBoundary) * kSharedBoundary);
  body = &thread;
  std::vector<uint64_t> order(uint64_t{gridDim.x} * gridDim.y * gridDim.z);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::shuffle(order.begin(), order.end(), random_bits);
  for (const uint64_t i : order) {
    blockIdx = {static_cast<unsigned>(i % gridDim.x), static_cast<unsigned>(i / gridDim.x % gridDim.y),
                static_cast<unsigned>(i / gridDim.x / gridDim.y)};
    if (config.shared > 0) std::memset(block.dynamic.get(), kPoison, config.shared);
    const std::string trouble = run_block();
    if (trouble.empty()) continue;
    record(cudaErrorLaunchFailure, name + ", block " + words(blockIdx) + ": " + trouble);
    // Stacks in the middle of a kernel are no use any more.
    for (auto& it : threads) it.release();
    threads.clear();
    break;
  }
  block.shared.clear();
  block.dynamic.reset();
}

void* dynamic_shared() {
  return block.dynamic.get();
}

void* static_shared(const void* key, const char* name, size_t bytes, size_t boundary) {
  uint32_t end = block.dynamic_address + static_cast<uint32_t>(block.dynamic_bytes);
  for (Shared& shared : block.shared) {
    end = shared.address + static_cast<uint32_t>(shared.bytes);
    if (shared.key != key) continue;
    if (!shared.is_poison) std::memset(shared.data.get(), kPoison, bytes);
    shared.is_poison = true;
    return shared.data.get();
  }
  const auto address = static_cast<uint32_t>((end + boundary - 1) / boundary * boundary);
  if (address + bytes - block.dynamic_address > kMostShared) {
    fail("expected less shared memory, static and dynamic, for a block", Where::current());
  }
  block.shared.push_back({key, name, bytes, address, {allocate(bytes, boundary), std::free}, false});
  return static_shared(key, name, bytes, boundary);
}

uint32_t shared_address(const void* shared, const Where& where) {
  const auto* at = static_cast<const std::byte*>(shared);
  const auto offset_in = [&](const void* data, size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(data);
    return at >= begin && at < begin + bytes ? at - begin : -1;
  };
  ptrdiff_t offset = offset_in(block.dynamic.get(), block.dynamic_bytes);
  if (offset >= 0) return block.dynamic_address + static_cast<uint32_t>(offset);
  for (const Shared& it : block.shared) {
    offset = offset_in(it.data.get(), it.bytes);
    if (offset >= 0) return it.address + static_cast<uint32_t>(offset);
  }
  fail("expected an address in shared memory", where);
}

std::byte* shared_at(uint32_t address, size_t bytes, const Where& where) {
  const auto within = [&](uint32_t begin, size_t all) {
    return address >= begin && address - begin <= all && bytes <= all - (address - begin);
  };
  if (within(block.dynamic_address, block.dynamic_bytes)) {
    return static_cast<std::byte*>(block.dynamic.get()) + (address - block.dynamic_address);
  }
  for (const Shared& it : block.shared) {
    if (within(it.address, it.bytes)) return static_cast<std::byte*>(it.data.get()) + (address - it.address);
  }
  fail("expected bytes of one variable in shared memory", where);
}

std::string name_of_shared(const void* shared, size_t element_bytes) {
  const auto* at = static_cast<const std::byte*>(shared);
  for (const Shared& it : block.shared) {
    const auto* begin = static_cast<const std::byte*>(it.data.get());
    if (at < begin || at >= begin + it.bytes) continue;
    if (it.bytes == element_bytes) return it.name;
    return std::string(it.name) + "[" + std::to_string(static_cast<size_t>(at - begin) / element_bytes) + "]";
  }
  return "dynamic shared memory";
}

size_t below(size_t count) {
  return random_bits() % count;
}

unsigned threads_of_block() {
  return block.threads;
}
unsigned thread() {
  return current;
}

void meet_block(void* post, Resolve resolve, const Where& where) {
  Thread& own = *threads[current];
  own.state = State::in_block;
  own.post = post;
  own.resolve = resolve;
  own.where = where;
  ++block.waiting;
  release_block();
  to_host();
}

void meet_warp(unsigned mask, void* post, Resolve resolve, const Where& where) {
  Thread& own = *threads[current];
  own.state = State::in_warp;
  own.mask = mask;
  own.post = post;
  own.resolve = resolve;
  own.where = where;
  block.warps[current / kLanes].waiting |= 1u << current % kLanes;
  release_warp(current / kLanes, mask);
  to_host();
}

void wait_for(const void* what, Tell tell, const Where& where) {
  Thread& own = *threads[current];
  own.state = State::elsewhere;
  own.awaited = what;
  own.tell = tell;
  own.where = where;
  to_host();
}

void wake(const void* what) {
  for (unsigned t = 0; t < block.threads; ++t) {
    if (threads[t]->state == State::elsewhere && threads[t]->awaited == what) set_free(t);
  }
}

void copy_async(void* to, const void* from, size_t bytes, bool is_there) {
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || (is_there && reinterpret_cast<uintptr_t>(from) % bytes != 0)) {
    fail("an asynchronous copy that is at no boundary", Where::current());
  }
  const Copy copy{to, from, bytes, is_there};
  if (below(2) == 0) return land(copy);
  Thread& own = *threads[current];
  own.copies.push_back(copy);
  ++own.groups.back();
}

void close_async_group() {
  threads[current]->groups.push_back(0);
}

void wait_async_groups(size_t left) {
  Thread& own = *threads[current];
  size_t landing = 0;
  while (own.groups.size() > left + 1) {
    landing += own.groups.front();
    own.groups.erase(own.groups.begin());
  }
  for (size_t i = 0; i < landing; ++i) land(own.copies[i]);
  own.copies.erase(own.copies.begin(), own.copies.begin() + static_cast<std::ptrdiff_t>(landing));
}

void fail(const char* what, const Where& where) {
  failed_in_thread = std::string(what) + ", thread " + words(threads[current]->index) + " at " + words(where);
  to_host();
  std::abort();
}

}  // namespace emulator
