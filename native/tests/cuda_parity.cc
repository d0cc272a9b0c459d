// Checks every CUDA kernel against the CPU's, whole fits of trees (cuda_fits.h), kernels that do the work of two
// (cuda_parts_check.h), and launches that are handed over in graphs (cuda_graphs_check.h), without Node:
//
//   cuda_parity [--only NAME] [--quick] [--bfloat16 [--cublaslt LIBRARY]] [--capability 80]
//
// Random problems run on the CPU and on the first card, there twice for aligned memory and twice for memory 4 bytes
// behind a boundary. Results have to be near the CPU's (see Judge), the same bits in both runs, and inputs untouched.
// --only takes a kernel's name, or an op's: pool is pool_forward and pool_backward. --quick takes some small problems
// alone, as tools that watch every memory access want it. --capability takes the kernels that an older card would get,
// --cublaslt that library's products where it has them; one that it refuses, and linear without any, is a failure.
// Ends with 1 on a failure; without a card everything is skipped. cuda_emulated is the same program on a card that the
// processor plays (emulator/emulator.h).
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <thread>

#include "kernels/cuda/cublaslt.h"
#include "runtime/cuda_device.h"
#include "runtime/cuda_staging.h"
#include "runtime/error.h"
#include "tests/cuda_cases.h"
#include "tests/cuda_fits.h"
#include "tests/cuda_graphs_check.h"
#include "tests/cuda_parts_check.h"

namespace seqrisk::parity {
namespace {

constexpr int kUsage = 2;
constexpr size_t kQuickBytes = 256 << 10;
constexpr size_t kQuickCases = 12;
constexpr size_t kStaleBytes = 32 << 20;  // more than most workspaces
constexpr size_t kQuickStaleBytes = 2 << 20;

struct Options {
  std::string only;
  bool quick = false;
  bool bfloat16 = false;
  std::string cublaslt;
  int capability = 0;  // 0: the card's
};

struct Totals {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
};

// Memory that a launcher gets next holds this: what it reads before it writes differs from run to run.
void leave_in_free_memory(int byte, size_t bytes) {
  void* data = nullptr;
  expect_cuda(cudaMalloc(&data, bytes), "memory");
  expect_cuda(cudaMemset(data, byte, bytes), "a fill");
  expect_cuda(cudaDeviceSynchronize(), "the work so far");
  expect_cuda(cudaFree(data), "memory");
}

FoundFault take_found(cuda::Launch& launch) {
  cuda::FaultRecord record{};
  expect_cuda(cudaMemcpy(&record, launch.faults, sizeof record, cudaMemcpyDeviceToHost), "a download");
  expect_cuda(cudaMemset(launch.faults, 0, sizeof record), "a fill");
  if (!record.claimed) return {};
  return {true, record.expected, record.index, record.value};
}

std::string words(const FoundFault& fault) {
  if (!fault.recorded) return "no fault";
  return "a fault at " + std::to_string(fault.index) + " (" + std::to_string(fault.value) + ", expected " +
         fault.expected + ")";
}

// One kernel's cases, and what came of them.
class Check {
 public:
  Check(Machine& machine, const char* name, const Options& options)
      : machine_(machine), name_(name), quick_(options.quick) {}

  template <class Arguments>
  bool run(const std::vector<Case<Arguments>>& cases, void (*cpu)(const Arguments&, Workers&),
           void (*launcher)(const Arguments&, cuda::Launch&)) {
    machine_.launch.kernel = name_;
    const std::vector<size_t> chosen = choose(cases);
    const int64_t products = cublaslt_products();
    bool apart = false;
    for (const size_t i : chosen) {
      Side host(machine_, false, seed(i));
      const Arguments arguments = cases[i].build(host);
      cpu(arguments, machine_.pool);
      host.collect();
      apart = !apart;
      if (!quick_ || !apart) run_on_card(cases[i], i, host, false, launcher);
      if (!quick_ || apart) run_on_card(cases[i], i, host, true, launcher);
    }
    if (count_ == 0) fail("", "no case ran" + (refusal_.empty() ? "" : ": the card lacks " + refusal_));
    check_cublaslt(cublaslt_products() - products);
    std::printf("%-32s %4d cases  worst %.1e of %.1e%s%s  %s\n", name_, count_, worst_.error, worst_.of,
                worst_.where.empty() ? "" : " in ", worst_.where.c_str(), failures_ == 0 ? "ok" : "FAILED");
    if (refused_ > 0) std::printf("    %d more were refused: the card lacks %s\n", refused_, refusal_.c_str());
    std::fflush(stdout);
    return failures_ == 0;
  }

 private:
  // Names and numbers alone decide: a case is the same whatever runs beside it.
  uint64_t seed(size_t i) const {
    uint64_t hash = 14695981039346656037u;
    for (const char* c = name_; *c; ++c) hash = (hash ^ static_cast<unsigned char>(*c)) * 1099511628211u;
    return hash + i;
  }

  template <class Arguments>
  std::vector<size_t> choose(const std::vector<Case<Arguments>>& cases) {
    std::vector<size_t> sizes;
    for (size_t i = 0; quick_ && i < cases.size(); ++i) {
      Side side(machine_, false, seed(i));
      side.measure();
      cases[i].build(side);
      sizes.push_back(side.bytes());
    }
    // On many cores scratch memory makes every case large: then the smallest are small enough.
    size_t limit = kQuickBytes;
    if (!sizes.empty()) {
      std::vector<size_t> ascending = sizes;
      std::sort(ascending.begin(), ascending.end());
      limit = std::max(limit, ascending[std::min(kQuickCases, ascending.size()) - 1]);
    }
    std::vector<size_t> chosen;
    for (size_t i = 0; i < cases.size(); ++i) {
      if (!quick_ || sizes[i] <= limit) chosen.push_back(i);
    }
    if (!quick_) return chosen;
    std::vector<size_t> some;
    const size_t count = std::min(kQuickCases, chosen.size());
    for (size_t i = 0; i < count; ++i) some.push_back(chosen[i * chosen.size() / count]);
    for (size_t i = 0; i < cases.size(); ++i) {
      if (cases[i].always && std::find(some.begin(), some.end(), i) == some.end()) some.push_back(i);
    }
    return some;
  }

  template <class Arguments>
  void run_on_card(const Case<Arguments>& problem, size_t i, const Side& host, bool apart,
                   void (*launcher)(const Arguments&, cuda::Launch&)) {
    const std::string where = problem.label + (apart ? " (4 bytes behind a boundary)" : "");
    cuda::Launch& launch = machine_.launch;
    Side card(machine_, true, seed(i), apart);
    const Arguments arguments = problem.build(card);
    std::vector<std::vector<std::byte>> first;
    for (const int stale : {0xff, 0}) {
      launch.free_workspace();
      leave_in_free_memory(stale, quick_ ? kQuickStaleBytes : kStaleBytes);
      card.restore();
      expect_cuda(cudaDeviceSynchronize(), "the work so far");
      launcher(arguments, launch);
      expect_cuda(cudaGetLastError(), (where + ": the launch").c_str());
      expect_cuda(cudaStreamSynchronize(launch.stream), (where + ": the kernel").c_str());
      const cuda::Launch::Refusal refusal = launch.take_refusal();
      if (refusal.bytes) return fail(where, "no memory for a workspace of " + std::to_string(refusal.bytes) + " bytes");
      if (refusal.cublaslt) return fail(where, "cuBLASLt refuses by status " + std::to_string(refusal.cublaslt));
      if (refusal.expected) {
        ++refused_;
        refusal_ = refusal.expected;
        return;
      }
      const FoundFault fault = take_found(launch);
      if (!(fault == host.found())) return fail(where, words(fault) + " and not " + words(host.found()));
      card.collect();
      if (stale == 0) break;
      first = card.left();
      const std::string trouble = card.compare(host, worst_);
      if (!trouble.empty()) return fail(where, trouble);
    }
    const std::string other = card.differs_in_bits(first);
    if (!other.empty()) return fail(where, other + ": other bits in a second run");
    ++count_;
  }

  int64_t cublaslt_products() const {
    return machine_.launch.cublaslt ? cuda::products_of(machine_.launch.cublaslt) : 0;
  }

  // Our own products stand in for what it has no algorithm for: were that all, nothing would be checked.
  void check_cublaslt(int64_t products) {
    const std::string name = name_;
    if (!machine_.launch.cublaslt || (name != "linear_forward" && name != "linear_backward")) return;
    std::printf("%s: %lld products by cuBLASLt\n", name_, static_cast<long long>(products));
    if (products == 0) fail("", "no product by cuBLASLt");
  }

  void fail(const std::string& where, const std::string& what) {
    constexpr int kShown = 5;
    if (++failures_ <= kShown) std::printf("%s [%s] %s\n", name_, where.c_str(), what.c_str());
  }

  Machine& machine_;
  const char* name_;
  const bool quick_;
  int count_ = 0;
  int failures_ = 0;
  int refused_ = 0;
  std::string refusal_;
  Side::Worst worst_;
};

struct Entry {
  const char* name;
  std::function<bool(Machine&)> run;
};

// Whether that is the kernel's name, or its op's: pool for pool_forward and pool_backward.
bool is_chosen(const std::string& name, const std::string& only) {
  return only.empty() || name == only || name.starts_with(only + "_");
}

// Kernels with a launcher.
std::vector<Entry> entries(const CaseTable& table, const Options& options) {
  std::vector<Entry> all;
#define SEQRISK_KERNEL(function, Arguments)                                                     \
  if (cuda::kLaunchers.function) {                                                              \
    all.push_back({#function, [&](Machine& machine) {                                           \
                     return Check(machine, #function, options)                                  \
                         .run(table.function, machine.cpu.function, cuda::kLaunchers.function); \
                   }});                                                                         \
  }
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
  // No product of bfloat16 is in them.
  if (!options.bfloat16) all.push_back({"gbrt_fit", [&](Machine&) { return check_fits(options.quick); }});
  const Precision precision = options.bfloat16 ? Precision::bfloat16 : Precision::float32;
  if (options.bfloat16 && options.cublaslt.empty()) {
    all.push_back(
        {"gated_separable_conv_parts", [&](Machine& machine) { return check_parts(machine, table, options.quick); }});
  }
  all.push_back({"graphs", [=](Machine&) { return check_graphs(precision); }});
  std::erase_if(all, [&](const Entry& entry) { return !is_chosen(entry.name, options.only); });
  return all;
}

void open_card(cuda::Launch& launch) {
  cudaDeviceProp properties;
  expect_cuda(cudaGetDeviceProperties(&properties, 0), "the card's properties");
  launch.multiprocessors = properties.multiProcessorCount;
  launch.capability = properties.major * 10 + properties.minor;
  launch.shared_limit = properties.sharedMemPerBlockOptin;
  expect_cuda(cudaStreamCreateWithFlags(&launch.stream, cudaStreamNonBlocking), "a stream");
  expect_cuda(cudaMalloc(reinterpret_cast<void**>(&launch.faults), sizeof(cuda::FaultRecord)), "memory");
  expect_cuda(cudaMemset(launch.faults, 0, sizeof(cuda::FaultRecord)), "a fill");
}

Totals check_all(const std::vector<Entry>& all, const CudaDevice& card, const Options& options) {
  Totals totals;
  totals.skipped = static_cast<int>(all.size());
  if (options.bfloat16 && card.capability < 80) {
    std::printf("skipped: %s has no bfloat16\n", card.name.c_str());
    return totals;
  }
  const KernelTable& cpu = choose_cpu_variant("");
  ThreadPool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  cuda::Launch launch;
  launch.bfloat16 = options.bfloat16;
  open_card(launch);
  if (options.capability > 0) launch.capability = std::min(launch.capability, options.capability);
  if (!options.cublaslt.empty()) {
    const char* missing = "";
    launch.cublaslt = cuda::open_cublaslt(options.cublaslt.c_str(), &missing);
    if (!launch.cublaslt) throw Error::coded("NO_CUBLASLT", missing);
  }
  std::printf("%s%s%s against %s, %d threads\n", card.name.c_str(), options.bfloat16 ? ", bfloat16" : "",
              launch.cublaslt ? " by cuBLASLt" : "", cpu.name, pool.count());
  Machine machine{cpu, pool, launch};
  for (const Entry& entry : all) {
    --totals.skipped;
    try {
      ++(entry.run(machine) ? totals.passed : totals.failed);
    } catch (const Error& error) {
      // A card that failed once fails ever after.
      std::printf("%s FAILED: %s\n", entry.name, error.what());
      ++totals.failed;
      break;
    }
  }
  cuda::close_cublaslt(launch.cublaslt);
  launch.free_workspace();
  cudaFree(launch.faults);
  cudaStreamDestroy(launch.stream);
  return totals;
}

bool read_options(int count, char** arguments, Options& options) {
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--bfloat16") {
      options.bfloat16 = true;
    } else if (argument == "--cublaslt" && i + 1 < count) {
      options.cublaslt = arguments[++i];
    } else if (argument == "--only" && i + 1 < count) {
      options.only = arguments[++i];
    } else if (argument == "--capability" && i + 1 < count) {
      options.capability = std::atoi(arguments[++i]);
    } else {
      std::fprintf(stderr,
                   "[cuda_parity] expected --only NAME, --quick, --bfloat16, --cublaslt LIBRARY or --capability N but "
                   "received %s\n",
                   argument.c_str());
      return false;
    }
  }
  return true;
}

int main_of(int count, char** arguments) {
  Options options;
  if (!read_options(count, arguments, options)) return kUsage;
  CaseTable table;
  add_attention_cases(table);
  add_convolution_cases(table);
  add_element_cases(table);
  add_field_cases(table);
  add_linear_cases(table);
  add_loss_cases(table);
  add_row_cases(table);
  add_tree_cases(table);
  const std::vector<Entry> all = entries(table, options);
  if (all.empty()) {
    std::fprintf(stderr,
                 "[cuda_parity] expected a kernel with a launcher but received %s; see native/ops/kernels.def\n",
                 options.only.c_str());
    return kUsage;
  }
  Totals totals;
  const CudaDevices found = cuda_devices();
  if (found.devices.empty()) {
    std::printf("skipped: %s\n", found.missing.c_str());
    totals.skipped = static_cast<int>(all.size());
  } else {
    totals = check_all(all, found.devices.front(), options);
  }
  std::printf("%d passed, %d failed, %d skipped\n", totals.passed, totals.failed, totals.skipped);
  return totals.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace seqrisk::parity

int main(int count, char** arguments) {
  try {
    return seqrisk::parity::main_of(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "[cuda_parity] %s\n", error.what());
    return 1;
  }
}
