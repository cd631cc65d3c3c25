// SPDX-License-Identifier: MIT
// The maths of vicha, and the only header of nn/ that other folders include: tensors and weight files, GEMM, ops with
// their backward, the tape, the optimizer and its schedules.
//
// nn/ knows no files but safetensors. Buffers are row-major; dimension letters stand at every argument:
// B batch, T tokens, C width, H heads, D = C/H, V classes or words, R rows (any product of leading dimensions).
// Ops are pairs of pure functions (nn/ops/ops.h): forward writes its output and what its backward needs into memory of
// the caller, backward ADDS to the gradients it is given and skips those that are NULL. The tape (nn/tape.h) records
// forwards and plays the backwards. Threads: see NnContext.
#pragma once

#include "nn/adamw.h"
#include "nn/context.h"
#include "nn/gemm.h"
#include "nn/half.h"
#include "nn/kernels/kernels.h"
#include "nn/kernels/scan.h"
#include "nn/ops/ops.h"
#include "nn/packed.h"
#include "nn/product.h"
#include "nn/real.h"
#include "nn/rows.h"
#include "nn/safetensors.h"
#include "nn/schedule.h"
#include "nn/tape.h"
#include "nn/tensor.h"
#include "nn/torch_file.h"
