#include "ops/adamw.h"

#include <cmath>
#include <memory>
#include <vector>

#include "bindings/args.h"
#include "bindings/bindings.h"

namespace seqrisk {
namespace {

// Reads a list as long as `tensors`, one call of `read` for each of them.
template <class Read>
void read_list(Args& args, const char* name, std::vector<AdamwTensor>& tensors, Read read) {
  const int64_t count = args.list_begin(name);
  if (count != static_cast<int64_t>(tensors.size())) {
    args.refuse(std::string(name) + " to have " + std::to_string(tensors.size()) + " elements, as values has",
                std::to_string(count));
  }
  for (AdamwTensor& tensor : tensors) read(tensor);
  args.list_end();
}

void adamw_update(Args& args) {
  auto tensors = std::make_shared<std::vector<AdamwTensor>>();
  AdamwUpdate call{};
  const int64_t count = args.list_begin("values");
  for (int64_t i = 0; i < count; ++i) {
    Dim size;
    AdamwTensor tensor{};
    tensor.value = args.output_flat("values", size);
    tensor.size = size;
    tensor.first_task = call.tasks;
    call.tasks += adamw_tasks(size);
    tensors->push_back(tensor);
  }
  args.list_end();
  const auto read_floats = [&](const char* name, float* AdamwTensor::* field) {
    read_list(args, name, *tensors, [&](AdamwTensor& tensor) {
      Dim size = tensor.size;
      tensor.*field = args.output_flat(name, size);
    });
  };
  read_floats("gradients", &AdamwTensor::gradient);
  read_floats("m", &AdamwTensor::m);
  read_floats("v", &AdamwTensor::v);
  read_list(args, "decay", *tensors, [&](AdamwTensor& tensor) { tensor.decay = args.flag("decay"); });
  call.norm = args.output("norm", {1});
  call.lr = args.number("lr", 0, 1e6);
  call.beta1 = args.number("beta1", 0, 0.999999);
  call.beta2 = args.number("beta2", 0, 0.999999);
  call.eps = args.number("eps", 1e-30, 1);
  call.weight_decay = args.number("weight_decay", 0, 1e6);
  call.max_norm = args.number("max_norm", 1e-30, INFINITY);
  call.step = args.integer("step", 1, (int64_t{1} << 53) - 1);
  call.zero_gradients = args.flag("zero_gradients");
  args.finish();
  call.tensors = tensors->data();
  call.count = static_cast<int64_t>(tensors->size());
  const Scratch scratch = args.scratch(adamw_update_scratch(call.tasks));
  call.scratch = reinterpret_cast<double*>(scratch.bytes());
  args.stream().submit(Kernel::adamw_update, call, tensors);
}

}  // namespace

void register_adamw(Napi::Object& exports) {
  add_op<adamw_update>(exports, "adamw_update");
}

}  // namespace seqrisk
