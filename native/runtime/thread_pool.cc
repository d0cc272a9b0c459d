#include "runtime/thread_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "runtime/error.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace seqrisk {
namespace {

// Helpers look this often for the next job before they sleep: the kernels of one step follow each other within
// microseconds, and waking a thread costs tens of them.
constexpr int kSpinsBeforeSleep = 4000;
// More would cost time in every job; threads beyond it share shares with their neighbours, which often share a cache.
constexpr int kMostShares = 16;
// Of one job. The low half of a ticket would hold more; this many already take far longer than to begin the next.
constexpr int64_t kMostTasks = int64_t{1} << 22;

}  // namespace

void wait_in_turns(int spins) {
  constexpr int kTurn = 32;
  if (spins % kTurn == kTurn - 1) {
    std::this_thread::yield();
    return;
  }
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::thread start_thread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    throw Error::coded("NO_THREADS", std::string("[stream] expected to start a thread but received: ") + error.what() +
                                         "; open the device with fewer threads");
  }
}

ThreadPool::ThreadPool(int threads)
    : count_(std::max(1, threads)), shares_(static_cast<size_t>(std::clamp(threads, 1, kMostShares))) {
  helpers_.reserve(threads > 1 ? threads - 1 : 0);
  try {
    for (int worker = 1; worker < threads; ++worker) {
      helpers_.push_back(start_thread([this, worker] { help(worker); }));
    }
  } catch (...) {
    stop();  // a thread that is destroyed while it runs would end the process
    throw;
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  stopping_.store(true);
  announced_.fetch_add(1);
  announced_.notify_all();
  for (auto& helper : helpers_) helper.join();
  helpers_.clear();
}

void ThreadPool::claim_tasks(uint32_t job, int worker) {
  const size_t own = static_cast<size_t>(worker) * shares_.size() / static_cast<size_t>(count());
  for (size_t i = 0; i < shares_.size(); ++i) claim_from((own + i) % shares_.size(), job, worker);
}

void ThreadPool::claim_from(size_t share, uint32_t job, int worker) {
  std::atomic<uint64_t>& next = shares_[share].ticket;
  uint64_t ticket = next.load(std::memory_order_acquire);
  for (;;) {
    if (static_cast<uint32_t>(ticket >> 32) != job) return;
    const int64_t task = static_cast<int64_t>(ticket & 0xffffffffu);
    // A claim that succeeds proves that the job is still the current one, so tasks_, call_ and body_ are its own.
    if (task >= share_begin(static_cast<int64_t>(share) + 1, tasks_.load(std::memory_order_acquire))) return;
    if (!next.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
    if (!cancelled()) call_(body_, first_ + task, worker);
    finished_.fetch_add(1, std::memory_order_acq_rel);
    ticket = next.load(std::memory_order_acquire);
  }
}

void ThreadPool::run_tasks(int64_t tasks, Call call, void* body) {
  if (helpers_.empty() || tasks <= 1) {
    for (int64_t task = 0; task < tasks && !cancelled(); ++task) call(body, task, 0);
    return;
  }
  for (int64_t first = 0; first < tasks && !cancelled(); first += kMostTasks) {
    run_slice(first, std::min(kMostTasks, tasks - first), call, body);
  }
}

void ThreadPool::run_slice(int64_t first, int64_t tasks, Call call, void* body) {
  const uint32_t job = announced_.load(std::memory_order_relaxed) + 1;
  const auto ticket = [&](int64_t task) { return static_cast<uint64_t>(job) << 32 | static_cast<uint64_t>(task); };
  // Closes the old job before its description changes under a late helper.
  for (Share& share : shares_) share.ticket.store(ticket(0xffffffff), std::memory_order_release);
  // Who sees the new count also sees the closed tickets, so a claim with an old one fails.
  tasks_.store(tasks, std::memory_order_release);
  first_ = first;
  call_ = call;
  body_ = body;
  finished_.store(0, std::memory_order_relaxed);
  for (size_t i = 0; i < shares_.size(); ++i) {
    shares_[i].ticket.store(ticket(share_begin(static_cast<int64_t>(i), tasks)), std::memory_order_release);
  }
  announced_.store(job, std::memory_order_release);
  announced_.notify_all();
  claim_tasks(job, 0);
  for (int spins = 0; finished_.load(std::memory_order_acquire) != tasks; ++spins) wait_in_turns(spins);
}

void ThreadPool::help(int worker) {
  uint32_t seen = 0;
  for (;;) {
    uint32_t job = announced_.load(std::memory_order_acquire);
    for (int spins = 0; job == seen && spins < kSpinsBeforeSleep; ++spins) {
      wait_in_turns(spins);
      job = announced_.load(std::memory_order_acquire);
    }
    if (job == seen) {
      announced_.wait(seen, std::memory_order_acquire);
      continue;
    }
    if (stopping_.load()) return;
    seen = job;
    claim_tasks(job, worker);
  }
}

}  // namespace seqrisk
