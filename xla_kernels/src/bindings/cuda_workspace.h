// The sizes of workspaces on the GPU, for machines without one, too: programs are exported there.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <string>

namespace jaxsparse {

// Of one call of a CUDA handler for `batch` elements (none: a batch that is not known yet gets all that the bound
// allows). Raises KeyError for an operation without CUDA kernels, or when a size is missing.
int64_t cuda_workspace_bytes(const std::string& op, std::optional<int64_t> batch, const nanobind::dict& sizes);

}  // namespace jaxsparse
