// Marks functions that kernels of the GPU call as well as the CPU's.
#pragma once

#if defined(__CUDACC__)
#define JAXSPARSE_ANYWHERE __host__ __device__
#else
#define JAXSPARSE_ANYWHERE
#endif
