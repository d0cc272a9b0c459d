// What crosses to JavaScript: streams, tensors and offsets, as type-tagged externals.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "ops/packing.h"
#include "ops/storage.h"
#include "runtime/stream.h"

namespace seqrisk {

// bfloat16: activations on a card of that precision.
enum class DType { float32, int32, bfloat16 };
const char* name_of(DType dtype);

inline Storage storage_of(DType dtype) {
  return dtype == DType::bfloat16 ? Storage::bfloat16 : Storage::float32;
}
inline int64_t bytes_of(DType dtype) {
  return dtype == DType::bfloat16 ? 2 : 4;
}

// Memory of one stream. References die on the JavaScript thread only: queued work needs none, since releasing a block
// is ordered behind it.
class Buffer {
 public:
  Buffer(std::shared_ptr<Stream> stream, size_t bytes, const char* where)
      : stream_(std::move(stream)), block_(stream_->allocate(bytes, where)) {}
  ~Buffer() { stream_->release(block_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return block_->begin(); }
  Stream& stream() const { return *stream_; }
  const std::shared_ptr<Stream>& shared_stream() const { return stream_; }

 private:
  std::shared_ptr<Stream> stream_;
  Block* block_;
};

struct Tensor {
  std::shared_ptr<Buffer> buffer;  // null once it was freed
  DType dtype;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // elements from the buffer's start

  int64_t elements() const;
  int64_t bytes() const { return elements() * bytes_of(dtype); }
  std::byte* data() const { return buffer->data() + offset * bytes_of(dtype); }
};

// Checked offsets of a packed batch, in the stream's memory.
struct Offsets {
  std::shared_ptr<Buffer> buffer;  // null once they were freed
  int64_t sequences;
  int64_t events;
  int32_t max_length;

  Packing packing() const { return {reinterpret_cast<const int32_t*>(buffer->data()), sequences, events, max_length}; }
};

using StreamHandle = std::shared_ptr<Stream>;

Napi::Value wrap_stream(Napi::Env env, StreamHandle stream);
Napi::Value wrap_tensor(Napi::Env env, Tensor tensor);
Napi::Value wrap_offsets(Napi::Env env, Offsets offsets);

// Null when the value is something else.
StreamHandle* unwrap_stream(const Napi::Value& value);
Tensor* unwrap_tensor(const Napi::Value& value);
Offsets* unwrap_offsets(const Napi::Value& value);

}  // namespace seqrisk
