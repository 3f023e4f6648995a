#include "cuda_workspace.h"

#include "../cuda/chunks.h"
#include "../direct/entrywise_cuda.h"

namespace nb = nanobind;

namespace jaxsparse {
namespace {

// The sizes that a call names.
class Sizes {
 public:
  Sizes(std::optional<int64_t> batch, const nb::dict& sizes) : batch_(batch.value_or(cuda::kAnyBatch)), sizes_(sizes) {}

  int64_t operator[](const char* name) const { return nb::cast<int64_t>(get(name)); }

  // Of `batch` elements: bytes_of(elements), within the bound.
  template <class BytesOf>
  int64_t bytes(BytesOf&& bytes_of) const {
    return cuda::workspace_of_batch(batch_, bytes_of);
  }
  // As `bytes`, for a Scratch(ListSizes, more..., workspace) of lists [elements, channels, capacity].
  template <class Scratch, class... More>
  int64_t lists(More... more) const {
    return bytes([&](int64_t elements) {
      return Scratch(ListSizes{elements, (*this)["channels"], (*this)["capacity"]}, more..., nullptr).bytes;
    });
  }

 private:
  nb::object get(const char* name) const { return sizes_[name]; }

  int64_t batch_;
  const nb::dict& sizes_;
};

}  // namespace

int64_t cuda_workspace_bytes(const std::string& op, std::optional<int64_t> batch, const nb::dict& given) {
  const Sizes sizes(batch, given);
  if (op == "take") return 0;
  if (op == "relu") return sizes.lists<ReluScratch>();
  if (op == "masked_scale") return sizes.lists<StoredScratch>();
  if (op == "put_add") return sizes.lists<PutAddScratch>(sizes["in_capacity"]);
  throw nb::key_error(op.c_str());
}

}  // namespace jaxsparse
