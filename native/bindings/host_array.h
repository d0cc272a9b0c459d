// Typed arrays of any number type, and rows of values copied out of them for work that outlives the call.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace seqrisk {

struct HostNumbers {
  const void* data = nullptr;
  int64_t length = 0;
  napi_typedarray_type type{};

  // Whether float32 holds every value of the type.
  bool fits_float() const;
};

// Refuses what cannot be read right now: shared memory, detached buffers, bigints. `where` ends in "expected ";
// `wanted` is the array's name in errors.
HostNumbers host_numbers(const Napi::Value& value, const std::string& where, const char* wanted = "a typed array");
// Refuses any other type than a Float32Array, an Int32Array or a Uint8Array of that length as well.
const float* host_floats(const Napi::Value& value, int64_t length, const std::string& where);
const int32_t* host_ints(const Napi::Value& value, int64_t length, const std::string& where);
const uint8_t* host_bytes(const Napi::Value& value, int64_t length, const std::string& where);
const double* host_doubles(const Napi::Value& value, int64_t length, const std::string& where);

// values[first + i·stride] for i < count, as float or double.
template <class T>
void copy_numbers(const HostNumbers& from, int64_t first, int64_t stride, int64_t count, T* to);

// values[first + rows[i]·stride] for i < count.
template <class T>
void gather_numbers(const HostNumbers& from, int64_t first, int64_t stride, const int32_t* rows, int64_t count, T* to);

// One column of staged rows.
struct StagedColumn {
  const void* values;
  int64_t stride;
  bool is_double;
};

// A copy of rows [start, start + count): of one row-major array, or of a list of columns.
class StagedRows {
 public:
  // With `uniform`, all columns get one type and the same stride from row to row and from column to column.
  StagedRows(const Napi::Value& values, int64_t features, int64_t start, int64_t count, bool uniform,
             const std::string& where);
  const std::vector<StagedColumn>& columns() const { return columns_; }

  // Where a call over uniform rows finds them.
  template <class Call>
  void give(Call& call) const {
    call.values = columns_[0].values;
    call.is_double = columns_[0].is_double;
    call.row_stride = columns_[0].stride;
    call.feature_stride = columns_[0].stride == 1 ? rows_ : 1;
    call.rows = rows_;
  }
  // All of them, as they lie in memory.
  const void* data() const { return memory_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* reserve(size_t bytes);

  int64_t rows_ = 0;
  std::unique_ptr<double[]> memory_;  // of doubles, for their alignment
  size_t bytes_ = 0;
  std::vector<StagedColumn> columns_;
};

}  // namespace seqrisk
