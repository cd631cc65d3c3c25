// SPDX-License-Identifier: MIT
// A rotation drawn once and for all, as if at random: three times signs and a fast Hadamard transform.
//
// It spreads what stands in few numbers over all of them, so that coarse steps fit every vector alike, and it makes the
// direction of what these steps lose independent of the data: its product with a unit vector is then that of a random
// direction (Gao and Long, "RaBitQ", SIGMOD 2024, section 3).
//
// Threads: any.
#pragma once

#include <stddef.h>

// x[width] turned in place; lengths and products stay, but for rounding (a few 1e-6 of them). width: at least 1; where
// it is no power of two, the first and the last numbers of the largest power below it are turned one after the other.
void rotation_apply(float *x, size_t width);
