// The leaf loops of the direct kernels: a tile holds, for each cell, one accumulator per output channel
// of a block ("lanes"), so each step of a convolution is one contiguous vector multiply-add. The loops
// are compiled once per instruction set and chosen at run time; every version gives the same bits,
// because lanes never mix and each fused multiply-add is written out.
#pragma once

#include <cstdint>

#include "../core/score.h"

namespace jaxsparse {

inline constexpr int kMaxLanes = 16;

// Entries [0, n) of one input channel meeting neighbouring taps of a kernel row: entry i adds
// value[i] * weight[k] to cell position[i] + shift[k]. Shifts fall, positions rise, so entry by entry a cell
// still meets the taps in their order.
template <class A>
struct Span {
  static constexpr int kTaps = 3;
  const int64_t* position;
  const A* value;
  int64_t n;
  int taps;
  int64_t shift[kTaps];
  const A* weight[kTaps];  // [lanes], 0 where masked
  uint32_t live[kTaps];    // lanes with a live weight
};

// The touched cells of a tile that are voxels: list entry i is cell cell[i] with key key[i].
struct CellList {
  int32_t* cell;
  int32_t* key;
  int64_t n;
};

// The same tile laid out by output channel: the accumulators of lane l are plane l, cells + l * stride. `pack_planes`
// turns them into lists, lane by lane, of the responses that are candidates and reach the floor; the values lie in
// the front of the planes.
template <class A>
struct Planes {
  A* cells;
  int64_t stride;
  int32_t* key;  // [lanes][key_stride]
  int64_t key_stride;
  int64_t n[kMaxLanes];
  int64_t found[kMaxLanes];  // candidates, whether they reach the floor or not

  A* plane(int64_t l) const { return cells + l * stride; }
  int32_t* keys(int64_t l) const { return key + l * key_stride; }
};

// What a tile holds: a list of cells, or planes.
template <class A>
struct TileResponses {
  CellList list;
  Planes<A>* planes;
};

// Cells of a plane that are looked at together; what is touched is remembered for so many at once.
inline constexpr int kPlaneBlockShift = 4;

// Turns a lane's accumulator into a response and says whether it is a candidate.
template <class A>
struct ResponseRule {
  const A* bias;   // [lanes]
  const A* floor;  // [lanes] weaker scores surely lose and are only counted; -inf: none are known to
  uint32_t lanes;  // which lanes are output channels
  Rule rule;
};

// Where the candidates of a tile go. A lane writes `room` of them directly; the later ones must pass the
// lane's bound (the weakest response that is kept so far) and go to its side list.
template <class A>
struct EmitState {
  int32_t* key[kMaxLanes];
  A* value[kMaxLanes];
  int64_t room[kMaxLanes];
  int32_t* side_key[kMaxLanes];
  A* side_value[kMaxLanes];
  int64_t side_n[kMaxLanes];
  int64_t side_capacity;
  A bound[kMaxLanes];             // score of the weakest kept response, -inf while nothing overflowed
  Rank<A> bound_rank[kMaxLanes];  // its exact rank
  int32_t bound_key[kMaxLanes];   // and the highest key kept at that rank
};

// A gradient window: for each cell of a ring, the cotangents of a block of output channels.
template <class A>
struct WindowTap {
  const A* cells;           // window cell of tile-relative position 0 under this tap
  const uint16_t* present;  // lanes that are stored outputs, same origin; null when every number is finite
  const A* weight;          // [lanes]
  A* weight_sum;            // [lanes] kernel gradient
  uint32_t live;
};

template <class A>
struct LaneOps {
  int lanes;
  void (*accumulate)(A* cells, const Span<A>* spans, int64_t count);
  // The same when an input is inf or NaN: a masked weight takes no part.
  void (*accumulate_exact)(A* cells, const Span<A>* spans, int64_t count);
  // The same in planes, live weight by live weight: fewer steps where few lanes of a tap are alive. Exact.
  void (*accumulate_planes)(A* cells, int64_t stride, const Span<A>* spans, int64_t count);
  // Packs cells [begin, end), whose keys begin with `key`, where their block's bit is set.
  void (*pack_planes)(Planes<A>& planes, const uint64_t* blocks, int64_t begin, int64_t end, int32_t key,
                      const ResponseRule<A>& rule);
  // Moves the responses whose score is not below `bound` to the front; how many there are.
  int64_t (*filter)(int32_t* keys, A* values, int64_t n, Rule rule, A bound);
  // Appends the set bits of [begin, end) to the list; cell begin has the given key. Null bits: all are set.
  void (*append_cells)(CellList& list, const uint64_t* bits, int64_t begin, int64_t end, int32_t key);
  // Candidates of each lane, and how many of them reach the floor. Cells where one does move to the front
  // of the tile, list entry i to cell i; all the others are set to 0 and leave the list.
  void (*count)(A* cells, CellList& list, const ResponseRule<A>& rule, int64_t* counts, int64_t* passed);
  // The loops below read a tile that `count` has packed.
  // Scores of the candidates of every step-th cell, into ranks[lane][room]; n[lane] grows.
  void (*sample)(const A* cells, const CellList& list, int64_t step, const ResponseRule<A>& rule, Rank<A>* ranks,
                 int64_t room, int64_t* n);
  // All that pass fit: no bound is looked at.
  void (*emit_all)(const A* cells, const CellList& list, const ResponseRule<A>& rule, EmitState<A>& out);
  // Returns the list index where it stopped: list.n, or earlier when a side list is full.
  int64_t (*emit_bounded)(const A* cells, const CellList& list, int64_t from, const ResponseRule<A>& rule,
                          EmitState<A>& out);
  // out[i] (+)= sum over lanes, ascending, of (sum over taps, in order, of window * weight).
  void (*input_grad)(const int64_t* position, int64_t n, int64_t origin, const WindowTap<A>* taps, int64_t count,
                     int channels, A* sums);
  // weight_sum[lane] += sum over entries, in order, of value * window, for each tap.
  void (*kernel_grad)(const int64_t* position, const A* value, int64_t n, int64_t origin, const WindowTap<A>* taps,
                      int64_t count);
};

// Leaf loops for blocks of 8 or 16 lanes on this processor.
template <class A>
const LaneOps<A>& lane_ops(int lanes);

// "avx512", "avx2" or "portable"; JAXSPARSE_ISA lowers it.
const char* instruction_set();

#define JAXSPARSE_DECLARE_ISA(isa)                \
  namespace isa {                                 \
  const LaneOps<float>& lane_ops_f32(int lanes);  \
  const LaneOps<double>& lane_ops_f64(int lanes); \
  }
JAXSPARSE_DECLARE_ISA(portable)
#if defined(__x86_64__)
JAXSPARSE_DECLARE_ISA(avx2)
JAXSPARSE_DECLARE_ISA(avx512)
#endif
#undef JAXSPARSE_DECLARE_ISA

}  // namespace jaxsparse
