// The leaf loops for the avx2 instruction set.
#define JAXSPARSE_ISA avx2
#include "lanes_impl.h"
