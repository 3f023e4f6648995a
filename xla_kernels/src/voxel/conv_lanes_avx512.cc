// The leaf loops for the avx512 instruction set.
#define JAXSPARSE_ISA avx512
#include "conv_lanes_impl.h"
