// SPDX-License-Identifier: MIT
// The inside of a ClipModel, shared by the clip_*.c files. Internal to concepts/.
#pragma once

#include "concepts/clip.h"
#include "extract/extract.h"

// The s x s RGB crop of an encoded image before scaling (u8), in one of the two orders. Released by the caller.
bool clip_crop(ExtractImage *out, ClipLayout order, bool upright, int s, const uint8_t *bytes, size_t n, VcErr *err);
