// The leaf loops for the avx512 instruction set.
#define JAXSPARSE_ISA avx512
#include "lanes_impl.h"
