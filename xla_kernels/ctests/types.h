// The types that typed tests walk. A sanitizer build compiles some of them only (-DJAXSPARSE_TEST_TYPES=float,F16).
#pragma once

#include <gtest/gtest.h>

#include "core/dtype.h"

namespace jaxsparse::test {

#ifdef JAXSPARSE_TEST_TYPES
using Storage = testing::Types<JAXSPARSE_TEST_TYPES>;
#else
using Storage = testing::Types<float, double, BF16, F16>;
#endif
#ifdef JAXSPARSE_TEST_WIDE_TYPES
using Wide = testing::Types<JAXSPARSE_TEST_WIDE_TYPES>;
#else
using Wide = testing::Types<float, double>;
#endif

}  // namespace jaxsparse::test
