// Who runs a kernel's tasks. A kernel cuts its work into tasks whose number depends on the problem alone, never on
// the number of workers, so that the same bits come out for any thread count.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

namespace seqrisk {

class Workers {
 public:
  // Threads that run tasks, the calling one included. Worker numbers are 0 … count() − 1.
  virtual int count() const = 0;

  // Calls f(task, worker) once for every task in [0, tasks), in any order, and returns when all are done.
  // After a cancel the remaining tasks are skipped.
  template <class F>
  void run(int64_t tasks, F&& f) {
    using Body = std::remove_reference_t<F>;
    run_tasks(
        tasks, [](void* body, int64_t task, int worker) { (*static_cast<Body*>(body))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

 protected:
  using Call = void (*)(void* body, int64_t task, int worker);
  ~Workers() = default;
  virtual void run_tasks(int64_t tasks, Call call, void* body) = 0;
};

// What a kernel found wrong in the values that it read. Kernels do not throw: they record, the stream reports.
struct Fault {
  std::atomic_flag claimed = ATOMIC_FLAG_INIT;
  std::atomic<bool> recorded{false};
  const char* expected = "";  // "targets in [-1, classes)"
  int64_t index = 0;          // one offending element
  int64_t value = 0;          // what stood there

  void record(const char* what, int64_t where, int64_t received) {
    if (claimed.test_and_set()) return;
    expected = what;
    index = where;
    value = received;
    recorded.store(true, std::memory_order_release);
  }
};

}  // namespace seqrisk
