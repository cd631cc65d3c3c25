// SPDX-License-Identifier: MIT
// The stored picture of an image, and small ones of it.
//
// Only bytes of our own store are read: one pread of `images/NNNNN.tar` (or its .part), by table image_file.
// Threads: one workspace, one thread at a time. extract_image_init has been called.
#pragma once

#include "base/workspace.h"

#include <stddef.h>
#include <stdint.h>

// The JPEG as it lies in the store. *bytes is freed with free(). No picture stored: VC_ERR_USAGE.
bool query_picture_read(VcWorkspace *ws, int64_t image_id, uint8_t **bytes, size_t *n, VcErr *err);
// Re-encoded so that no side is longer than `side` pixels (never enlarged). *jpeg is freed with free().
bool query_picture_thumbnail(VcWorkspace *ws, int64_t image_id, int side, uint8_t **jpeg, size_t *n, VcErr *err);
// The same as RGB pixels: rgb is [height, width, 3], freed with free().
bool query_picture_pixels(VcWorkspace *ws, int64_t image_id, int side, uint8_t **rgb, int *width, int *height,
                          VcErr *err);
