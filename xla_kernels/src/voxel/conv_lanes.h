// The leaf loops of the convolution over kernel maps: products of rows that a list names. They are compiled once per
// instruction set and chosen at run time; every version gives the same bits, because lanes never mix and each fused
// multiply-add is written out.
#pragma once

#include <cstdint>

namespace jaxsparse::voxel {

// Pairs of one tap: pair i joins row a[i] of one matrix with row b[i] of another.
struct Pairs {
  const int32_t* a;
  const int32_t* b;
  int64_t n;
};

// Packed weights: columns in panels of kPanel, each [depth][kPanel]; the last one filled up with zeros.
template <class A>
inline constexpr int64_t kPanel = 64 / static_cast<int64_t>(sizeof(A));

// sums[b[i]][j] += sum over c, ascending, of x[a[i]][c] * w[c][j], one fused multiply-add each.
template <class A>
struct Products {
  Pairs pairs;
  const A* x;
  int64_t x_pitch;
  int64_t depth;
  const A* w;            // panels
  int64_t panel_stride;  // numbers from one panel to the next; at least depth * kPanel
  A* sums;
  int64_t sums_pitch;  // at least `columns`, rounded up to a whole panel
  int64_t columns;
};

// out[c][j] += sum over pairs, in order, of x[a[i]][c] * g[b[i]][j]: the sum starts at 0 and is added last.
template <class A>
struct OuterProducts {
  Pairs pairs;
  const A* x;
  int64_t x_pitch;
  int64_t rows;  // of out
  const A* g;    // at least `columns`, rounded up to a whole panel, may be read of a row
  int64_t g_pitch;
  int64_t columns;
  A* out;
  int64_t out_pitch;  // as of sums above
};

template <class A>
struct ConvOps {
  // The entries of map[0, n) that are in [0, limit): where they stand goes to at, what they are to row. Both have room
  // for n + 16. How many there are.
  int64_t (*compact)(const int32_t* map, int64_t n, int64_t limit, int32_t* row, int32_t* at);
  void (*products)(const Products<A>& work);
  void (*outer_products)(const OuterProducts<A>& work);
  // sums[b[i]][j] = fma(x[a[i]][j], w[j], sums[b[i]][j]): groups of one channel each. Nothing behind `columns` is read.
  void (*scaled)(const Products<A>& work);
  // out[j] += sum over pairs, in order, of x[a[i]][j] * g[b[i]][j].
  void (*dots)(const OuterProducts<A>& work);
};

template <class A>
const ConvOps<A>& conv_ops();

// float16 to float32, exactly.
void widen_f16(const uint16_t* from, float* to, int64_t n);

#define JAXSPARSE_DECLARE_ISA(isa)                            \
  namespace isa {                                             \
  const ConvOps<float>& conv_ops_f32();                       \
  const ConvOps<double>& conv_ops_f64();                      \
  void widen_f16(const uint16_t* from, float* to, int64_t n); \
  }
JAXSPARSE_DECLARE_ISA(portable)
#if defined(__x86_64__)
JAXSPARSE_DECLARE_ISA(avx2)
JAXSPARSE_DECLARE_ISA(avx512)
#endif
#undef JAXSPARSE_DECLARE_ISA

}  // namespace jaxsparse::voxel
