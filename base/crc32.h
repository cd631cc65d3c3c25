// SPDX-License-Identifier: MIT
// CRC-32 with zlib's polynomial (0x04C11DB7 reflected), as gzip, PNG and the records' side indexes have it. Threads:
// any.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef uint32_t (*VcCrc32Fn)(const void *data, size_t n);

// The fastest one for this processor (vc_cpu_flags): by carry-less multiplication where there is one, else zlib's.
// Choosing costs more than a short record's CRC: a reader keeps the answer.
VcCrc32Fn vc_crc32_best(void);
uint32_t vc_crc32(const void *data, size_t n); // with the best
