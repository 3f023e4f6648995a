// Convolution geometries for tests: the named ones and random small ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "direct/grid.h"

namespace jaxsparse::test {

using Sizes = std::initializer_list<int64_t>;

inline ConvGeometry geometry(Sizes in, Sizes out, Sizes kernel, Sizes stride, Sizes pad, Sizes dilation) {
  ConvGeometry g;
  g.dims = static_cast<int>(in.size());
  std::copy(in.begin(), in.end(), g.in);
  std::copy(out.begin(), out.end(), g.out);
  std::copy(kernel.begin(), kernel.end(), g.kernel);
  std::copy(stride.begin(), stride.end(), g.stride);
  std::copy(pad.begin(), pad.end(), g.pad);
  std::copy(dilation.begin(), dilation.end(), g.dilation);
  return g;
}

inline std::vector<ConvGeometry> named_geometries() {
  return {
      geometry({1}, {1}, {1}, {1}, {0}, {1}),
      geometry({7}, {7}, {3}, {1}, {1}, {1}),   // SAME
      geometry({7}, {5}, {3}, {1}, {0}, {1}),   // VALID
      geometry({7}, {4}, {3}, {2}, {1}, {1}),   // stride
      geometry({7}, {3}, {3}, {1}, {0}, {2}),   // dilation
      geometry({9}, {4}, {3}, {2}, {0}, {2}),   // stride and dilation share a factor
      geometry({9}, {3}, {2}, {3}, {0}, {1}),   // stride above the kernel: inputs without a tap
      geometry({5}, {3}, {3}, {1}, {-1}, {1}),  // negative padding crops
      geometry({4}, {9}, {2}, {1}, {5}, {1}),   // outputs that see no input
      geometry({3}, {20}, {3}, {1}, {1}, {1}),  // much padding behind
      geometry({20}, {3}, {3}, {1}, {1}, {1}),  // inputs beyond the last output
      geometry({28, 28}, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}),
      geometry({5, 9}, {3, 4}, {5, 2}, {2, 3}, {2, 1}, {1, 2}),
      geometry({6, 5, 4}, {6, 5, 4}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}),
      geometry({6, 5, 4}, {3, 3, 2}, {3, 2, 1}, {2, 2, 2}, {1, 0, 0}, {1, 1, 1}),
      geometry({3, 4, 3, 5}, {3, 4, 3, 5}, {3, 3, 3, 3}, {1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}),
      geometry({4, 3, 5, 2}, {2, 2, 2, 2}, {2, 1, 3, 2}, {2, 2, 3, 1}, {0, 1, 1, 0}, {1, 1, 2, 1}),
  };
}

// Any sizes that fit together or not: the kernels take out_shape as given.
template <class Random>
ConvGeometry random_geometry(Random& random, int dims) {
  const int64_t largest[] = {40, 12, 7, 5};
  auto upto = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  ConvGeometry g;
  g.dims = dims;
  for (int i = 0; i < dims; ++i) {
    g.in[i] = 1 + upto(largest[dims - 1]);
    g.out[i] = 1 + upto(largest[dims - 1]);
    g.kernel[i] = 1 + upto(dims < 4 ? 5 : 3);
    g.stride[i] = 1 + upto(random() % 2 ? 3 : 1);
    g.dilation[i] = 1 + upto(random() % 2 ? 3 : 1);
    g.pad[i] = upto(7) - 2;
  }
  return g;
}

inline std::string describe(const ConvGeometry& g) {
  std::ostringstream text;
  auto list = [&](const char* name, const int64_t* v) {
    text << name << " (";
    for (int i = 0; i < g.dims; ++i) text << (i ? "," : "") << v[i];
    text << ") ";
  };
  list("in", g.in);
  list("out", g.out);
  list("kernel", g.kernel);
  list("stride", g.stride);
  list("pad", g.pad);
  list("dilation", g.dilation);
  return text.str();
}

}  // namespace jaxsparse::test
