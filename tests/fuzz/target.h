// SPDX-License-Identifier: MIT
// What a fuzz target is: one function over bytes, for libFuzzer or for standalone.c.
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
