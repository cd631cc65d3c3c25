// SPDX-License-Identifier: MIT
// The side index of a shard, NAME.vix (docs/FORMATS.md, "Side index"), and the layout of a shard file. Inside index/
// only. Threads: any.
#pragma once

#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "index/mds.h"

#include <stdint.h>

enum { VIX_HEADER = 32, VIX_ENTRY = 16 };

// Appends the side index of a shard of `size` bytes whose XXH64 is `xxh64`: `ids` and `crcs` of its `count` records.
void vix_put(VcStr *out, uint64_t size, uint64_t xxh64, const int64_t *ids, const uint32_t *crcs, uint32_t count);
// The side index of a whole shard in memory that passed shard_check: ids from its column "image_id" (-1 without one).
bool vix_build(VcStr *out, const uint8_t *shard, const MdsEntry *entry, VcErr *err);
// Checks magic, version, counts, own CRC, and that it belongs to the shard of `entry`. The reason alone.
bool vix_check(const uint8_t *data, size_t n, const MdsEntry *entry, VcErr *err);
int64_t vix_id(const uint8_t *data, uint64_t record);
uint32_t vix_crc(const uint8_t *data, uint64_t record);

char *vix_path(const char *dir, const char *basename); // DIR/BASENAME.vix, freed with free()

// Offset of record i from the table of a mapped shard (unaligned).
static inline uint32_t shard_offset(const uint8_t *shard, uint64_t i)
{
    uint32_t v;
    __builtin_memcpy(&v, shard + 4 + 4 * i, 4);
    return v;
}
// Checks n, the offsets and the configuration of a shard against its entry. The reason alone.
bool shard_check(const uint8_t *data, uint64_t size, const MdsEntry *entry, VcErr *err);
// Checks sha1 and xxh64 of `data` against what the entry says (those that it has).
bool shard_check_hashes(const uint8_t *data, uint64_t size, const MdsFile *file, VcErr *err);
