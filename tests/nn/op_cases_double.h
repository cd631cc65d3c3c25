// SPDX-License-Identifier: MIT
#pragma once

#include "op_cases.h"

// op_case_run of op_cases[index] with nn_real = double.
void op_case_run_double(OpRun *run, size_t index, bool large, uint64_t seed);
