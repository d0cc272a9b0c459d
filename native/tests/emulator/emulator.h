// Runs the CUDA kernels of this project on a processor, so that they can be compared with the CPU's where there is no
// card. The threads of a block are fibers of one thread of the host; blocks run one after the other.
//
// What a card leaves open is drawn from a seed: the order of blocks, which thread goes on next, and whether an
// asynchronous copy lands at once or when it is waited for. Nothing is at its old value by luck: shared memory is
// poisoned for every block, device memory when it is allocated. So a barrier that is missing gives wrong values, or
// others in a second run; one that not all threads reach ends the kernel with an error that says who waits where.
// What goes on beside the threads of a card of compute capability 9.0 is in hopper.h.
//
// The headers in include/ stand in for CUDA's own. Launches and shared memory have a syntax that C++ lacks:
// translate.mjs turns them into calls of what is here.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "tests/emulator/streams.h"

namespace emulator {

using Where = std::source_location;

constexpr int kLanes = 32;
constexpr unsigned kAllLanes = 0xffffffff;
constexpr int kPoison = 0xff;              // reads as NaN
constexpr size_t kMostShared = 227 << 10;  // bytes of a block, on cards of compute capability 9.0

extern const uint64_t seed;

// Of the last call of this thread of the host that failed, until cudaGetLastError takes it.
struct Failure {
  cudaError_t code = cudaSuccess;
  std::string text;
};
extern thread_local Failure failure;

struct Config {
  dim3 grid;
  dim3 block;
  size_t shared;
  cudaStream_t stream;
  Config(dim3 blocks, dim3 threads, size_t shared_bytes = 0, cudaStream_t on = nullptr)
      : grid(blocks), block(threads), shared(shared_bytes), stream(on) {}
};

// What a graph keeps.
struct Call {
  std::string what;
  std::function<void()> run;
};
// True where the host's thread is recording that stream for a graph, which then has the call.
bool keep(Call call, cudaStream_t stream);
// For a call that no graph can hold: true, and the recording fails, where the thread is recording that stream.
bool spoils_recording(cudaStream_t stream);

// Calls `thread` once for each thread of the grid. What goes wrong is the next cudaGetLastError's.
void run(const char* kernel, const Where& where, const Config& config, const std::function<void()>& thread);

// launch("name", config, call)(arguments…) is name<<<config>>>(arguments…).
template <class Call>
auto launch(const char* kernel, const Config& config, Call call, const Where& where = Where::current()) {
  return [=](const auto&... arguments) {
    const auto now = [=] { run(kernel, where, config, [&] { call(arguments...); }); };
    if (!keep({kernel, now}, config.stream) && before_launch(config.stream)) now();
  };
}

// Of the block: as many bytes as the launch asked for.
void* dynamic_shared();
// Of the block: what stands behind `key` in it, which is poison to those who come first.
void* static_shared(const void* key, const char* name, size_t bytes, size_t boundary);
template <class T>
T& shared(const char* name) {
  static const char key = 0;
  return *static_cast<T*>(static_shared(&key, name, sizeof(T), alignof(T)));
}
// Addresses in shared memory are the card's: where it starts differs from kernel to kernel.
uint32_t shared_address(const void* shared, const Where& where);
// What stands there: all of the bytes have to belong to one variable.
std::byte* shared_at(uint32_t address, size_t bytes, const Where& where);
// "filled[3]"
std::string name_of_shared(const void* shared, size_t element_bytes);

// Threads meet: each brings something to `posts`, at its place in the block or the warp; those that are not there have
// null. The last to come calls `resolve`, then all go on. A thread that has returned is not waited for. All must have
// come from the same line.
using Resolve = void (*)(void** posts);
void meet_block(void* post, Resolve resolve, const Where& where);
void meet_warp(unsigned mask, void* post, Resolve resolve, const Where& where);

// The same in types: resolve(posts) reads in and writes out of each that is there.
template <class In, class Out>
struct Post {
  In in;
  Out out;
};
template <class Out, class In, class F>
Out in_block(const In& in, F, const Where& where) {
  Post<In, Out> post{in, {}};
  meet_block(&post, [](void** posts) { F()(reinterpret_cast<Post<In, Out>**>(posts)); }, where);
  return post.out;
}
template <class Out, class In, class F>
Out in_warp(unsigned mask, const In& in, F, const Where& where) {
  Post<In, Out> post{in, {}};
  meet_warp(mask, &post, [](void** posts) { F()(reinterpret_cast<Post<In, Out>**>(posts)); }, where);
  return post.out;
}

// The thread waits until others wake those that wait for `what`. `tell` says what it is, in case
// nobody does.
using Tell = std::string (*)(const void* what);
void wait_for(const void* what, Tell tell, const Where& where);
void wake(const void* what);

// Drawn from the seed.
size_t below(size_t count);

unsigned threads_of_block();
// The thread's place in its block.
unsigned thread();

// Asynchronous copies of the thread. Without `is_there` zeros come.
void copy_async(void* to, const void* from, size_t bytes, bool is_there);
void close_async_group();
void wait_async_groups(size_t left);

// Ends the kernel; does not return. For what a card would call an error, or would not notice.
[[noreturn]] void fail(const char* what, const Where& where);

}  // namespace emulator
