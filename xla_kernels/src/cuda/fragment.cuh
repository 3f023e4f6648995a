// Tensor cores: products of tiles of 16-bit numbers in shared memory, by a warp. Where there are none (in the
// emulation) each lane computes the numbers that it has of the result.
#pragma once

#include "../core/dtype.h"
#include "dialect.h"

namespace jaxsparse::cuda {

// What a lane has of 16 x 8 sums: four numbers, of two rows and two columns.
struct Fragment {
  static constexpr int kRows = 16, kColumns = 8, kDepth = 16;

  float at[4] = {0, 0, 0, 0};

  // Row lane / 4 of both halves: at[0], at[1] are in the first one.
  static __device__ int row(int i) { return lane_index() / 4 + i / 2 * 8; }
  static __device__ int column(int i) { return lane_index() % 4 * 2 + i % 2; }
};

#if defined(__CUDACC__)

// A lane's part of 16 (8) lines of 16 numbers; line i begins at from + i * pitch. Lines begin at multiples of 4 bytes.
template <class T>
struct LeftFragment {
  uint32_t bits[4];

  __device__ LeftFragment(const T* from, int pitch) {
    const T* at = from + lane_index() / 4 * pitch + lane_index() % 4 * 2;
    JAXSPARSE_UNROLL
    for (int i = 0; i < 4; ++i) bits[i] = *reinterpret_cast<const uint32_t*>(at + i % 2 * 8 * pitch + i / 2 * 8);
  }
};
template <class T>
struct RightFragment {
  uint32_t bits[2];

  __device__ RightFragment(const T* from, int pitch) {
    const T* at = from + lane_index() / 4 * pitch + lane_index() % 4 * 2;
    JAXSPARSE_UNROLL
    for (int i = 0; i < 2; ++i) bits[i] = *reinterpret_cast<const uint32_t*>(at + i * 8);
  }
};

// sums[i, j] += the product of line i of `a` and line j of `b`. By all lanes.
#define JAXSPARSE_MULTIPLY_ADD(type)                                           \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                   \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "                    \
      "{%0, %1, %2, %3};"                                                      \
      : "+f"(sums.at[0]), "+f"(sums.at[1]), "+f"(sums.at[2]), "+f"(sums.at[3]) \
      : "r"(a.bits[0]), "r"(a.bits[1]), "r"(a.bits[2]), "r"(a.bits[3]), "r"(b.bits[0]), "r"(b.bits[1]))
__device__ inline void multiply_add(Fragment& sums, const LeftFragment<BF16>& a, const RightFragment<BF16>& b) {
  JAXSPARSE_MULTIPLY_ADD("bf16");
}
__device__ inline void multiply_add(Fragment& sums, const LeftFragment<F16>& a, const RightFragment<F16>& b) {
  JAXSPARSE_MULTIPLY_ADD("f16");
}
#undef JAXSPARSE_MULTIPLY_ADD

#else

template <class T>
struct LeftFragment {
  const T* from;
  int pitch;

  LeftFragment(const T* from_, int pitch_) : from(from_), pitch(pitch_) {}
};
template <class T>
struct RightFragment {
  const T* from;
  int pitch;

  RightFragment(const T* from_, int pitch_) : from(from_), pitch(pitch_) {}
};

template <class T>
void multiply_add(Fragment& sums, const LeftFragment<T>& a, const RightFragment<T>& b) {
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < Fragment::kDepth; ++k)
      sums.at[i] = fused(to_accum(a.from[Fragment::row(i) * a.pitch + k]),
                         to_accum(b.from[Fragment::column(i) * b.pitch + k]), sums.at[i]);
}

#endif

}  // namespace jaxsparse::cuda
