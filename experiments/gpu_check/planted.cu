// Two planted errors, that compute-sanitizer has to find before its silence over the kernels means anything. The stage
// `sanitize` compiles this file and runs it; its kernels pass the filter that the real ones have to pass.
#include <cstdio>
#include <cstring>

namespace jaxsparse_planted {

__global__ void write_behind_the_end(int* array, int size) { array[size + threadIdx.x] = 1; }

__global__ void read_without_a_barrier(int* result) {
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  // Of another warp.
  result[threadIdx.x] = shared[63 - threadIdx.x];
}

}  // namespace jaxsparse_planted

int main(int count, char** arguments) {
  int* array = nullptr;
  if (cudaMalloc(&array, 64 * sizeof(int)) != cudaSuccess) {
    std::puts("planted: no memory on a GPU");
    return 3;
  }
  if (count > 1 && std::strcmp(arguments[1], "racecheck") == 0) {
    jaxsparse_planted::read_without_a_barrier<<<1, 64>>>(array);
  } else {
    jaxsparse_planted::write_behind_the_end<<<1, 1>>>(array, 64);
  }
  // The tool says what was wrong; the program itself ends well.
  cudaDeviceSynchronize();
  return 0;
}
