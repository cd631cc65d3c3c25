// SPDX-License-Identifier: MIT
// The folder of a record set: its index.json. Inside index/ only. Threads: any.
#pragma once

#include "base/err.h"
#include "index/mds.h"

// Reads and checks DIR/index.json; an unfinished set is told from a folder that is none.
bool set_read_index(MdsIndex *out, const char *dir, VcErr *err);
bool set_write_index(const MdsIndex *index, const char *dir, VcErr *err); // whole or not at all
// Plain or gzip: true. Another codec is refused by name.
bool set_check_codec(const MdsEntry *entry, const char *dir, VcErr *err);

// The hashes every file of ours carries, as in `hashes`.
#define SET_HASHES "[\"sha1\", \"xxh64\"]"
// Fills bytes, sha1, xxh64 and hashes_json of `f` from the whole file in memory.
void set_hash_file(MdsFile *f, const uint8_t *data, uint64_t n);
