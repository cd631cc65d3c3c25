// SPDX-License-Identifier: MIT
// The picture of a record, whatever form the record has it in. Threads: any, after extract_image_init.
#pragma once

#include "extract/extract.h"
#include "index/index.h"

// As RGB, transparency on white. Freed with extract_image_finish. The error does not name the record.
bool train_pixels_load(ExtractImage *out, const IndexRecord *record, VcErr *err);
