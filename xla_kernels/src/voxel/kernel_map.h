// The kernel map: for each tap and output site the row of the input site that it meets. Both lists ascend, and so does
// the relation of a tap: while the outputs are gone through, a pointer moves along the input. Taps that are neighbours
// along the last axis share it, so for a 3^3 kernel nine pointers move.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../core/parallel.h"
#include "site_list.h"

namespace jaxsparse::voxel {

// Sites that are looked up, in a piece of work; their coordinates stay in the first-level cache.
inline constexpr int64_t kMapRows = 512;

namespace internal {

// The first place at or behind `from` whose key is not below `key`. Ends with kNoKey.
inline const int64_t* not_below(const int64_t* from, const int64_t* end, int64_t key) {
  for (int step = 0; step < 16; ++step, ++from)
    if (*from >= key) return from;
  int64_t stride = 16;
  while (end - from > stride && from[stride] < key) {
    from += stride;
    stride *= 2;
  }
  return std::lower_bound(from, std::min(end, from + stride + 1), key);
}

// Looks up, for each asking row, the sites that it meets. The relation has in_stride 1 and its taps ascend.
struct LookUp {
  const Relation& r;
  const std::vector<int64_t>& keys;  // of the sites that are looked for; kNoKey behind them
  const int32_t* coords;             // of the rows that ask

  int dims() const { return r.dims; }
  int64_t last_size() const { return r.axis[r.dims - 1].in; }
  // Taps that share a pointer.
  int64_t group() const { return r.axis[r.dims - 1].step == 1 ? r.axis[r.dims - 1].kernel : 1; }

  struct Piece {
    int64_t rows;
    int64_t lead[kMapRows];          // the key of tap 0 without the last axis, as if there were no border
    int64_t at[kMaxDims][kMapRows];  // where tap 0 lies
    int64_t low[kMaxDims], high[kMaxDims];
  };

  void read(int64_t begin, int64_t end, Piece& piece) const {
    piece.rows = end - begin;
    for (int a = 0; a < dims(); ++a) piece.low[a] = kMostAnywhere, piece.high[a] = -kMostAnywhere;
    for (int64_t j = 0; j < piece.rows; ++j) {
      const int32_t* row = coords + (begin + j) * (dims() + 1);
      int64_t lead = row[0];
      for (int a = 0; a < dims(); ++a) {
        const Axis& x = r.axis[a];
        const int64_t at = x.out_stride * row[1 + a] + x.offset;
        piece.at[a][j] = at;
        piece.low[a] = std::min(piece.low[a], at);
        piece.high[a] = std::max(piece.high[a], at);
        // Far outside numbers wrap around; nobody looks at those.
        if (a + 1 < dims())
          lead = static_cast<int64_t>(static_cast<uint64_t>(lead) * static_cast<uint64_t>(x.in) +
                                      static_cast<uint64_t>(at));
      }
      piece.lead[j] = lead;
    }
  }

  // hit(j, t, n): row j of the piece meets site n, or -1 for none, at ascending tap t. Every j and t gets one.
  template <class Hit>
  void run(const Piece& piece, Hit&& hit) const {
    if (piece.rows == 0) return;
    const int64_t taps = r.taps(), group_size = group();
    int64_t tap[kMaxDims] = {};
    for (int64_t t = 0; t < taps; t += group_size) {
      int64_t shift[kMaxDims] = {}, lead = 0;
      bool inside = true, meets = true;
      for (int a = 0; a < dims(); ++a) {
        shift[a] = tap[a] * r.axis[a].step;
        if (a + 1 == dims()) break;
        lead = static_cast<int64_t>(static_cast<uint64_t>(lead) * static_cast<uint64_t>(r.axis[a].in) +
                                    static_cast<uint64_t>(shift[a]));
        inside &= piece.low[a] + shift[a] >= 0 && piece.high[a] + shift[a] < r.axis[a].in;
        meets &= piece.high[a] + shift[a] >= 0 && piece.low[a] + shift[a] < r.axis[a].in;
      }
      const int64_t last_shift = shift[dims() - 1];
      if (!meets)
        none(piece, t, group_size, hit);
      else if (inside)
        walk<false>(piece, t, group_size, shift, lead, last_shift, hit);
      else
        walk<true>(piece, t, group_size, shift, lead, last_shift, hit);
      if (group_size > 1) tap[dims() - 1] += group_size - 1;
      for (int a = dims() - 1; a >= 0 && ++tap[a] == r.axis[a].kernel; --a) tap[a] = 0;
    }
  }

 private:
  static constexpr int64_t kMostAnywhere = std::numeric_limits<int64_t>::max();

  template <class Hit>
  void none(const Piece& piece, int64_t t, int64_t group_size, Hit&& hit) const {
    for (int64_t g = 0; g < group_size; ++g)
      for (int64_t j = 0; j < piece.rows; ++j) hit(j, t + g, int64_t{-1});
  }

  template <bool border, class Hit>
  void walk(const Piece& piece, int64_t t, int64_t group_size, const int64_t* shift, int64_t lead, int64_t last_shift,
            Hit&& hit) const {
    const int last = dims() - 1;
    const int64_t size = last_size();
    const int64_t *first = keys.data(), *end = first + keys.size() - 1, *from = nullptr;
    for (int64_t j = 0; j < piece.rows; ++j) {
      bool inside = true;
      if constexpr (border)
        for (int a = 0; a < last; ++a)
          inside &= static_cast<uint64_t>(piece.at[a][j] + shift[a]) < static_cast<uint64_t>(r.axis[a].in);
      const int64_t x = piece.at[last][j] + last_shift;
      if (!inside || x >= size || x + group_size <= 0) {
        for (int64_t g = 0; g < group_size; ++g) hit(j, t + g, int64_t{-1});
        continue;
      }
      // The key of the first tap that lies in the line: it ascends with j.
      const int64_t line = (piece.lead[j] + lead) * size;
      const int64_t key = line + std::max<int64_t>(x, 0);
      from = from ? not_below(from, end, key) : std::lower_bound(first, end, key);
      const int64_t* next = from;
      if (x >= 0 && x + group_size <= size) {
        for (int64_t g = 0; g < group_size; ++g) {
          const bool met = *next == key + g;
          hit(j, t + g, met ? next - first : int64_t{-1});
          next += met;
        }
        continue;
      }
      for (int64_t g = 0; g < group_size; ++g) {
        const bool met = x + g >= 0 && x + g < size && *next == line + x + g;
        hit(j, t + g, met ? next - first : int64_t{-1});
        next += met;
      }
    }
  }
};

// The number of each tap when the taps of every axis are put in ascending order of what they reach; turns the relation.
inline std::vector<int64_t> ascending_taps(Relation& r) {
  std::vector<int64_t> numbers(1, 0);
  for (int a = 0; a < r.dims; ++a) {
    Axis& x = r.axis[a];
    const bool turned = x.step < 0;
    if (turned) {
      x.offset += (x.kernel - 1) * x.step;
      x.step = -x.step;
    }
    std::vector<int64_t> longer;
    longer.reserve(numbers.size() * static_cast<size_t>(x.kernel));
    for (const int64_t n : numbers)
      for (int64_t k = 0; k < x.kernel; ++k) longer.push_back(n * x.kernel + (turned ? x.kernel - 1 - k : k));
    numbers = std::move(longer);
  }
  return numbers;
}

}  // namespace internal

// coords [rows, 1 + dims], out_coords [out_rows, 1 + dims] -> map [taps, out_rows], `rows` where there is no input.
template <class Pool>
void kernel_map(Pool& pool, const Relation& relation, int64_t batch, const int32_t* coords, int64_t rows,
                const int32_t* out_coords, int64_t out_rows, int32_t* map) {
  // The list with the coarser grid asks: every tap of its rows may meet something.
  const bool turned = !relation.in_stride_is_one();
  Relation r = turned ? relation.reversed() : relation;
  const std::vector<int64_t> tap_number = internal::ascending_taps(r);
  const Box in = in_box(relation, batch), out = out_box(relation, batch);
  std::vector<int64_t> keys = turned ? stored_keys(out, out_coords, out_rows) : stored_keys(in, coords, rows);
  keys.push_back(kNoKey);
  const int64_t asking = turned ? stored_rows(in, coords, rows) : stored_rows(out, out_coords, out_rows);
  const internal::LookUp look_up{r, keys, turned ? coords : out_coords};
  const auto none = static_cast<int32_t>(rows);
  if (turned) parallel_for(pool, r.taps(), 1, [&](int64_t t, int) { std::fill_n(map + t * out_rows, out_rows, none); });
  const int64_t all = turned ? asking : out_rows;
  parallel_for(pool, (all + kMapRows - 1) / kMapRows, 1, [&](int64_t number, int) {
    const int64_t begin = number * kMapRows, end = std::min(all, begin + kMapRows);
    internal::LookUp::Piece piece;
    look_up.read(begin, std::max(begin, std::min(asking, end)), piece);
    const int64_t* numbers = tap_number.data();
    if (turned) {
      look_up.run(piece, [&](int64_t j, int64_t t, int64_t n) {
        if (n >= 0) map[numbers[t] * out_rows + n] = static_cast<int32_t>(begin + j);
      });
      return;
    }
    for (int64_t t = 0; t < r.taps(); ++t)
      std::fill(map + t * out_rows + begin + piece.rows, map + t * out_rows + end, none);
    look_up.run(piece, [&](int64_t j, int64_t t, int64_t n) {
      map[numbers[t] * out_rows + begin + j] = n >= 0 ? static_cast<int32_t>(n) : none;
    });
  });
}

}  // namespace jaxsparse::voxel
