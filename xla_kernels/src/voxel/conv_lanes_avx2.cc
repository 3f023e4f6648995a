// The leaf loops for the avx2 instruction set.
#define JAXSPARSE_ISA avx2
#include "conv_lanes_impl.h"
