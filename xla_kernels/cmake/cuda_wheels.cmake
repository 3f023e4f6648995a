# Points CMake at the CUDA compiler that pip installed (the nvidia-cuda-* wheels of version 13). The wheels lay their files
# out under nvidia/cu13 and differ from a toolkit in two ways: the libraries are in lib, where nvcc looks in lib64, and
# libcudart.so has its version in its name.
find_package(Python 3.11 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c "import nvidia, pathlib
print(next((p / 'cu13' for p in map(pathlib.Path, nvidia.__path__) if (p / 'cu13/bin/nvcc').exists()), ''), end='')"
  OUTPUT_VARIABLE toolkit ERROR_QUIET)
if(NOT toolkit)
  message(FATAL_ERROR "jaxsparse: JAXSPARSE_CUDA=wheels, but ${Python_EXECUTABLE} has no nvcc in nvidia/cu13. pip installs it "
    "when the variable stands in the environment (JAXSPARSE_CUDA=wheels pip install .); without build isolation install "
    "the wheels of pyproject.toml's override yourself.")
endif()
set(CMAKE_CUDA_COMPILER "${toolkit}/bin/nvcc" CACHE FILEPATH "" FORCE)
string(APPEND CMAKE_CUDA_FLAGS_INIT " -L${toolkit}/lib")
set(CUDAToolkit_ROOT "${toolkit}")
set(CUDA_CUDART "${toolkit}/lib/libcudart.so.13" CACHE FILEPATH "")
