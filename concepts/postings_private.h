// SPDX-License-Identifier: MIT
// Private to concepts/: the bytes of vectors/postings.bin (docs/FORMATS.md, "Posting lists"). Threads: any.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define POSTINGS_MAGIC "VCPOS\0\0\1"

enum {
    POSTINGS_HEADER = 4096, // bytes
    POSTINGS_ALIGN = 64,    // of every list, the directory and the ids
    POSTINGS_RISING = 1,    // flag: image ids rise with the row
    POSTINGS_MAX_CONCEPTS = 1 << 26,
};

typedef struct {
    char magic[8];
    uint64_t rows, stamp, entries, body_hash; // body_hash: XXH3-64 of everything behind the header
    uint64_t ids_at, directory_at, bytes;     // offsets and size of the file
    uint32_t concepts, flags;
    uint32_t crc; // of the bytes before it
    uint32_t zero;
} PostingsHeader;

typedef struct {
    uint64_t at; // offset of the list
    uint32_t count;
    int16_t best;
    uint16_t dense; // 0: u32 rows[count], i16 scores[count]; 1: i16 scores[rows]
} PostingsEntry;

_Static_assert(sizeof(PostingsHeader) == 80 && sizeof(PostingsEntry) == 16, "the file's layout");
