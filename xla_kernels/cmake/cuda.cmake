# The CUDA switch. JAXSPARSE_CUDA=AUTO builds the CUDA module where nvcc is found, ON insists on it, wheels takes the
# compiler that pip installed, OFF leaves it out. One line always says what happened and why.
if(NOT JAXSPARSE_CUDA MATCHES "^(AUTO|ON|OFF|wheels)$")
  message(FATAL_ERROR "jaxsparse: JAXSPARSE_CUDA is \"${JAXSPARSE_CUDA}\"; expected AUTO, ON, OFF or wheels")
endif()

set(JAXSPARSE_CUDA_ARCHS "80-real;90-real;90-virtual" CACHE STRING
  "What the CUDA module is compiled for: machine code for sm_80 and sm_90, PTX for newer ones; or one, as 90-real")
file(GLOB jaxsparse_cuda_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/src/*/*_cuda.cu")

# The C++ tests run the kernels in the emulation; only who says ON wants them compiled for a GPU beside.
if(NOT JAXSPARSE_MODULE AND NOT JAXSPARSE_CUDA MATCHES "^(ON|wheels)$")
  set(JAXSPARSE_CUDA OFF)
endif()
if(JAXSPARSE_CUDA STREQUAL "OFF")
  message(STATUS "jaxsparse: CUDA module: off, as asked (JAXSPARSE_CUDA=OFF)")
else()
  if(JAXSPARSE_CUDA STREQUAL "wheels")
    include("${CMAKE_CURRENT_LIST_DIR}/cuda_wheels.cmake")
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES "${JAXSPARSE_CUDA_ARCHS}")
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    if(JAXSPARSE_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
      set(CMAKE_CUDA_COMPILER_LAUNCHER "${JAXSPARSE_CCACHE}")
    endif()

    add_library(jaxsparse_cuda_kernels OBJECT ${jaxsparse_cuda_sources})
    target_include_directories(jaxsparse_cuda_kernels PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src")
    target_include_directories(jaxsparse_cuda_kernels SYSTEM PRIVATE "${XLA_FFI_DIR}")
    set_target_properties(jaxsparse_cuda_kernels PROPERTIES
      CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF CUDA_VISIBILITY_PRESET hidden
      CUDA_RUNTIME_LIBRARY Static)
    # No contraction: a fused multiply-add is written out, as on the CPU. Subnormals and correctly rounded divisions are
    # nvcc's defaults. ptxas tells registers and spills (make cuda-check). Warnings are errors in checks, for no test here
    # runs what nvcc makes of these files; not in installations, whose nvcc may be another.
    target_compile_options(jaxsparse_cuda_kernels PRIVATE
      --fmad=false -Xptxas=-v -Xfatbin=-compress-all -Xcompiler=-Wall,-Wextra,-ffp-contract=off,-fno-math-errno)
    if(JAXSPARSE_WERROR OR NOT JAXSPARSE_MODULE)
      target_compile_options(jaxsparse_cuda_kernels PRIVATE -Werror=all-warnings -Xcompiler=-Werror)
    endif()
    if(JAXSPARSE_MODULE)
      nanobind_add_module(_cuda STABLE_ABI NB_STATIC NOMINSIZE src/bindings/cuda_module.cc)
      target_link_libraries(_cuda PRIVATE jaxsparse_options jaxsparse_cuda_kernels CUDA::cudart_static)
      target_include_directories(_cuda SYSTEM PRIVATE "${XLA_FFI_DIR}")
      string(REPLACE ";" ", " archs "${JAXSPARSE_CUDA_ARCHS}")
      target_compile_definitions(_cuda PRIVATE "JAXSPARSE_CUDA_ARCHITECTURES=\"${archs}\"")
      install(TARGETS _cuda LIBRARY DESTINATION xla_kernels)
    endif()
    message(STATUS "jaxsparse: CUDA module: on, ${CMAKE_CUDA_COMPILER} for ${JAXSPARSE_CUDA_ARCHS}")
  else()
    set(reason "no CUDA compiler (nvcc) was found")
    if(JAXSPARSE_CUDA MATCHES "^(ON|wheels)$")
      message(FATAL_ERROR "jaxsparse: JAXSPARSE_CUDA=${JAXSPARSE_CUDA}, but ${reason}. Use AUTO or OFF for the CPU module alone.")
    endif()
    message(STATUS "jaxsparse: CUDA module: off, ${reason}")
  endif()
endif()

# ---- The same kernels for the CPU, in the emulation: for tests ----------------------------------------------------------
if(JAXSPARSE_CUDASIM OR JAXSPARSE_TESTS)
  add_library(jaxsparse_emulation OBJECT src/cuda/emulation/scheduler.cc)
  target_link_libraries(jaxsparse_emulation PRIVATE jaxsparse_options)
endif()
if(JAXSPARSE_CUDASIM)
  if(NOT XLA_FFI_DIR)
    message(FATAL_ERROR "jaxsparse: JAXSPARSE_CUDASIM needs -DXLA_FFI_DIR=..., the folder of the XLA FFI headers")
  endif()
  # A plain library, that tests load by its path: no part of any installation.
  add_library(jaxsparse_cudasim SHARED src/cuda/emulation/targets.cc $<TARGET_OBJECTS:jaxsparse_emulation>)
  foreach(source IN LISTS jaxsparse_cuda_sources)
    # A file of its own, for a source has one language.
    get_filename_component(name "${source}" NAME)
    set(copy "${CMAKE_CURRENT_BINARY_DIR}/cudasim/${name}.cc")
    file(CONFIGURE OUTPUT "${copy}" CONTENT "#include \"${source}\"\n" @ONLY)
    target_sources(jaxsparse_cudasim PRIVATE "${copy}")
  endforeach()
  target_include_directories(jaxsparse_cudasim SYSTEM PRIVATE "${XLA_FFI_DIR}")
  target_link_libraries(jaxsparse_cudasim PRIVATE jaxsparse_options)
  set_target_properties(jaxsparse_cudasim PROPERTIES CXX_VISIBILITY_PRESET default)
endif()
