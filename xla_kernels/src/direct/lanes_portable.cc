// The leaf loops for the portable instruction set.
#define JAXSPARSE_ISA portable
#include "lanes_impl.h"
