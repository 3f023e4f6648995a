// Tiles of products on the GPU: sums[i, j] += a[i, k] b[j, k] over tiles in shared memory, by a block.
//
// float32 and float64: a thread has 4 x 4 sums, each one chain of fused multiply-adds in the order of k, as on the CPU.
// 16-bit numbers: a warp has 32 x 32 sums on tensor cores; between begin and end they gather in numbers of their own.
#pragma once

#include "../cuda/device.h"
#include "../cuda/fragment.cuh"

namespace jaxsparse::voxel {

inline constexpr int kProductThreads = 256;

// Every line i is in use, or those whose row_of[i] is not negative: the others' sums stay as they are.
struct AllLines {
  __device__ bool operator()(int) const { return true; }
};
struct LinesWithRow {
  const int32_t* row_of;
  __device__ bool operator()(int i) const { return row_of[i] >= 0; }
};

template <class T>
class Products {
 public:
  static constexpr int kRows = 64, kColumns = 64, kDepth = 16, kPitch = kDepth + 1;

  // Lines of `a` and of `b` that exist.
  __device__ Products(int64_t, int64_t) {}

  template <class Lines>
  __device__ void begin(const Lines& in_use) {
    JAXSPARSE_UNROLL
    for (int r = 0; r < kEach; ++r) used_[r] = in_use(row(r));
  }
  // k < depth alone.
  __device__ void step(const T* a, const T* b, int depth) {
    for (int k = 0; k < depth; ++k) {
      T y[kEach];
      JAXSPARSE_UNROLL
      for (int c = 0; c < kEach; ++c) y[c] = b[column(c) * kPitch + k];
      JAXSPARSE_UNROLL
      for (int r = 0; r < kEach; ++r) {
        const T x = a[row(r) * kPitch + k];
        JAXSPARSE_UNROLL
        for (int c = 0; c < kEach; ++c)
          if (used_[r]) sums_[r][c] = cuda::fused(x, y[c], sums_[r][c]);
      }
    }
  }
  __device__ void end() {}

  // f(i, j, sum)
  template <class F>
  __device__ void for_each(F&& f) const {
    JAXSPARSE_UNROLL
    for (int r = 0; r < kEach; ++r) JAXSPARSE_UNROLL
    for (int c = 0; c < kEach; ++c) f(row(r), column(c), sums_[r][c]);
  }

 private:
  static constexpr int kEach = 4, kSide = 16;
  static __device__ int row(int r) { return static_cast<int>(threadIdx.x) / kSide + r * kSide; }
  static __device__ int column(int c) { return static_cast<int>(threadIdx.x) % kSide + c * kSide; }

  T sums_[kEach][kEach] = {};
  bool used_[kEach];
};

template <class T>
class ProductsOnTensorCores {
 public:
  // The pitch spreads the lines over all banks of the shared memory.
  static constexpr int kRows = 128, kColumns = 64, kDepth = 32, kPitch = kDepth + 8;

  __device__ ProductsOnTensorCores(int64_t rows, int64_t columns)
      : rows_(rows < kRows ? static_cast<int>(rows) : kRows),
        columns_(columns < kColumns ? static_cast<int>(columns) : kColumns) {}

  template <class Lines>
  __device__ void begin(const Lines& in_use) {
    JAXSPARSE_UNROLL
    for (int r = 0; r < kDown; ++r) {
      JAXSPARSE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = first_row() + r * Fragment::kRows + Fragment::row(2 * half);
        used_[r][half] = i < rows_ && in_use(i);
      }
      any_[r] = __any_sync(cuda::kAllLanes, used_[r][0] || used_[r][1]) && first_column() < columns_;
      JAXSPARSE_UNROLL
      for (int c = 0; c < kAcross; ++c) recent_[r][c] = Fragment{};
    }
  }
  // Behind `depth` there are zeros.
  __device__ void step(const T* a, const T* b, int depth) {
    for (int k = 0; k < depth; k += Fragment::kDepth) {
      JAXSPARSE_UNROLL
      for (int r = 0; r < kDown; ++r) {
        if (!any_[r]) continue;
        const cuda::LeftFragment<T> left(a + (first_row() + r * Fragment::kRows) * kPitch + k, kPitch);
        JAXSPARSE_UNROLL
        for (int c = 0; c < kAcross; ++c) {
          const cuda::RightFragment<T> right(b + (first_column() + c * Fragment::kColumns) * kPitch + k, kPitch);
          cuda::multiply_add(recent_[r][c], left, right);
        }
      }
    }
  }
  __device__ void end() {
    JAXSPARSE_UNROLL
    for (int r = 0; r < kDown; ++r) JAXSPARSE_UNROLL
    for (int c = 0; c < kAcross; ++c) JAXSPARSE_UNROLL
    for (int i = 0; i < 4; ++i)
      if (used_[r][i / 2]) sums_[r][c].at[i] += recent_[r][c].at[i];
  }

  template <class F>
  __device__ void for_each(F&& f) const {
    JAXSPARSE_UNROLL
    for (int r = 0; r < kDown; ++r) JAXSPARSE_UNROLL
    for (int c = 0; c < kAcross; ++c) JAXSPARSE_UNROLL
    for (int i = 0; i < 4; ++i)
      f(first_row() + r * Fragment::kRows + Fragment::row(i),
        first_column() + c * Fragment::kColumns + Fragment::column(i), sums_[r][c].at[i]);
  }

 private:
  using Fragment = cuda::Fragment;
  static constexpr int kDown = 2, kAcross = 4;  // fragments of a warp
  static __device__ int first_row() { return cuda::warp_index() / 2 * kDown * Fragment::kRows; }
  static __device__ int first_column() { return cuda::warp_index() % 2 * kAcross * Fragment::kColumns; }

  int rows_, columns_;
  Fragment sums_[kDown][kAcross], recent_[kDown][kAcross];
  bool used_[kDown][2], any_[kDown];
};

template <>
class Products<BF16> : public ProductsOnTensorCores<BF16> {
  using ProductsOnTensorCores::ProductsOnTensorCores;
};
template <>
class Products<F16> : public ProductsOnTensorCores<F16> {
  using ProductsOnTensorCores::ProductsOnTensorCores;
};

// ---- Filling the tiles
// --------------------------------------------------------------------------------------------------

template <class T, int n>
struct alignas(sizeof(T) * n) Neighbours {
  T lane[n];
};
constexpr int kNeighbourBytes = 16;
template <class T>
constexpr int kNeighbours = kNeighbourBytes / static_cast<int>(sizeof(T));

// Of shared memory for a tile of `lines` lines, in Neighbours<T, kNeighbours<T>>, so that tensor cores find it aligned.
template <class T, int lines>
constexpr int kTileRoom = lines * Products<T>::kPitch / kNeighbours<T> + 1;

// Unrolled, the loop takes registers from the sums.
#if defined(__CUDACC__)
#define JAXSPARSE_ROLLED _Pragma("unroll 1")
#else
#define JAXSPARSE_ROLLED
#endif

// to[i, k] becomes *from(i, k), 0 where that is null. Each call has `n` numbers, which follow along k, or along i.
template <class T, bool along_k, int lines, int n, class From>
__device__ void fill_tile_by(T* to, From&& from) {
  constexpr int kDepth = Products<T>::kDepth, kPitch = Products<T>::kPitch;
  JAXSPARSE_ROLLED
  for (int at = static_cast<int>(threadIdx.x); at < lines * kDepth / n; at += kProductThreads) {
    const int line = along_k ? at / (kDepth / n) : at % (lines / n) * n;
    const int k = along_k ? at % (kDepth / n) * n : at / (lines / n);
    const T* p = from(line, k);
    Neighbours<T, n> x{};
    if (p) x = *reinterpret_cast<const Neighbours<T, n>*>(p);
    JAXSPARSE_UNROLL
    for (int i = 0; i < n; ++i) to[along_k ? line * kPitch + k + i : (line + i) * kPitch + k] = x.lane[i];
  }
}
#undef JAXSPARSE_ROLLED

// `packed`: what follows along that axis does so in whole groups of 16 bytes, aligned.
template <class T, bool along_k, int lines, class From>
__device__ void fill_tile(T* to, bool packed, From&& from) {
  if (packed)
    fill_tile_by<T, along_k, lines, kNeighbours<T>>(to, from);
  else
    fill_tile_by<T, along_k, lines, 1>(to, from);
}

}  // namespace jaxsparse::voxel
