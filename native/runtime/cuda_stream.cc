#include "runtime/cuda_stream.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <future>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/trap.h"

namespace seqrisk {
namespace {

// As on the CPU: poisoned memory reads as NaN, and a buffer stands between two zones of it. 256 bytes keep its start
// aligned as the card likes it.
constexpr int kPoison = 0xff;
constexpr size_t kGuardBytes = 256;
constexpr size_t kPinnedBytes = size_t{1} << 20;

// What `cuda_devices` says when the runtime finds no card.
std::string missing_of(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver: {
      int driver = 0;
      cudaDriverGetVersion(&driver);
      if (driver == 0) return "no NVIDIA driver is installed";
      return "the NVIDIA driver is too old: it knows CUDA " + std::to_string(driver / 1000) + "." +
             std::to_string(driver % 1000 / 10) + ", and this binary needs " + std::to_string(CUDART_VERSION / 1000) +
             ".0";
    }
    case cudaErrorNoDevice:
      return "the driver shows no card; look at CUDA_VISIBLE_DEVICES";
    default:
      return std::string("the driver answers ") + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
  }
}

// What a launch was refused for, if it was.
std::optional<Error> error_of(const cuda::Launch::Refusal& refusal, const char* kernel) {
  if (!refusal.bytes && !refusal.cublaslt && !refusal.expected) return std::nullopt;
  const std::string where = "[" + std::string(kernel) + "] expected ";
  if (refusal.bytes) {
    return Error::coded("OUT_OF_MEMORY", where + std::to_string(refusal.bytes) +
                                             " bytes of scratch memory on the card but it has none; use smaller "
                                             "batches or free tensors");
  }
  if (refusal.cublaslt == cuda::kCublasltInvalidValue || refusal.cublaslt == cuda::kCublasltNotSupported) {
    return Error::coded("NOT_ON_CUDA", where + "a number of rows that cuBLASLt's algorithm takes but received this " +
                                           "one; leave cublaslt out");
  }
  if (refusal.cublaslt) {
    return Error::coded("NOT_ON_CUDA", where + "cuBLASLt to multiply but received its status " +
                                           std::to_string(refusal.cublaslt) + "; leave cublaslt out");
  }
  return Error::coded("NOT_ON_CUDA", where + refusal.expected + " but received this one; use device 'cpu'");
}

}  // namespace

CudaDevices cuda_devices() {
  CudaDevices found;
  int count = 0;
  auto status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count == 0) status = cudaErrorNoDevice;
  for (int i = 0; status == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties;
    status = cudaGetDeviceProperties(&properties, i);
    if (status != cudaSuccess) break;
    found.devices.push_back({properties.name, properties.major * 10 + properties.minor, properties.multiProcessorCount,
                             properties.totalGlobalMem});
  }
  cudaGetLastError();
  if (status != cudaSuccess) {
    found.devices.clear();
    found.missing = missing_of(status);
  }
  return found;
}

std::shared_ptr<Stream> open_cuda_stream(const CudaOptions& options) {
  const CudaDevices found = cuda_devices();
  if (found.devices.empty()) {
    throw Error::coded("NO_CUDA", "[cuda] expected an NVIDIA card but " + found.missing +
                                      "; use device 'cpu' or 'auto', or install driver 580 or later");
  }
  const int count = static_cast<int>(found.devices.size());
  if (options.index < 0 || options.index >= count) {
    throw Error::range("[cuda] expected a card from 0 to " + std::to_string(count - 1) + " but received " +
                       std::to_string(options.index));
  }
  const int capability = found.devices[static_cast<size_t>(options.index)].capability;
  if (capability < 75) {
    throw Error::coded("NO_CUDA", "[cuda] expected a card of compute capability 7.5 or later but received " +
                                      std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                                      "; use device 'cpu'");
  }
  if (options.precision == Precision::bfloat16 && capability < 80) {
    throw Error::coded("NO_CUDA",
                       "[cuda] expected a card of compute capability 8.0 or later for bfloat16 but received "
                       "7.5; use precision 'float32'");
  }
  return std::make_shared<CudaStream>(options);
}

void lose_cuda_device(int index) {
  expect_cuda(cudaSetDevice(index), "the card");
  cuda::trap();
  cudaDeviceSynchronize();
  cudaGetLastError();
}

CudaStream::CudaStream(const CudaOptions& options)
    : index_(options.index),
      guard_(options.guard),
      host_kernels_(choose_cpu_variant("")),
      memory_(*this),
      allocator_(memory_, options.memory_limit),
      task_card_(*this) {
  use_device();
  try {
    open(options);
    start();
  } catch (...) {
    stop();
    throw;
  }
}

void CudaStream::open(const CudaOptions& options) {
  cudaDeviceProp properties;
  expect_cuda(cudaGetDeviceProperties(&properties, index_), "the card's properties");
  variant_ = "cuda";
  launch_.multiprocessors = properties.multiProcessorCount;
  launch_.capability = properties.major * 10 + properties.minor;
  launch_.shared_limit = properties.sharedMemPerBlockOptin;
  launch_.bfloat16 = options.precision == Precision::bfloat16;
  if (launch_.bfloat16) variant_ = "cuda-bfloat16";
  if (!options.cublaslt.empty()) {
    const char* missing = "";
    launch_.cublaslt = cuda::open_cublaslt(options.cublaslt.c_str(), &missing);
    if (!launch_.cublaslt) {
      throw Error::coded("NO_CUBLASLT", "[cuda] expected cuBLASLt in '" + options.cublaslt + "' but received: " +
                                            missing + "; install it, name its path, or leave cublaslt out");
    }
    variant_ += "-cublaslt";
  }
  expect_cuda(cudaStreamCreateWithFlags(&launch_.stream, cudaStreamNonBlocking), "a stream");
  expect_cuda(cudaMalloc(reinterpret_cast<void**>(&launch_.faults), sizeof(cuda::FaultRecord)), "memory");
  // In the stream's order: a fill of no stream may come behind the first kernel.
  expect_cuda(cudaMemsetAsync(launch_.faults, 0, sizeof(cuda::FaultRecord), launch_.stream), "memory");
  for (cudaEvent_t& event : lead_) {
    expect_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), "an event");
  }
  // Before the worker starts: it and the owner's cancel both reach for the pool.
  pool_ = std::make_unique<ThreadPool>(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  expect_cuda(cudaMallocHost(reinterpret_cast<void**>(&pinned_), kPinnedBytes), "pinned memory");
  if (options.graphs) {
    recorder_ = std::make_unique<GraphRecorder>(launch_.stream);
    launch_.hand_over = [](void* stream) { static_cast<CudaStream*>(stream)->hand_over(); };
    launch_.recorder = this;
  }
  uploads_ = std::make_unique<UploadRing>(launch_.stream, [this] { hand_over(); });
  landing_ = std::make_unique<Landing>(index_, launch_);
}

CudaStream::~CudaStream() {
  close();
}

void CudaStream::begin() {
  cudaSetDevice(index_);
}

void CudaStream::use_device() const {
  expect_cuda(cudaSetDevice(index_), "the card");
}

std::byte* CudaStream::Memory::allocate(size_t bytes) {
  stream_.use_device();
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaSuccess) return static_cast<std::byte*>(data);
  cudaGetLastError();  // too little memory spoils nothing
  if (status != cudaErrorMemoryAllocation) throw cuda_error(status, "an allocation");
  return nullptr;
}

void CudaStream::Memory::free(std::byte* data, size_t) {
  if (stream_.closed()) {
    cudaFree(data);
  } else {
    stream_.enqueue({[this, data] {
                       stream_.hand_over();
                       cudaFree(data);
                     },
                     nullptr, true});
  }
}

// Only where the card has no memory left, as the event loop waits meanwhile.
QueueClock CudaStream::Memory::settle(const QueueClock& clock) {
  if (stream_.closed()) return clock;
  std::promise<void> passed;
  stream_.enqueue({[&passed] { passed.set_value(); }, nullptr, true});
  passed.get_future().wait();
  return stream_.clock();
}

Block* CudaStream::allocate(size_t bytes, const char* where) {
  Block* block = allocator_.allocate(guard_ ? bytes + 2 * kGuardBytes : bytes, clock(), where);
  block->used = bytes;
  block->offset = guard_ ? kGuardBytes : 0;
  if (guard_) {
    enqueue({[this, block] { check(cudaMemsetAsync(block->data, kPoison, block->bytes, launch_.stream), "a fill"); },
             nullptr, true});
  }
  return block;
}

void CudaStream::release(Block* block) {
  if (guard_) {
    enqueue({[this, data = block->data, used = block->used, bytes = block->bytes] {
               launch_.kernel = "guard";
               cuda::check_guard(data, kGuardBytes, kPoison, launch_);
               const size_t end = kGuardBytes + used;
               cuda::check_guard(data + end, static_cast<int64_t>(bytes - end), kPoison, launch_);
             },
             nullptr, true});
  }
  allocator_.release(block, clock());
  if (closed()) allocator_.trim(0, clock());
}

void CudaStream::give_up() {
  pool_->stop();
  allocator_.trim(0, clock());
}

// Keeps the first error. A failure of the card stays: every later call reports it again.
void CudaStream::check(cudaError_t status, const char* what) {
  if (status == cudaSuccess || error_) return;
  error_ = cuda_error(status, what);
}

void CudaStream::submit_bytes(Kernel kernel, const void* arguments, size_t bytes, std::shared_ptr<const void> keep) {
  const auto* begin = static_cast<const std::byte*>(arguments);
  // As on the processor: a packed weight is kept for later calls.
  const bool always = kernel == Kernel::linear_pack;
  enqueue({[this, kernel, copy = std::vector<std::byte>(begin, begin + bytes), keep = std::move(keep)] {
             record();
             run_kernel(kernel, copy.data());
           },
           nullptr, always});
}

void CudaStream::run_kernel(Kernel kernel, const void* arguments) {
  switch (kernel) {
#define SEQRISK_KERNEL(function, Arguments)                                          \
  case Kernel::function:                                                             \
    launch_.kernel = #function;                                                      \
    if (cuda::kLaunchers.function) {                                                 \
      cuda::kLaunchers.function(*static_cast<const Arguments*>(arguments), launch_); \
    } else {                                                                         \
      launch_.refuse("a CPU device, where alone this runs");                         \
    }                                                                                \
    break;
#include "ops/kernels.def"
#undef SEQRISK_KERNEL
    case Kernel::count:
      break;
  }
  after_launch();
}

void CudaStream::run_kernel(CardKernel kernel, const void* arguments) {
  switch (kernel) {
#define SEQRISK_CARD_KERNEL(function, Arguments)                                   \
  case CardKernel::function:                                                       \
    launch_.kernel = #function;                                                    \
    cuda::kLaunchers.function(*static_cast<const Arguments*>(arguments), launch_); \
    break;
#include "ops/card_kernels.def"
#undef SEQRISK_CARD_KERNEL
    case CardKernel::count:
      break;
  }
  after_launch();
}

void CudaStream::after_launch() {
  const cuda::Launch::Refusal refusal = launch_.take_refusal();
  // A card that failed makes cuBLASLt refuse: that comes first, and who waits for the card hears of it.
  if (refusal.cublaslt) {
    hand_over();
    check(cudaStreamSynchronize(launch_.stream), launch_.kernel);
  }
  check(cudaGetLastError(), launch_.kernel);
  if (!error_) error_ = error_of(refusal, launch_.kernel);
  limit_lead();
}

// The next command launches: it may be kept for later.
void CudaStream::record() {
  if (!recorder_ || recorder_->recording() || backlog() < kGraphCommands) return;
  check(recorder_->begin(), "a recording");
  recorded_ = 0;
}

void CudaStream::hand_over() {
  if (!recorder_ || !recorder_->recording()) return;
  check(recorder_->hand_over(), "recorded work");
  if (unmarked_ >= kLeadCommands) mark();
}

void CudaStream::limit_lead() {
  ++unmarked_;
  if (!recorder_ || !recorder_->recording()) {
    if (unmarked_ >= kLeadCommands) mark();
    return;
  }
  recorder_->note(launch_.kernel);
  if (++recorded_ >= kGraphCommands) hand_over();
}

void CudaStream::mark() {
  unmarked_ = 0;
  const cudaEvent_t mark = lead_[next_mark_];
  next_mark_ = (next_mark_ + 1) % kLeadMarks;
  check(cudaEventSynchronize(mark), "the work so far");
  check(cudaEventRecord(mark, launch_.stream), "an event");
}

void CudaStream::upload(std::byte* device, const void* host, size_t bytes) {
  enqueue({[this, device, staged = staging().copy(host, bytes)]() mutable {
             record();
             const bool recorded = recorder_ && recorder_->recording();
             if (recorded) recorder_->note(uploads_.get());
             check(uploads_->upload(device, staged.data(), staged.size(), recorded), "an upload");
             staging().give_back(std::move(staged));
           },
           nullptr, true});
}

void CudaStream::download(void* host, const std::byte* device, size_t bytes, Completion done) {
  enqueue({[=, this] {
             hand_over();
             check(landing_->download(static_cast<std::byte*>(host), device, bytes), "a download");
           },
           std::move(done)});
}

void CudaStream::copy(std::byte* to, const std::byte* from, size_t bytes) {
  enqueue({[=, this] {
             const auto copy_bytes = [&](void* there, const void* here) {
               check(cudaMemcpyAsync(there, here, bytes, cudaMemcpyDeviceToDevice, launch_.stream), "a copy");
             };
             // A card cannot copy what overlaps, as views of one tensor may.
             const std::less<> before;
             launch_.kernel = "copy";
             record();
             if (to != from && before(to, from + bytes) && before(from, to + bytes)) {
               void* between = launch_.workspace(bytes);
               if (between) copy_bytes(between, from);
               if (between) copy_bytes(to, between);
               after_launch();
               return;
             }
             copy_bytes(to, from);
             limit_lead();
           },
           nullptr});
}

void CudaStream::fill(std::byte* device, uint32_t pattern, size_t words) {
  enqueue({[=, this] {
             launch_.kernel = "fill";
             record();
             cuda::fill_words(reinterpret_cast<uint32_t*>(device), pattern, static_cast<int64_t>(words),
                              launch_.stream);
             check(cudaGetLastError(), "a fill");
             limit_lead();
           },
           nullptr});
}

void CudaStream::fence(Completion done) {
  enqueue({nullptr, std::move(done)});
}

void CudaStream::run(HostTask task, Completion done) {
  enqueue({[this, task = std::move(task)] {
             hand_over();
             std::optional<Error> error = run_task(task, {host_kernels_, *pool_, &task_card_});
             if (!error_) error_ = std::move(error);
           },
           std::move(done)});
}

void CudaStream::TaskCard::upload(void* card, const void* host, size_t bytes) {
  const auto status =
      stream_.uploads_->upload(static_cast<std::byte*>(card), static_cast<const std::byte*>(host), bytes);
  stream_.check(status, "an upload");
}

void CudaStream::TaskCard::copy(void* to, const void* from, size_t bytes) {
  stream_.check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.launch_.stream), "a copy");
}

void CudaStream::TaskCard::clear(void* card, size_t bytes) {
  stream_.check(cudaMemsetAsync(card, 0, bytes, stream_.launch_.stream), "a fill");
}

bool CudaStream::TaskCard::download(void* host, const void* card, size_t bytes) {
  auto* to = static_cast<std::byte*>(host);
  const auto* from = static_cast<const std::byte*>(card);
  for (size_t at = 0; at < bytes && !stream_.error_; at += kPinnedBytes) {
    const size_t part = std::min(kPinnedBytes, bytes - at);
    const cudaStream_t stream = stream_.launch_.stream;
    stream_.check(cudaMemcpyAsync(stream_.pinned_, from + at, part, cudaMemcpyDeviceToHost, stream), "a download");
    stream_.check(cudaStreamSynchronize(stream), "the work so far");
    if (!stream_.error_) std::memcpy(to + at, stream_.pinned_, part);
  }
  return !stream_.error_;
}

void CudaStream::interrupt() {
  pool_->cancel();
}

void CudaStream::rearm() {
  pool_->reset_cancel();
}

void CudaStream::complete(Completion done, uint64_t position) {
  hand_over();
  const auto landed = [this, done, position, mine = std::move(error_)](std::optional<Error> found) {
    if (cancelled(position)) {
      done(cancelled_error());
    } else {
      done(mine ? mine : found);
    }
  };
  error_.reset();
  check(landing_->land(landed), "the work so far");
}

// Also of a stream that was opened in part.
void CudaStream::stop() {
  hand_over();
  landing_.reset();
  uploads_.reset();
  if (launch_.stream) cudaStreamSynchronize(launch_.stream);
  recorder_.reset();
  for (cudaEvent_t& event : lead_) {
    if (event) cudaEventDestroy(event);
  }
  cuda::close_cublaslt(launch_.cublaslt);
  launch_.free_workspace();
  cudaFree(launch_.faults);
  cudaFreeHost(pinned_);
  if (launch_.stream) cudaStreamDestroy(launch_.stream);
  cudaGetLastError();
}

}  // namespace seqrisk
