// The passes of attention: which rows a block of threads works on, and where its results go. Kernels of every precision
// share them.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_cut-inl.cuh"

namespace seqrisk {
namespace cuda {

// Events of a sequence that one block sums into a tile of slots; longer sequences are put together from parts.
constexpr int64_t kAttentionPart = 512;

// Parts of sequences longer than kAttentionPart: their out (slots, width), then their lse (slots, heads).
struct AttentionParts {
  float* values;  // null: no sequence is that long
  int64_t size;   // of one part

  // At most two parts start in any kAttentionPart events, of which one is its sequence's first.
  __device__ float* at(int64_t begin, bool first) const {
    return values + (2 * (begin / kAttentionPart) + (first ? 1 : 0)) * size;
  }
};

struct ForwardPass {
  AttentionProblem p;
  AttentionCut cut;
  int64_t tiles_per_block;
  AttentionParts parts;
  int64_t parts_of_tile;
};

// A tile of queries and the keys that they meet.
struct ForwardWork {
  AttentionTile tile;
  int64_t query;  // first row of q
  float* part;    // where the tile's share of out goes when its sequence is put together from parts, else null
  float* lse;     // first row; or null

  // False: nothing to do.
  __device__ bool find(const ForwardPass& pass) {
    const AttentionProblem& p = pass.p;
    tile = pass.cut.at(blockIdx.x / pass.parts_of_tile, pass.tiles_per_block);
    if (tile.rows == 0) return false;
    const bool writes = pass.cut.meeting == Meeting::slots_to_events;
    query = writes ? tile.first - tile.sequence * p.slots : tile.first;
    part = nullptr;
    lse = p.lse ? p.lse + tile.first * p.heads : nullptr;
    if (pass.parts_of_tile == 1 || tile.others <= kAttentionPart) return blockIdx.x % pass.parts_of_tile == 0;
    const int64_t skipped = blockIdx.x % pass.parts_of_tile * kAttentionPart;
    if (skipped >= tile.others) return false;
    tile.other_first += skipped;
    tile.others = tile.others - skipped < kAttentionPart ? tile.others - skipped : kAttentionPart;
    const int64_t width = p.heads * p.head_dim;
    float* whole = pass.parts.at(tile.other_first, skipped == 0);
    part = whole + query * width;
    lse = whole + p.slots * width + query * p.heads;
    return true;
  }
};

struct BackwardPass {
  AttentionProblem p;
  AttentionGradients g;
  AttentionCut cut;
  int64_t tiles_per_block;
  const float* delta;  // (rows of out, heads); null: kernels of one tile find it themselves
  float* partials;     // gradients of common queries: (chunks, slots, width); else null

  __device__ bool is_self() const { return cut.meeting == Meeting::blocks || cut.meeting == Meeting::sequences; }
};

// A tile of keys; their queries are rows of out, and those of q `query_shift` before them.
struct KeysWork {
  AttentionTile tile;
  int64_t query_shift;

  __device__ bool find(const BackwardPass& pass) {
    tile = pass.cut.at(blockIdx.x, pass.tiles_per_block);
    // Events that meet slots are the keys of the queries that all sequences share.
    query_shift = pass.cut.meeting == Meeting::events_to_slots ? tile.other_first : 0;
    return tile.rows > 0;
  }
  // The queries are the very events of this tile, and nothing else met them.
  __device__ bool has_queries(const BackwardPass& pass) const {
    return pass.is_self() && tile.others <= pass.cut.tile && pass.g.dq.values;
  }
};

// A tile of queries over all their keys. Without partials: of events over their block, sequence or slots. With them: of
// the common queries over the events of one chunk, sequence after sequence.
struct QueriesWork {
  AttentionTile tile;
  int64_t out_row;  // of the tile's first query
  int64_t chunk;
  int64_t chunk_end;

  __device__ bool find(const BackwardPass& pass) {
    const AttentionProblem& p = pass.p;
    if (!pass.partials) {
      tile = pass.cut.at(blockIdx.x, pass.tiles_per_block);
      out_row = tile.first;
      return tile.rows > 0 && !(pass.is_self() && tile.others <= pass.cut.tile);
    }
    const int64_t tiles_of_slots = ceil_div(p.slots, pass.cut.tile);
    const int64_t slot = blockIdx.x % tiles_of_slots * pass.cut.tile;
    chunk = blockIdx.x / tiles_of_slots;
    tile.first = slot;
    tile.rows = static_cast<int>(p.slots - slot < pass.cut.tile ? p.slots - slot : pass.cut.tile);
    tile.other_first = chunk * kQueryChunk;
    chunk_end = tile.other_first + kQueryChunk < p.packing.events ? tile.other_first + kQueryChunk : p.packing.events;
    tile.sequence = sequence_of(p.packing, tile.other_first);
    to_sequence(pass);
    return true;
  }
  // On to the next sequence of the chunk; false behind the last.
  __device__ bool next(const BackwardPass& pass) {
    if (!pass.partials) return false;
    tile.other_first += tile.others;
    if (tile.other_first >= chunk_end) return false;
    while (pass.p.packing.offsets[tile.sequence + 1] <= tile.other_first) ++tile.sequence;
    to_sequence(pass);
    return true;
  }
  // Where the chunk's partial sums of a column of the tile's queries stand.
  __device__ float* partials(const BackwardPass& pass, int64_t column) const {
    return pass.partials + (chunk * pass.p.slots + tile.first) * pass.p.heads * pass.p.head_dim + column;
  }

 private:
  __device__ void to_sequence(const BackwardPass& pass) {
    const int64_t end = pass.p.packing.offsets[tile.sequence + 1];
    tile.others = (end < chunk_end ? end : chunk_end) - tile.other_first;
    out_row = tile.sequence * pass.p.slots + tile.first;
  }
};

// Launches of one precision; `bytes` of shared memory are asked for where the default is too small.
template <class Kernel, class Pass>
void launch_pass(Kernel kernel, const Pass& pass, int64_t tiles, int threads, size_t bytes, Launch& launch) {
  constexpr int64_t kMostHeads = 65535;  // of a grid's second axis
  if (pass.p.heads > kMostHeads) return launch.refuse("at most 65535 heads");
  if (tiles == 0) return;
  allow_shared(kernel, bytes);
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(pass.p.heads));
  kernel<<<blocks, threads, bytes, launch.stream>>>(pass);
}

void forward_float32(ForwardPass pass, Launch& launch);
void keys_float32(BackwardPass pass, Launch& launch);
void queries_float32(BackwardPass pass, Launch& launch);
void forward_bfloat16(ForwardPass pass, Launch& launch);
void keys_bfloat16(BackwardPass pass, Launch& launch);
void queries_bfloat16(BackwardPass pass, Launch& launch);
// Whether keys_bfloat16 has all queries of its keys in one tile.
bool is_one_tile_bfloat16(BackwardPass pass);

}  // namespace cuda
}  // namespace seqrisk
