// SPDX-License-Identifier: MIT
// Reading the stored images of a workspace: one image is one pread from its tar shard, found by table `image_file`.
// Works for finished shards (images/NNNNN.tar) and for the one being written (NNNNN.tar.part).
//
// Threads: one reader, one thread at a time; open one a thread (each has its own database connection and files).
#pragma once

#include "base/workspace.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ExtractReader ExtractReader;

// Opens the database of `ws` a second time, read-only; `ws` is not used afterwards.
bool extract_reader_open(ExtractReader **out, const VcWorkspace *ws, VcErr *err);
// The stored JPEG of an image. *bytes is freed by the caller with free(). VC_ERR_IO when the shard is gone or short,
// VC_ERR_FORMAT when there is no stored image of that number or the bytes there are no JPEG.
bool extract_reader_read(ExtractReader *reader, int64_t image_id, uint8_t **bytes, size_t *n, VcErr *err);
void extract_reader_close(ExtractReader **reader); // NULL allowed; clears
