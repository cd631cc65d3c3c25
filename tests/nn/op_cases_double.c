// SPDX-License-Identifier: MIT
// The door to the double compilation: this file and all of nn/ with -DNN_DOUBLE are one shared library that exports
// one function, so that a program can hold the float and the double results side by side.
#include "op_cases_double.h"

_Static_assert(sizeof(nn_real) == 8, "compiled with -DNN_DOUBLE");

__attribute__((visibility("default"))) void op_case_run_double(OpRun *run, size_t index, bool large, uint64_t seed)
{
    op_case_run(run, &op_cases[index], large, NULL, seed);
}
