#include "ops/gbrt_histogram.h"

#include "bindings/args.h"
#include "bindings/bindings.h"
#include "bindings/tree_handles.h"

namespace seqrisk {
namespace {

// packed: (rows, 2) int32, the halves of 64-bit integers, low first. out: (features, 2, 256, 2), alike.
void gbrt_histogram(Args& args) {
  const std::string where = "[gbrt_histogram] expected ";
  const auto matrix = binned_of(args.value(), where, true);
  if (matrix->stream.get() != &args.stream()) {
    throw Error::type(where + "a matrix on this stream but received one of another");
  }
  GbrtHistogram call{};
  call.bins = matrix->kernel_bins();
  Dim count;
  call.packed = reinterpret_cast<const int64_t*>(args.input_ids("packed", {call.bins.rows, 2}));
  call.row_index = args.optional_input_ids("row_index", {count});
  call.shift = static_cast<int>(args.integer("shift", 1, 62));
  call.most_weight = args.integer("most_weight", 1, kGbrtMostPending);
  call.out = reinterpret_cast<int64_t*>(args.output_ids("out", {call.bins.features, 2, kGbrtCells, 2}));
  args.finish();
  call.count = call.row_index ? static_cast<int64_t>(count) : call.bins.rows;
  if (reinterpret_cast<uintptr_t>(call.packed) % 8 != 0 || reinterpret_cast<uintptr_t>(call.out) % 8 != 0) {
    args.refuse("64-bit integers on their boundary", "a view that starts between two");
  }
  const int workers = args.stream().threads();
  const size_t bytes = static_cast<size_t>(GbrtCellMemory::words(call.bins.features) * workers) * 8;
  const Scratch scratch = args.scratch(bytes);
  call.cells = {reinterpret_cast<int64_t*>(scratch.bytes()), call.bins.features, workers};
  if (scratch.bytes()) args.stream().fill(scratch.bytes(), 0, bytes / 4);
  call.fault = args.stream().fault();
  args.stream().submit(Kernel::gbrt_histogram, call);
}

}  // namespace

void register_gbrt_histogram(Napi::Object& exports) {
  add_op<gbrt_histogram>(exports, "gbrt_histogram");
}

}  // namespace seqrisk
