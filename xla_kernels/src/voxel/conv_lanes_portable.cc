// The leaf loops for the portable instruction set.
#define JAXSPARSE_ISA portable
#include "conv_lanes_impl.h"
