// SPDX-License-Identifier: MIT
// 16-bit floating point: IEEE binary16 (f16) and bfloat16 (bf16). Rounding is to nearest, ties to even; denormals are
// kept; a NaN stays a NaN (made quiet, upper payload bits kept; bf16 -> f32 changes nothing). Threads: any.
//
// One value at a time in integer arithmetic: the reference. Arrays go through the kernels of this processor, which
// give the same bits (tests/nn/check_kernels.c holds them to all 65536 values).
#pragma once

#include <stddef.h>
#include <stdint.h>

float nn_f16_to_f32(uint16_t h);
uint16_t nn_f32_to_f16(float f);
float nn_bf16_to_f32(uint16_t h);
uint16_t nn_f32_to_bf16(float f);

// n values; the 16-bit side is little-endian at any address (a file map), the float side is aligned to 4.
void nn_f16_to_f32_array(float *out, const void *in, size_t n);
void nn_f32_to_f16_array(void *out, const float *in, size_t n);
void nn_bf16_to_f32_array(float *out, const void *in, size_t n);
void nn_f32_to_bf16_array(void *out, const float *in, size_t n);
