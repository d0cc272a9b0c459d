// One side of a comparison: the arguments of a kernel, with all the memory that they point to, on the CPU or on a card.
// A case is a function that asks a side for its arguments: called for both sides, it gets the same random values on
// each. Buffers are exactly as large as asked for, and outputs start as NaN.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/kernel_table.h"
#include "runtime/kernel_table.h"
#include "runtime/thread_pool.h"

namespace seqrisk::parity {

// How far an output may be from the CPU's.
struct Judge {
  double tolerance;  // of ‖card − cpu‖ / ‖cpu‖
  double least = 0;  // the root mean square that ‖cpu‖ is at least taken for: of terms that may cancel to nothing
};

// Copies, integers, and chains of operations that the contracts fix.
inline constexpr Judge kSame{0};
// Some operations on each element, of which a division, exponential or logarithm errs by up to 2 units in the last
// place (1.2e-7 each); errors of elements are independent.
inline constexpr Judge kElements{1e-6};
// Float sums of up to 5000 terms in two orders: each errs by √terms / 2 units of 6e-8, together less than 4.2e-6.
inline constexpr Judge kSums{1e-5};
// The same where there may be so few results that they happen to be near nothing: such a sum of random terms of that
// size is about size · √terms.
inline Judge sums_of(int64_t terms, double size) {
  return {kSums.tolerance, size * std::sqrt(static_cast<double>(terms))};
}
// Of what is stored as bfloat16: an element is rounded once, to 8 bits, and so errs by half a unit in the last.
inline constexpr double kStoredError = 0x1.02p-8;
// Written, but with values that are the device's own.
inline constexpr Judge kWritten{INFINITY};
// Nobody's business; only two runs give the same.
inline constexpr Judge kAny{-1};

struct Machine {
  const KernelTable& cpu;
  ThreadPool& pool;
  cuda::Launch& launch;
};

// What a kernel recorded, in the words of either side.
struct FoundFault {
  bool recorded = false;
  std::string expected;
  int64_t index = 0;
  int64_t value = 0;

  bool operator==(const FoundFault&) const = default;
};

class Side {
 public:
  // With `apart`, buffers start 4 bytes after a boundary, as views of rows may.
  Side(Machine& machine, bool on_card, uint64_t seed, bool apart = false)
      : machine_(machine), on_card_(on_card), seed_(seed), apart_(apart ? 1 : 0), random_(seed) {}
  Side(Side&&) = default;

  // Random values: on both sides the same.
  std::vector<float> random(int64_t count, double scale = 1);
  std::vector<int32_t> random_ids(int64_t count, int64_t low, int64_t high);  // of [low, high)
  int64_t pick(int64_t low, int64_t high);

  // Inputs.
  template <class T>
  const T* input(const std::vector<T>& values) {
    return input(values.data(), static_cast<int64_t>(values.size()));
  }
  template <class T>
  const T* input(const T* values, int64_t count) {
    return static_cast<const T*>(place("an input", Use::input, kSame, values, count));
  }
  const float* normals(int64_t count, double scale = 1) { return input(random(count, scale)); }
  Packing packing(const std::vector<int32_t>& lengths);
  // Activations: values that bfloat16 has wherever that is asked for. The card has them stored so, the CPU as float32.
  Storage stored() const { return rounds_operands() ? Storage::bfloat16 : Storage::float32; }
  const float* input(const std::vector<float>& values, Storage stored) {
    return place_stored("an input", Use::input, kSame, values, stored);
  }
  const float* input(const float* values, int64_t count, Storage stored) {
    return input(std::vector<float>(values, values + count), stored);
  }
  const float* activations(int64_t count, double scale = 1) { return input(random(count, scale), stored()); }
  // What products round, in float32: values that they leave as they are.
  const float* operands(int64_t count, double scale = 1);

  // Outputs: assigned (NaN before), added to (random before), or one of both.
  float* output(const char* name, int64_t count, Judge judge, Storage stored = Storage::float32);
  template <class T>
  T* output_of(const char* name, int64_t count, Judge judge = kSame) {
    const std::vector<T> before(static_cast<size_t>(count), static_cast<T>(-9));
    return static_cast<T*>(place(name, Use::output, judge, before.data(), count));
  }
  int32_t* output_ids(const char* name, int64_t count, Judge judge = kSame) {
    return output_of<int32_t>(name, count, judge);
  }
  float* added(const char* name, int64_t count, Judge judge, Storage stored = Storage::float32) {
    return changed(name, random(count), judge, stored);
  }
  float* result(const char* name, int64_t count, bool accumulate, Judge judge, Storage stored = Storage::float32) {
    return accumulate ? added(name, count, judge, stored) : output(name, count, judge, stored);
  }
  int32_t* changed_ids(const char* name, const std::vector<int32_t>& before, Judge judge) {
    const auto count = static_cast<int64_t>(before.size());
    return static_cast<int32_t*>(place(name, Use::output, judge, before.data(), count));
  }
  float* changed(const char* name, const std::vector<float>& before, Judge judge, Storage stored = Storage::float32) {
    return place_stored(name, Use::output, judge, before, stored);
  }

  // Memory of the CPU's kernels; null on a card, whose launchers have their own.
  template <class T = float>
  T* scratch(size_t bytes) {
    return on_card_ ? nullptr : static_cast<T*>(place_scratch(bytes));
  }
  int workers() const { return machine_.pool.count(); }
  Fault* fault() { return on_card_ ? nullptr : &*fault_; }
  // Host memory that arguments point to, on both sides.
  template <class T>
  const T* keep(std::vector<T> values) {
    auto held = std::make_shared<std::vector<T>>(std::move(values));
    kept_.push_back(held);
    return held->data();
  }

  // Sums of products: rounded operands on a card of that precision err by up to 2⁻⁸ each, and their sums as much.
  Judge products(double least = 0) const { return {machine_.launch.bfloat16 ? 0x1p-6 : kSums.tolerance, least}; }
  bool rounds_operands() const { return machine_.launch.bfloat16; }
  bool rounds_biases() const { return machine_.launch.cublaslt != nullptr; }
  bool cpu_fuses() const { return std::string(machine_.cpu.name) != "scalar"; }  // multiply-adds
  // A side on the CPU whatever this one is, for what a forward leaves to its backward: pointers are the host's. Its
  // values are other ones than this side's.
  Side before() const { return Side(machine_, false, ~seed_); }
  void align() { apart_ = 0; }  // for kernels that ask for a boundary
  // Of a problem whose size alone is asked for, random numbers are 0: most of the time would go into them.
  void measure() { measures_ = true; }

  template <class Arguments>
  void run(void (*const KernelTable::*cpu)(const Arguments&, Workers&),
           void (*const cuda::LauncherTable::*launcher)(const Arguments&, cuda::Launch&), const Arguments& arguments) {
    if (on_card_) {
      wait_for_uploads();
      (cuda::kLaunchers.*launcher)(arguments, machine_.launch);
    } else {
      (machine_.cpu.*cpu)(arguments, machine_.pool);
    }
  }
  // A short copy from the host may still be on its way when it returns, and the launch's stream waits for no other.
  static void wait_for_uploads();
  // Takes what buffers hold now for what they hold before the kernel.
  void snapshot();

  size_t bytes() const { return bytes_; }
  void restore();            // buffers hold again what they held before the kernel
  void collect();            // reads what the kernel left
  FoundFault found() const;  // on the CPU
  // Why the two differ, or nothing. The worst error and its name are kept where larger.
  struct Worst {
    double error = 0;
    double of = 0;
    std::string where;
  };
  std::string compare(const Side& cpu, Worst& worst) const;
  // The first buffer with other bits than `other` has, or nothing.
  std::string differs_in_bits(const std::vector<std::vector<std::byte>>& other) const;
  std::vector<std::string> all_that_differ(const std::vector<std::vector<std::byte>>& other) const;
  std::vector<std::vector<std::byte>> left() const;

 private:
  enum class Use { input, output };
  enum class Element { float32, int32, int64, uint8, bfloat16 };
  template <class T>
  static constexpr Element element_of() {
    if (std::is_same_v<T, float>) return Element::float32;
    return sizeof(T) == 8 ? Element::int64 : sizeof(T) == 4 ? Element::int32 : Element::uint8;
  }
  struct Release {
    bool on_card;
    void operator()(std::byte* data) const;
  };
  struct Buffer {
    std::string name;
    Use use;
    Judge judge;
    Element element;
    std::unique_ptr<std::byte, Release> memory;
    std::byte* data;  // behind the bytes that hold it apart
    std::vector<std::byte> before;
    std::vector<std::byte> after;
  };

  void* place_bytes(std::string name, Use use, Judge judge, Element element, const void* values, size_t bytes);
  template <class T>
  void* place(const char* name, Use use, Judge judge, const T* values, int64_t count) {
    return place_bytes(name, use, judge, element_of<T>(), values, static_cast<size_t>(count) * sizeof(T));
  }
  float* place_stored(const char* name, Use use, Judge judge, std::vector<float> values, Storage stored);
  void* place_scratch(size_t bytes);
  std::unique_ptr<std::byte, Release> allocate(size_t bytes);
  void write(std::byte* to, const std::vector<std::byte>& bytes) const;
  std::vector<std::byte> read(const Buffer& buffer) const;
  static size_t size_of(const Buffer& buffer);
  static double value_of(const Buffer& buffer, size_t i);
  static double error_of(const Buffer& card, const Buffer& cpu, std::string& trouble);

  Machine& machine_;
  bool on_card_;
  uint64_t seed_;
  size_t apart_;
  std::mt19937_64 random_;
  bool measures_ = false;
  std::vector<Buffer> buffers_;
  std::vector<std::unique_ptr<std::byte, Release>> scratch_;
  std::vector<std::shared_ptr<void>> kept_;
  std::unique_ptr<Fault> fault_ = std::make_unique<Fault>();
  size_t bytes_ = 0;
};

}  // namespace seqrisk::parity
