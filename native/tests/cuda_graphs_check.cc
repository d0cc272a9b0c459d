#include "tests/cuda_graphs_check.h"

#include <cstdio>
#include <memory>
#include <numeric>
#include <string>

#include "ops/add.h"
#include "ops/gather_rows.h"
#include "ops/linear.h"
#include "ops/scale.h"
#include "runtime/cuda_device.h"
#include "tests/stream_calls.h"

namespace seqrisk::parity {
namespace {

constexpr int kSteps = 3;
constexpr int kRounds = 20;
constexpr int64_t kRows = 33;
constexpr int64_t kWidth = 16;
constexpr int64_t kCount = kRows * kWidth;
constexpr size_t kLargeBytes = size_t{5} << 20;

std::shared_ptr<Stream> open(bool graphs, Precision precision, bool guard) {
  CudaOptions options;
  options.precision = precision;
  options.graphs = graphs;
  options.guard = guard;
  return open_cuda_stream(options);
}

// What is enqueued meanwhile waits, so that it is as many commands as a graph takes.
template <class Enqueue>
void enqueue_together(Stream& stream, Enqueue enqueue) {
  std::promise<void> gate;
  stream.run(
      [opened = gate.get_future().share()](HostContext&) -> std::optional<Error> {
        opened.wait();
        return std::nullopt;
      },
      nullptr);
  enqueue();
  gate.set_value();
}

float* floats(std::byte* bytes) {
  return reinterpret_cast<float*>(bytes);
}

void fill(Stream& stream, float* to, float value, int64_t count) {
  uint32_t pattern;
  std::memcpy(&pattern, &value, sizeof pattern);
  stream.fill(reinterpret_cast<std::byte*>(to), pattern, static_cast<size_t>(count));
}

// Steps of products, sums, copies, fills and uploads, each of which the next one builds on; a step's graphs are like
// those of the step before, with other numbers in them.
std::vector<float> steps(Stream& stream) {
  Memory memory(stream);
  constexpr size_t kBytes = kCount * sizeof(float);
  float* x = floats(memory.take(kBytes));
  float* y = floats(memory.take(kBytes));
  float* weight = floats(memory.take(kWidth * kWidth * sizeof(float)));
  std::byte* large = memory.take(kLargeBytes);
  std::vector<float> host(kLargeBytes / sizeof(float));
  std::iota(host.begin(), host.end(), 1.0F);
  stream.upload(reinterpret_cast<std::byte*>(x), host.data(), kBytes);
  for (int64_t i = 0; i < kWidth * kWidth; ++i) host[static_cast<size_t>(i)] = static_cast<float>(i % 7 - 3) / 16;
  stream.upload(reinterpret_cast<std::byte*>(weight), host.data(), kWidth * kWidth * sizeof(float));
  std::vector<float> left;
  for (int step = 0; step < kSteps; ++step) {
    enqueue_together(stream, [&] {
      for (int round = 0; round < kRounds; ++round) {
        LinearForward product{};
        product.x = x;
        product.weight = weight;
        product.out = y;
        product.rows = kRows;
        product.in_features = product.out_features = product.x_stride = product.out_stride = kWidth;
        product.residual_stride = kWidth;
        stream.submit(Kernel::linear_forward, product);
        ScaleForward scaled{};
        scaled.x = y;
        scaled.out = y;
        scaled.count = kCount;
        scaled.factor = 0.5F + static_cast<float>(round + step) / 64;
        stream.submit(Kernel::scale_forward, scaled);
        AddForward sum{};
        sum.a = x;
        sum.b = y;
        sum.out = x;
        sum.count = kCount;
        stream.submit(Kernel::add_forward, sum);
        stream.copy(reinterpret_cast<std::byte*>(y), reinterpret_cast<std::byte*>(x), kBytes);
        // Over itself, by way of scratch memory, which grows: what is recorded works on the one before.
        const size_t overlapping = static_cast<size_t>(round + 1) * kWidth * sizeof(float);
        stream.copy(reinterpret_cast<std::byte*>(y + 4), reinterpret_cast<std::byte*>(y), overlapping);
        fill(stream, y + round, static_cast<float>(step), kWidth);
        const float uploaded = static_cast<float>(step * round);
        stream.upload(reinterpret_cast<std::byte*>(x + round), &uploaded, sizeof uploaded);
        if (round != kRounds / 4) continue;
        // More than a segment of the pinned memory that uploads wait in.
        stream.upload(large, host.data(), kLargeBytes);
        stream.copy(reinterpret_cast<std::byte*>(x), large + kLargeBytes - kBytes, kBytes);
      }
    });
    for (const float* from : {x, y}) {
      const std::vector<float> values = read(stream, from, kCount);
      left.insert(left.end(), values.begin(), values.end());
    }
  }
  return left;
}

// A kernel that meets a value which it cannot use, in a graph that is not full when somebody waits for it: uploads do
// not fill one.
std::string fault_is_told(Stream& stream) {
  Memory memory(stream);
  float* x = floats(memory.take(kCount * sizeof(float)));
  float* out = floats(memory.take(2 * kWidth * sizeof(float)));
  auto* index = reinterpret_cast<int32_t*>(memory.take(2 * sizeof(int32_t)));
  const int32_t indices[] = {0, kRows};
  stream.upload(reinterpret_cast<std::byte*>(index), indices, sizeof indices);
  enqueue_together(stream, [&] {
    for (int i = 0; i < kRounds; ++i) fill(stream, x, static_cast<float>(i), kCount);
    stream.submit(Kernel::gather_rows_forward, GatherRowsForward{x, index, out, kRows, 2, kWidth, nullptr});
    for (int i = 0; i < 2 * kRounds; ++i) {
      const auto value = static_cast<float>(-i);
      stream.upload(reinterpret_cast<std::byte*>(x), &value, sizeof value);
    }
  });
  const std::optional<Error> error = outcome([&](Completion done) { stream.fence(std::move(done)); });
  const std::string told = error ? error->what() : "nothing";
  if (told.find("[gather_rows_forward]") == std::string::npos || told.find("received 33") == std::string::npos) {
    return "a fault in a graph is told as: " + told;
  }
  return read(stream, x, 1)[0] == 1 - 2 * kRounds ? "" : "what stands behind a fault did not run";
}

// What is wrong, or nothing.
std::string trouble(Precision precision, bool guard) {
  const std::shared_ptr<Stream> alone = open(false, precision, guard);
  const std::shared_ptr<Stream> together = open(true, precision, guard);
  const std::vector<float> expected = steps(*alone);
  if (alone->graphs() > 0) return "a stream without graphs has some";
  const std::vector<float> values = steps(*together);
  if (together->graphs() == 0) return "nothing went into a graph";
  if (!same_bits(values, expected)) return "other bits in graphs than one by one";
  if (!same_bits(steps(*together), expected)) return "other bits in a second run";
  return fault_is_told(*together);
}

}  // namespace

bool check_graphs(Precision precision) {
  int failures = 0;
  for (const bool guard : {false, true}) {
    const std::string found = trouble(precision, guard);
    if (found.empty()) continue;
    ++failures;
    std::printf("graphs [%s] %s\n", guard ? "guarded" : "as users have it", found.c_str());
  }
  std::printf("%-32s %4d cases  %s\n", "graphs", 2, failures == 0 ? "ok" : "FAILED");
  std::fflush(stdout);
  return failures == 0;
}

}  // namespace seqrisk::parity
