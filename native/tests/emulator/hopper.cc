#include "tests/emulator/hopper.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace emulator {
namespace {

constexpr int64_t kMostBytes = (1 << 20) - 1;  // that a barrier counts; arrivals too
constexpr int kPiece = 16;                     // bytes that a swizzle leaves together
constexpr int kLine = 128;
constexpr int kWarpRows = 16;
constexpr int kDepth = 16;  // of k
constexpr int kMostColumns = 256;
constexpr int kWarpsOfGroup = 4;
constexpr unsigned kRegistersOfBlock = 65536;

// What a tensor map holds here.
struct Map {
  uint64_t mark;
  std::byte* base;
  int64_t width;
  int64_t height;
  int64_t stride;  // bytes
  int64_t box_height;
};
constexpr uint64_t kMark = 0x70616d726f736e65;
static_assert(sizeof(Map) <= sizeof(CUtensorMap));

struct Barrier {
  const void* at;
  int arrivals;
  int missing;    // arrivals of this phase
  int64_t bytes;  // that were announced and have not come
  uint32_t parity;
  unsigned maker;
  bool is_published;
};

struct Box {
  Map map;
  std::byte* shared;  // where `address` is
  uint32_t address;
  int inner;
  int outer;
  Barrier* barrier;
};

struct Stored {
  const std::byte* piece;
  unsigned thread;
};

// Threads that meet under a number.
struct Number {
  unsigned threads = 0;
  unsigned there = 0;
  unsigned rounds = 0;
  Where where;
};

// Sums of a warp that products work on: [column][row]. `registers` are those of its lanes.
struct Sums {
  float* registers[kLanes];
  int columns;
  std::vector<float> values;
  size_t last_group;
};
struct Work {
  Sums* sums;
  Product product;
};
struct Group {
  std::vector<Work> works;
  bool is_done;
};
struct Warp {
  std::vector<Product> issued[kLanes];  // not in a group yet
  bool is_open[kLanes] = {};
  std::vector<std::unique_ptr<Sums>> sums;
  std::deque<Group> groups;  // not waited for
  size_t groups_before = 0;
  size_t products = 0;
  int registers = 0;  // of a thread; 0: as the block got them
};

// When work beside the threads is done. Drawn for each block: one that is always prompt lets threads get far ahead of
// others.
enum class When { at_once, late, either };

struct State {
  When lands = When::at_once;
  When leaves = When::at_once;
  When multiplies = When::at_once;
  std::deque<Barrier> barriers;
  std::vector<Box> coming;
  std::vector<std::deque<Box>> leaving;  // of each thread, those that are not read
  std::vector<Stored> stored;            // by threads, unseen by the engine
  Number numbers[16];
  std::deque<Warp> warps;
  std::vector<std::vector<Product>> told;  // products of each group of four warps, as its first warp issued them
  int free_registers = 0;
};
State state;

bool is_now(When when) {
  return when == When::at_once || (when == When::either && below(2) == 0);
}

Warp& own_warp() {
  if (state.warps.empty()) {
    state.warps.resize((threads_of_block() + kLanes - 1) / kLanes);
    state.told.resize((state.warps.size() + kWarpsOfGroup - 1) / kWarpsOfGroup);
  }
  return state.warps[thread() / kLanes];
}
std::deque<Box>& own_leaving() {
  if (state.leaving.empty()) state.leaving.resize(threads_of_block());
  return state.leaving[thread()];
}

Barrier& barrier_at(const void* at, const Where& where) {
  for (Barrier& barrier : state.barriers) {
    if (barrier.at == at) return barrier;
  }
  fail("expected a barrier that was made", where);
}
// "emptied[3], phase 0, 1 of 4 arrivals and 0 bytes missing"
std::string words_of_barrier(const void* at) {
  for (const Barrier& barrier : state.barriers) {
    if (barrier.at != at) continue;
    return name_of_shared(at, sizeof(uint64_t)) + ", phase " + std::to_string(barrier.parity) + ", " +
           std::to_string(barrier.missing) + " of " + std::to_string(barrier.arrivals) + " arrivals and " +
           std::to_string(barrier.bytes) + " bytes missing";
  }
  return "";
}
void end_phase_if_complete(Barrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  barrier.parity ^= 1;
  wake(barrier.at);
}

// Where 16 bytes stand that belong at an address: pieces of a line change places by the line's number in eight.
uint32_t swizzled(uint32_t address) {
  return address ^ (address >> 7 & 7) << 4;
}

// Calls f(piece, values, first, bytes) for the pieces of a box. What lies inside of the matrix are the `bytes` from the
// piece's byte `first` on; `values` is where the piece's first byte would be in memory.
template <class F>
void over_box(const Box& box, F f) {
  constexpr int64_t kElements = kPiece / 2;
  for (int64_t line = 0; line < box.map.box_height; ++line) {
    const int64_t row = box.outer + line;
    for (int64_t p = 0; p < kLine / kPiece; ++p) {
      const int64_t column = box.inner + p * kElements;
      const auto address = static_cast<uint32_t>(box.address + line * kLine + p * kPiece);
      std::byte* piece = box.shared + (swizzled(address) - box.address);
      const bool is_row = row >= 0 && row < box.map.height;
      const int64_t first = std::clamp<int64_t>(-column, 0, kElements);
      const int64_t end = std::clamp<int64_t>(is_row ? box.map.width - column : 0, first, kElements);
      f(piece, box.map.base + (is_row ? row * box.map.stride + column * 2 : 0), first * 2, (end - first) * 2);
    }
  }
}
void land(const Box& box) {
  over_box(box, [](std::byte* piece, const std::byte* values, int64_t first, int64_t bytes) {
    if (bytes < kPiece) std::memset(piece, 0, kPiece);
    if (bytes > 0) std::memcpy(piece + first, values + first, static_cast<size_t>(bytes));
  });
  box.barrier->bytes -= box.map.box_height * kLine;
  end_phase_if_complete(*box.barrier);
}
void leave(const Box& box) {
  over_box(box, [](const std::byte* piece, std::byte* values, int64_t first, int64_t bytes) {
    if (bytes > 0) std::memcpy(values + first, piece + first, static_cast<size_t>(bytes));
  });
}

Box box_of(const void* shared, const CUtensorMap& tensor_map, int inner, int outer, const Where& where) {
  Box box{};
  std::memcpy(&box.map, &tensor_map, sizeof box.map);
  if (box.map.mark != kMark) fail("a tensor map that was not encoded", where);
  box.address = shared_address(shared, where);
  if (box.address % kLine != 0) fail("a box that is at no boundary of 128 bytes", where);
  box.shared = shared_at(box.address, static_cast<size_t>(box.map.box_height * kLine), where);
  box.inner = inner;
  box.outer = outer;
  return box;
}

// A matrix descriptor, as the PTX manual has it. Offsets are in bytes.
struct Operand {
  uint32_t address;
  uint32_t leading;
  uint32_t stride;
};
Operand operand_of(uint64_t descriptor) {
  constexpr uint64_t kUnused =
      ~(uint64_t{0x3fff} | uint64_t{0x3fff} << 16 | uint64_t{0x3fff} << 32 | uint64_t{3} << 62);
  if (descriptor >> 62 != 1) fail("expected an operand with a swizzle of 128 bytes", Where::current());
  if (descriptor & kUnused) fail("expected an operand without a base offset", Where::current());
  const auto bytes = [&](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3fff) << 4; };
  return {bytes(0), bytes(16), bytes(32)};
}

// to[k][i] = the operand's element k of row first + i. Where k is adjacent, a line is a row's, and eight of them come
// every `stride` bytes; else a line is 64 rows' at one k, eight of these come every `stride` bytes, and the next 64
// rows every `leading` bytes.
void read_operand(uint64_t descriptor, bool is_adjacent, int first, int rows, float* to) {
  const Operand operand = operand_of(descriptor);
  const auto offset = [&](int row, int k) {
    const auto r = static_cast<uint32_t>(row);
    const auto d = static_cast<uint32_t>(k);
    return is_adjacent ? r / 8 * operand.stride + r % 8 * kLine + d * 2
                       : r / 64 * operand.leading + r % 64 * 2 + d / 8 * operand.stride + d % 8 * kLine;
  };
  const uint32_t begin = operand.address / kLine * kLine;
  const uint32_t last = operand.address + offset(first + rows - 1, kDepth - 1);
  const std::byte* shared = shared_at(begin, (last / kLine + 1) * kLine - begin, Where::current());
  const int row_step = is_adjacent ? 1 : kPiece / 2;
  const int k_step = is_adjacent ? kPiece / 2 : 1;
  for (int row = 0; row < rows; row += row_step) {
    for (int k = 0; k < kDepth; k += k_step) {
      uint16_t piece[kPiece / 2];
      std::memcpy(piece, shared + (swizzled(operand.address + offset(first + row, k)) - begin), kPiece);
      for (int e = 0; e < kPiece / 2; ++e) {
        const int at = is_adjacent ? (k + e) * rows + row : k * rows + row + e;
        to[at] = std::bit_cast<float>(uint32_t{piece[e]} << 16);
      }
    }
  }
}

void carry_out(const Work& work) {
  const Product& product = work.product;
  static float left[kDepth * kWarpRows];
  static float right[kDepth * kMostColumns];
  const int first = static_cast<int>(thread() / kLanes % kWarpsOfGroup) * kWarpRows;
  read_operand(product.left, product.left_adjacent, first, kWarpRows, left);
  read_operand(product.right, product.right_adjacent, 0, product.columns, right);
  for (int column = 0; column < product.columns; ++column) {
    float* values = &work.sums->values[static_cast<size_t>(column * kWarpRows)];
    float sums[kWarpRows];
    std::copy_n(values, kWarpRows, sums);
    for (int k = 0; k < kDepth; ++k) {
      const float factor = right[k * product.columns + column];
      for (int row = 0; row < kWarpRows; ++row) sums[row] += left[k * kWarpRows + row] * factor;
    }
    std::copy_n(sums, kWarpRows, values);
  }
}
void carry_out(Group& group) {
  if (!group.is_done) {
    for (const Work& work : group.works) carry_out(work);
  }
  group.is_done = true;
}

// Calls f(register, value) for a lane's registers; lanes hold sums as those of mma.sync.
template <class F>
void over_registers(Sums& sums, int lane, F f) {
  for (int i = 0; i < sums.columns / 2; ++i) {
    const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    const int row = lane / 4 + i % 4 / 2 * 8;
    f(sums.registers[lane][i], sums.values[static_cast<size_t>(column * kWarpRows + row)]);
  }
}

bool is_same(const Product& a, const Product& b) {
  return a.columns == b.columns && a.left == b.left && a.right == b.right && a.left_adjacent == b.left_adjacent &&
         a.right_adjacent == b.right_adjacent;
}

Sums* sums_of(Warp& warp, size_t product) {
  const Product& first = warp.issued[0][product];
  for (const auto& sums : warp.sums) {
    if (sums->registers[0] == first.sums && sums->columns == first.columns) return sums.get();
  }
  auto sums = std::make_unique<Sums>();
  sums->columns = first.columns;
  sums->values.resize(static_cast<size_t>(first.columns * kWarpRows));
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!warp.is_open[lane]) fail("expected a fence between writing registers and a product", Where::current());
    sums->registers[lane] = warp.issued[lane][product].sums;
    over_registers(*sums, lane, [](float& in, float& value) {
      value = in;
      std::memset(&in, 0xff, sizeof in);
    });
  }
  warp.sums.push_back(std::move(sums));
  return warp.sums.back().get();
}

void close_group(void**) {
  Warp& warp = own_warp();
  std::vector<Product>& told = state.told[thread() / kLanes / kWarpsOfGroup];
  const size_t count = warp.issued[0].size();
  Group group{{}, false};
  for (size_t i = 0; i < count; ++i) {
    const Product& product = warp.issued[0][i];
    for (const auto& issued : warp.issued) {
      if (issued.size() != count || !is_same(issued[i], product)) {
        fail("expected the same products in all lanes", Where::current());
      }
    }
    if (warp.products == told.size()) told.push_back(product);
    if (!is_same(told[warp.products++], product)) fail("expected the same products in four warps", Where::current());
    Sums* sums = sums_of(warp, i);
    sums->last_group = warp.groups_before + warp.groups.size();
    group.works.push_back({sums, product});
  }
  for (auto& issued : warp.issued) issued.clear();
  warp.groups.push_back(std::move(group));
  if (is_now(state.multiplies)) {
    for (Group& it : warp.groups) carry_out(it);
  }
}

// After groups have left: registers that no other group works on get their sums.
void release_sums(Warp& warp) {
  std::erase_if(warp.sums, [&](const std::unique_ptr<Sums>& sums) {
    if (sums->last_group >= warp.groups_before) return false;
    for (int lane = 0; lane < kLanes; ++lane) {
      over_registers(*sums, lane, [](float& out, float value) { out = value; });
    }
    return true;
  });
}

int launch_registers() {
  constexpr unsigned kMost = 248;
  return static_cast<int>(std::min(kRegistersOfBlock / threads_of_block() / 8 * 8, kMost));
}
std::string words_of_registers(const void*) {
  return std::to_string(state.free_registers) + " registers are free";
}

}  // namespace

void make_barrier(const void* at, int arrivals, const Where& where) {
  if (arrivals < 1 || arrivals > kMostBytes) fail("expected a barrier to be made for arrivals", where);
  if (shared_address(at, where) % sizeof(uint64_t) != 0) fail("a barrier that is at no boundary", where);
  for (const Barrier& barrier : state.barriers) {
    if (barrier.at == at) fail("expected a barrier to be made once", where);
  }
  state.barriers.push_back({at, arrivals, arrivals, 0, 0, thread(), false});
}

void publish_barriers() {
  for (Barrier& barrier : state.barriers) barrier.is_published |= barrier.maker == thread();
}

void arrive_at_barrier(const void* at, int64_t bytes, const Where& where) {
  Barrier& barrier = barrier_at(at, where);
  if (barrier.missing == 0) fail("expected no more arrivals at a barrier than it was made for", where);
  barrier.bytes += bytes;
  if (barrier.bytes > kMostBytes) fail("expected fewer bytes on their way to a barrier", where);
  --barrier.missing;
  end_phase_if_complete(barrier);
}

void wait_for_barrier(const void* at, uint32_t parity, const Where& where) {
  const Barrier& barrier = barrier_at(at, where);
  while (barrier.parity == parity) wait_for(at, words_of_barrier, where);
}

void fetch_box(void* shared, const CUtensorMap& map, int inner, int outer, const void* barrier, const Where& where) {
  Box box = box_of(shared, map, inner, outer, where);
  box.barrier = &barrier_at(barrier, where);
  if (!box.barrier->is_published) fail("expected a barrier that was published", where);
  if (is_now(state.lands)) return land(box);
  state.coming.push_back(box);
}

bool land_box() {
  if (state.coming.empty()) return false;
  std::swap(state.coming[below(state.coming.size())], state.coming.back());
  const Box box = state.coming.back();
  state.coming.pop_back();
  land(box);
  return true;
}

void send_box(const void* shared, const CUtensorMap& map, int inner, int outer, const Where& where) {
  const Box box = box_of(shared, map, inner, outer, where);
  const std::byte* end = box.shared + box.map.box_height * kLine;
  for (const Stored& stored : state.stored) {
    if (stored.piece >= box.shared && stored.piece < end) fail("expected a box that was published", where);
  }
  own_leaving().push_back(box);
  if (is_now(state.leaves)) wait_for_boxes(0);
}

void wait_for_boxes(size_t left) {
  std::deque<Box>& leaving = own_leaving();
  while (leaving.size() > left) {
    leave(leaving.front());
    leaving.pop_front();
  }
}

void store_matrices(uint32_t address, const uint32_t (&words)[4], const Where& where) {
  if (address % kPiece != 0) fail("a row of a matrix that is at no boundary", where);
  struct Lane {
    uint32_t words[4];
    std::byte* row;
    unsigned thread;
  };
  const Lane own{{words[0], words[1], words[2], words[3]}, shared_at(address, kPiece, where), thread()};
  in_warp<int>(
      kAllLanes, own,
      [](auto** posts) {
        if (std::find(posts, posts + kLanes, nullptr) != posts + kLanes) {
          fail("expected all lanes to store matrices", Where::current());
        }
        for (int l = 0; l < kLanes; ++l) {
          const Lane& to = posts[l]->in;
          for (int pair = 0; pair < 4; ++pair) {
            std::memcpy(to.row + pair * 4, &posts[l % 8 * 4 + pair]->in.words[l / 8], sizeof(uint32_t));
          }
          state.stored.push_back({to.row, to.thread});
        }
      },
      where);
}

void publish_stored() {
  std::erase_if(state.stored, [](const Stored& stored) { return stored.thread == thread(); });
}

void meet_number(int at, unsigned threads, const Where& where) {
  Number& number = state.numbers[at];
  if (number.there == 0) {
    number.threads = threads;
    number.where = where;
  }
  if (number.threads != threads || number.where.line() != where.line()) {
    fail("expected threads that meet under a number to come from one line", where);
  }
  const unsigned round = number.rounds;
  if (++number.there == threads) {
    number.there = 0;
    ++number.rounds;
    return wake(&number);
  }
  const auto words = [](const void* it) {
    const auto* stuck = static_cast<const Number*>(it);
    return "number " + std::to_string(stuck - state.numbers) + ", " + std::to_string(stuck->there) + " of " +
           std::to_string(stuck->threads) + " threads";
  };
  while (number.rounds == round) wait_for(&number, words, where);
}

void give_registers(int count, const Where& where) {
  meet_warp(kAllLanes, nullptr, nullptr, where);
  Warp& warp = own_warp();
  const int had = warp.registers == 0 ? launch_registers() : warp.registers;
  if (had < count) fail("expected no more registers to be given than there are", where);
  state.free_registers += (had - count) * kLanes;
  warp.registers = count;
  wake(&state.free_registers);
}

void take_registers(int count, const Where& where) {
  meet_warp(kAllLanes, nullptr, nullptr, where);
  Warp& warp = own_warp();
  const int had = warp.registers == 0 ? launch_registers() : warp.registers;
  if (had > count) fail("expected no fewer registers to be taken than there are", where);
  while (warp.registers != count) {
    if (state.free_registers < (count - had) * kLanes) {
      wait_for(&state.free_registers, words_of_registers, where);
      continue;
    }
    state.free_registers -= (count - had) * kLanes;
    warp.registers = count;
    wake(&state.free_registers);
  }
}

void open_products(const Where& where) {
  meet_warp(kAllLanes, nullptr, nullptr, where);
  own_warp().is_open[thread() % kLanes] = true;
}

void multiply(const Product& product, const Where& where) {
  if (thread() / kLanes / kWarpsOfGroup >= threads_of_block() / kLanes / kWarpsOfGroup) {
    fail("expected four warps to multiply", where);
  }
  own_warp().issued[thread() % kLanes].push_back(product);
}

void close_products(const Where& where) {
  meet_warp(kAllLanes, nullptr, close_group, where);
}

void wait_for_products(size_t left, const Where& where) {
  in_warp<int>(
      kAllLanes, left,
      [](auto** posts) {
        Warp& warp = own_warp();
        const size_t most = posts[thread() % kLanes]->in;
        while (warp.groups.size() > most) {
          carry_out(warp.groups.front());
          warp.groups.pop_front();
          ++warp.groups_before;
        }
        release_sums(warp);
        std::fill(std::begin(warp.is_open), std::end(warp.is_open), false);
      },
      where);
}

void start_hopper() {
  const auto drawn = [] { return static_cast<When>(below(3)); };
  state = {};
  state.lands = drawn();
  state.leaves = drawn();
  state.multiplies = drawn();
}

const char* unfinished() {
  if (!state.leaving.empty() && !own_leaving().empty())
    return "expected boxes to be waited for before a thread returns";
  if (state.warps.empty()) return nullptr;
  const Warp& warp = own_warp();
  const bool multiplies = !warp.groups.empty() || !warp.issued[thread() % kLanes].empty();
  return multiplies ? "expected products to be waited for before a thread returns" : nullptr;
}

const char* wrong_at_end() {
  if (!state.coming.empty()) return "expected boxes to be waited for before a block ends";
  for (size_t w = 0; w < state.warps.size(); ++w) {
    if (state.warps[w].products != state.told[w / kWarpsOfGroup].size())
      return "expected the same products in four warps";
  }
  return nullptr;
}

}  // namespace emulator

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
  constexpr uint64_t kMostElements = uint64_t{1} << 32;
  constexpr uint64_t kMostStride = uint64_t{1} << 40;
  constexpr unsigned kMostBox = 256;
  if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || rank != 2 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      swizzle != CU_TENSOR_MAP_SWIZZLE_128B || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE || steps[1] != 1) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  if (reinterpret_cast<uintptr_t>(map) % alignof(CUtensorMap) != 0 || reinterpret_cast<uintptr_t>(base) % 16 != 0 ||
      strides[0] % 16 != 0 || strides[0] >= kMostStride) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  for (int axis = 0; axis < 2; ++axis) {
    if (sizes[axis] == 0 || sizes[axis] > kMostElements || box[axis] == 0 || box[axis] > kMostBox) {
      return CUDA_ERROR_INVALID_VALUE;
    }
  }
  if (box[0] * 2 > emulator::kLine) return CUDA_ERROR_INVALID_VALUE;
  if (box[0] * 2 < emulator::kLine) return CUDA_ERROR_NOT_SUPPORTED;
  const emulator::Map content{emulator::kMark,
                              static_cast<std::byte*>(base),
                              static_cast<int64_t>(sizes[0]),
                              static_cast<int64_t>(sizes[1]),
                              static_cast<int64_t>(strides[0]),
                              static_cast<int64_t>(box[1])};
  *map = {};
  std::memcpy(map, &content, sizeof content);
  return CUDA_SUCCESS;
}
