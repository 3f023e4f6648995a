// The Python module xla_kernels._cuda: handlers as capsules. It loads where there is no GPU and no driver, too: the
// CUDA runtime is linked in, and finds the driver at run time.
#include <cuda_runtime_api.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "module_util.h"

namespace nb = nanobind;

NB_MODULE(_cuda, m) {
  JAXSPARSE_DEFINE_TARGETS(m, JAXSPARSE_HANDLERS);
  m.def("architectures", [] { return std::string(JAXSPARSE_CUDA_ARCHITECTURES); });
  // How many GPUs there are, and what the driver says about it.
  m.def("devices", [] {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    return nb::make_tuple(status == cudaSuccess ? count : 0, std::string(cudaGetErrorString(status)));
  });
}
