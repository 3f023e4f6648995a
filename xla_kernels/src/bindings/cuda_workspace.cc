#include "cuda_workspace.h"

#include <nanobind/stl/vector.h>

#include <limits>
#include <stdexcept>
#include <vector>

#include "../block/move_cuda.h"
#include "../block/reduce_mask_cuda.h"
#include "../cuda/chunks.h"
#include "../direct/conv_cuda.h"
#include "../direct/conv_grad_cuda.h"
#include "../direct/convert_cuda.h"
#include "../direct/entrywise_cuda.h"
#include "../direct/merge_cuda.h"
#include "../direct/pool_cuda.h"
#include "../direct/stored_cuda.h"
#include "../direct/sums_cuda.h"
#include "../direct/windows_cuda.h"

namespace nb = nanobind;

namespace jaxsparse {
namespace {

// The sizes that a call names.
class Sizes {
 public:
  Sizes(std::optional<int64_t> batch, const nb::dict& sizes) : batch_(batch), sizes_(sizes) {}

  // What an int32 counts.
  int64_t operator[](const char* name) const {
    const auto size = nb::cast<int64_t>(get(name));
    if (size < 0 || size > std::numeric_limits<int32_t>::max())
      throw std::invalid_argument(std::string(name) + " must be 0 to 2^31 - 1");
    return size;
  }

  int64_t product(const char* name) const {
    int64_t product = 1;
    for (nb::handle size : get(name)) product = checked_product(product, nb::cast<int64_t>(size));
    if (product < 1 || product > std::numeric_limits<int32_t>::max())
      throw std::invalid_argument(std::string(name) + " must have 1 to 2^31 - 1 voxels");
    return product;
  }

  std::vector<int64_t> list(const char* name) const { return nb::cast<std::vector<int64_t>>(get(name)); }

  // Of `batch` elements: bytes_of(elements), within the bound.
  template <class BytesOf>
  int64_t bytes(BytesOf&& bytes_of) const {
    return batch_ ? cuda::workspace_of_batch(*batch_, bytes_of) : cuda::workspace_of_unknown_batch(bytes_of);
  }
  // As `bytes`, for a Scratch(ListSizes, more..., workspace) of lists [elements, channels, capacity].
  template <class Scratch, class... More>
  int64_t lists(More... more) const {
    return bytes([&](int64_t elements) {
      return Scratch(ListSizes{elements, (*this)["channels"], (*this)["capacity"]}, more..., nullptr).bytes;
    });
  }
  ConvGeometry pool_geometry() const {
    const auto in = list("spatial_shape"), out = list("out_shape"), window = list("window"), by = list("strides");
    if (in.empty() || in.size() > kMaxDims || out.size() != in.size() || window.size() != in.size() ||
        by.size() != in.size())
      throw nb::value_error("out_shape, window and strides must fit spatial_shape (1 to 4 dimensions)");
    const auto g =
        jaxsparse::pool_geometry(static_cast<int>(in.size()), in.data(), out.data(), window.data(), by.data());
    PoolWindows{g};  // checks it
    return g;
  }
  // As `bytes`, for a Scratch(PoolSizes, more..., workspace).
  template <class Scratch, class... More>
  int64_t pooled(More... more) const {
    const Sizes& s = *this;
    return bytes([&](int64_t elements) {
      return Scratch(PoolSizes{elements, s["channels"], s["capacity"], s["out_capacity"]}, more..., nullptr).bytes;
    });
  }

  int64_t taps() const {
    int64_t taps = 1;
    for (int64_t k : list("kernel_shape")) taps = checked_product(taps, k);
    return taps;
  }
  // As `bytes`, for a Scratch(ConvSizes, more..., workspace).
  template <class Scratch, class... More>
  int64_t convolved(More... more) const {
    const Sizes& s = *this;
    return bytes([&](int64_t elements) {
      const ConvSizes n{elements, s["in_channels"], s["out_channels"], s["capacity"], s["out_capacity"]};
      return Scratch(n, more..., nullptr).bytes;
    });
  }

 private:
  nb::object get(const char* name) const { return sizes_[name]; }

  std::optional<int64_t> batch_;
  const nb::dict& sizes_;
};

int64_t conv_bytes(const Sizes& sizes, bool selects) {
  const ConvGrid grid(make_geometry(sizes.list("spatial_shape"), sizes.list("out_shape"), sizes.list("kernel_shape"),
                                    sizes.list("strides"), sizes.list("padding"), sizes.list("dilation")));
  const cuda::ConvAxes axes(grid);
  return sizes.bytes([&](int64_t elements) {
    const ConvSizes n{elements, sizes["in_channels"], sizes["out_channels"], sizes["capacity"], sizes["out_capacity"]};
    return ConvScratch(axes, n, selects, nullptr).bytes;
  });
}

}  // namespace

int64_t cuda_workspace_bytes(const std::string& op, std::optional<int64_t> batch, const nb::dict& given) {
  const Sizes sizes(batch, given);
  if (op == "take") return 0;
  if (op == "relu") return sizes.lists<ReluScratch>();
  if (op == "masked_scale" || op == "channel_affine" || op == "global_avg_pool_grad")
    return sizes.lists<StoredScratch>();
  if (op == "channel_sum" || op == "channel_dot" || op == "global_max_pool" || op == "global_avg_pool")
    return sizes.lists<SumScratch>();
  if (op == "to_dense" || op == "gather_dense")
    return sizes.bytes([&](int64_t elements) {
      return DenseListScratch({elements, 1, sizes["channels"], sizes["capacity"]}, nullptr).bytes;
    });
  if (op == "from_dense")
    return by_itemsize(sizes["itemsize"], [&](auto type) {
      return sizes.bytes([&](int64_t elements) {
        const DenseSizes n{elements, sizes.product("spatial_shape"), sizes["channels"], sizes["out_capacity"]};
        return FromDenseScratch<decltype(type)>(n, nullptr).bytes;
      });
    });
  if (op == "add")
    return by_itemsize(sizes["itemsize"], [&](auto type) {
      return sizes.bytes([&](int64_t elements) {
        const MergeSizes n{elements, sizes["channels"], sizes["x_capacity"], sizes["y_capacity"],
                           sizes["out_capacity"]};
        return MergeScratchCuda<Accum<decltype(type)>>(n, sizes["volume"], nullptr).bytes;
      });
    });
  if (op == "put_add") return sizes.lists<PutAddScratch>(sizes["in_capacity"]);
  if (op == "conv") return conv_bytes(sizes, true);
  if (op == "conv_at") return conv_bytes(sizes, false);
  if (op == "window_sum" || op == "window_spread") return sizes.pooled<WindowsScratch>();
  if (op == "max_pool" || op == "avg_pool") return sizes.pooled<PoolCudaScratch>(sizes.pool_geometry());
  if (op == "conv_input_grad") return sizes.convolved<InputGradScratch>();
  if (op == "conv_kernel_grad") return sizes.convolved<KernelGradScratch>(sizes.taps(), sizes["itemsize"]);
  if (op == "reduce_mask") return block::ReduceScratch<double>(nullptr).bytes;
  if (op == "gather" || op == "scatter" || op == "scatter_add" || op == "erase")
    return block::ListScratch(nullptr).bytes;
  throw nb::key_error(op.c_str());
}

}  // namespace jaxsparse
