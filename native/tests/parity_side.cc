#include "tests/parity_side.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "runtime/cuda_staging.h"

namespace seqrisk::parity {
namespace {

constexpr size_t kBoundary = 64;  // of host memory, as the CPU's allocator has it
constexpr int kPoison = 0xff;     // reads as NaN

// The upper half of a float32, rounded to nearest, ties to even; NaN stays.
uint16_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 1);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float widened(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

}  // namespace

void Side::Release::operator()(std::byte* data) const {
  if (on_card) {
    cudaFree(data);
  } else {
    std::free(data);
  }
}

std::unique_ptr<std::byte, Side::Release> Side::allocate(size_t bytes) {
  // Not null where there are no bytes: that would mean that the argument is left out.
  bytes = std::max<size_t>(bytes, 1);
  bytes_ += bytes;
  void* data = nullptr;
  if (on_card_) {
    expect_cuda(cudaMalloc(&data, bytes), "memory");
  } else {
    data = std::aligned_alloc(kBoundary, (bytes + kBoundary - 1) / kBoundary * kBoundary);
    if (!data) throw std::bad_alloc();
  }
  return {static_cast<std::byte*>(data), Release{on_card_}};
}

void* Side::place_bytes(std::string name, Use use, Judge judge, Element element, const void* values, size_t bytes) {
  Buffer buffer{std::move(name), use, judge, element, allocate(bytes + apart_ * sizeof(float)), nullptr, {}, {}};
  buffer.data = buffer.memory.get() + apart_ * sizeof(float);
  const auto* first = static_cast<const std::byte*>(values);
  if (bytes > 0) buffer.before.assign(first, first + bytes);
  write(buffer.data, buffer.before);
  buffers_.push_back(std::move(buffer));
  return buffers_.back().data;
}

float* Side::place_stored(const char* name, Use use, Judge judge, std::vector<float> values, Storage stored) {
  const auto count = static_cast<int64_t>(values.size());
  if (stored == Storage::float32) return static_cast<float*>(place(name, use, judge, values.data(), count));
  std::vector<uint16_t> halves;
  for (float& value : values) {
    halves.push_back(rounded(value));
    value = widened(halves.back());
  }
  if (judge.tolerance >= 0) judge.tolerance += kStoredError;
  void* data = on_card_ ? place_bytes(name, use, judge, Element::bfloat16, halves.data(), halves.size() * 2)
                        : place(name, use, judge, values.data(), count);
  return static_cast<float*>(data);
}

const float* Side::operands(int64_t count, double scale) {
  std::vector<float> values = random(count, scale);
  if (rounds_operands()) {
    for (float& value : values) value = widened(rounded(value));
  }
  return input(values);
}

void* Side::place_scratch(size_t bytes) {
  scratch_.push_back(allocate(bytes));
  std::memset(scratch_.back().get(), kPoison, bytes);
  return scratch_.back().get();
}

void Side::write(std::byte* to, const std::vector<std::byte>& bytes) const {
  if (bytes.empty()) return;
  if (on_card_) {
    expect_cuda(cudaMemcpy(to, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "an upload");
  } else {
    std::memcpy(to, bytes.data(), bytes.size());
  }
}

std::vector<std::byte> Side::read(const Buffer& buffer) const {
  std::vector<std::byte> bytes(buffer.before.size());
  if (bytes.empty()) return bytes;
  if (on_card_) {
    expect_cuda(cudaMemcpy(bytes.data(), buffer.data, bytes.size(), cudaMemcpyDeviceToHost), "a download");
  } else {
    std::memcpy(bytes.data(), buffer.data, bytes.size());
  }
  return bytes;
}

std::vector<float> Side::random(int64_t count, double scale) {
  std::normal_distribution<double> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  if (measures_) return values;
  for (float& value : values) value = static_cast<float>(normal(random_));
  return values;
}

int64_t Side::pick(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low));
}

std::vector<int32_t> Side::random_ids(int64_t count, int64_t low, int64_t high) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int32_t& value : values) value = static_cast<int32_t>(pick(low, high));
  return values;
}

Packing Side::packing(const std::vector<int32_t>& lengths) {
  std::vector<int32_t> offsets{0};
  int32_t longest = 0;
  for (const int32_t length : lengths) {
    offsets.push_back(offsets.back() + length);
    longest = std::max(longest, length);
  }
  const int64_t events = offsets.back();
  return {input(offsets), static_cast<int64_t>(lengths.size()), events, longest};
}

float* Side::output(const char* name, int64_t count, Judge judge, Storage stored) {
  std::vector<float> poison(static_cast<size_t>(count));
  if (count > 0) std::memset(poison.data(), kPoison, poison.size() * sizeof(float));
  return changed(name, poison, judge, stored);
}

void Side::wait_for_uploads() {
  expect_cuda(cudaDeviceSynchronize(), "the uploads");
}

void Side::snapshot() {
  if (on_card_) expect_cuda(cudaDeviceSynchronize(), "the work so far");
  for (Buffer& buffer : buffers_) buffer.before = read(buffer);
}

void Side::restore() {
  for (const Buffer& buffer : buffers_) write(buffer.data, buffer.before);
}

void Side::collect() {
  for (Buffer& buffer : buffers_) buffer.after = read(buffer);
}

FoundFault Side::found() const {
  if (!fault_->recorded) return {};
  return {true, fault_->expected, fault_->index, fault_->value};
}

size_t Side::size_of(const Buffer& buffer) {
  switch (buffer.element) {
    case Element::int64:
      return 8;
    case Element::uint8:
      return 1;
    case Element::bfloat16:
      return 2;
    default:
      return 4;
  }
}

double Side::value_of(const Buffer& buffer, size_t i) {
  const std::byte* data = buffer.after.data();
  switch (buffer.element) {
    case Element::float32:
      return static_cast<double>(reinterpret_cast<const float*>(data)[i]);
    case Element::int32:
      return reinterpret_cast<const int32_t*>(data)[i];
    case Element::int64:
      return static_cast<double>(reinterpret_cast<const int64_t*>(data)[i]);
    case Element::uint8:
      return reinterpret_cast<const uint8_t*>(data)[i];
    case Element::bfloat16:
      return static_cast<double>(widened(reinterpret_cast<const uint16_t*>(data)[i]));
  }
  return NAN;
}

// ‖card − cpu‖ / ‖cpu‖; infinite where one is NaN or infinite and the other is not the same.
double Side::error_of(const Buffer& card, const Buffer& cpu, std::string& trouble) {
  const size_t count = cpu.after.size() / size_of(cpu);
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < count; ++i) {
    const double got = value_of(card, i);
    const double want = value_of(cpu, i);
    if (got == want || (std::isnan(got) && std::isnan(want))) {
      if (std::isfinite(want)) size += want * want;
      continue;
    }
    // What is the device's own may also be where the CPU leaves nothing.
    if (std::isnan(want) && std::isinf(card.judge.tolerance)) continue;
    if (!std::isfinite(got) || !std::isfinite(want)) {
      trouble = "element " + std::to_string(i) + " of " + std::to_string(count) + " is " + std::to_string(got) +
                " and not " + std::to_string(want);
      return INFINITY;
    }
    difference += (got - want) * (got - want);
    size += want * want;
  }
  if (difference == 0) return 0;
  return std::sqrt(difference) / std::max(std::sqrt(size), card.judge.least * std::sqrt(static_cast<double>(count)));
}

std::string Side::compare(const Side& cpu, Worst& worst) const {
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const Buffer& card = buffers_[i];
    if (card.use == Use::input) {
      if (card.after != card.before) return "input " + std::to_string(i) + " was changed";
      continue;
    }
    const double tolerance = card.judge.tolerance;
    if (tolerance < 0) continue;
    // As float64 they may be equal where they are not.
    if (tolerance == 0 && card.element == Element::int64 && card.after != cpu.buffers_[i].after) {
      return card.name + ": other bits";
    }
    std::string trouble;
    const double error = error_of(card, cpu.buffers_[i], trouble);
    if (!trouble.empty()) return card.name + ": " + trouble;
    if (!(error <= tolerance)) {
      char numbers[64];
      std::snprintf(numbers, sizeof numbers, "%.2e, allowed %.2e", error, tolerance);
      return card.name + ": error " + numbers;
    }
    if (std::isinf(tolerance) || error == 0) continue;
    if (error / tolerance > (worst.of > 0 ? worst.error / worst.of : 0)) worst = {error, tolerance, card.name};
  }
  return "";
}

std::vector<std::vector<std::byte>> Side::left() const {
  std::vector<std::vector<std::byte>> all;
  for (const Buffer& buffer : buffers_) all.push_back(buffer.after);
  return all;
}

std::vector<std::string> Side::all_that_differ(const std::vector<std::vector<std::byte>>& other) const {
  std::vector<std::string> names;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (buffers_[i].after != other[i]) names.push_back(buffers_[i].name);
  }
  return names;
}

std::string Side::differs_in_bits(const std::vector<std::vector<std::byte>>& other) const {
  const std::vector<std::string> names = all_that_differ(other);
  return names.empty() ? "" : names.front();
}

}  // namespace seqrisk::parity
