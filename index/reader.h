// SPDX-License-Identifier: MIT
// Reads a record set: opens a folder, maps its shards, hands out record i as views into the map.
//
// Every check of the format is made, at open (index.json, sizes, offsets, configuration, side index) or as a record is
// read (lengths, array prefixes, UTF-8, token ids, CRC). An error names file, record number and reason.
// Views are valid until index_reader_close and are NOT aligned and NOT terminated.
//
// Threads: any number may read one open reader at the same time.
#pragma once

#include "base/err.h"
#include "index/mds.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct IndexReader IndexReader;

typedef enum { INDEX_BAD_STOP, INDEX_BAD_SKIP, INDEX_BAD_LIST } IndexOnBad;

typedef struct {
    bool crc;           // check each record against the side index as it is read (only where a .vix exists)
    bool hash;          // check the hashes of every shard at open: reads everything once
    bool any_columns;   // accept sets without `image_id` and an image column (then only index_reader_fields works)
    IndexOnBad on_bad;  // what index_reader_take does with a record that fails a check
    int32_t vocabulary; // token ids must be below this; 0: only not negative
} IndexReaderOptions;

typedef struct {
    const char *data; // UTF-8, not terminated; NULL when the set has no such column
    size_t size;
} IndexText;

// Unaligned int32 or float32 values: index_int_at, index_float_at, or copy them out.
typedef struct {
    const uint8_t *data; // NULL when the set has no such column
    size_t count;
} IndexInts;
typedef struct {
    const uint8_t *data;
    size_t count;
} IndexFloats;

static inline int32_t index_int_at(IndexInts v, size_t i)
{
    int32_t x;
    memcpy(&x, v.data + 4 * i, 4);
    return x;
}

static inline float index_float_at(IndexFloats v, size_t i)
{
    float x;
    memcpy(&x, v.data + 4 * i, 4);
    return x;
}

typedef enum {
    INDEX_IMAGE_ENCODED, // a JPEG or PNG file: decode with extract_image_decode
    INDEX_IMAGE_PIXELS,  // height x width x channels bytes, rows top down, interleaved
    INDEX_IMAGE_Z,       // index_image_z_decode
} IndexImageForm;

typedef struct {
    int64_t image_id;
    IndexImageForm image_form;
    const uint8_t *image;
    size_t image_bytes;
    uint32_t width, height, channels;    // of `image`; 0 when only the file inside knows (ENCODED)
    int32_t source_width, source_height; // `image_size`: before resizing; 0 when the set has none
    IndexText caption;                   // the text as the database has it; the first caption when there are several
    IndexText captions;                  // JSON list of all captions, only in sets with several per image
    IndexInts caption_ids;               // tokens of all captions one after the other, each [CLS] X (no [SEP])
    IndexInts caption_lens;              // tokens per caption; sums to caption_ids.count
    IndexInts concept_ids;               // concept.concept_id, best first
    IndexFloats concept_scores;          // cosine, descending
    IndexInts concept_tokens;            // tokens of all concept strings one after the other, no special tokens
    IndexInts concept_lens;              // tokens per concept; sums to concept_tokens.count
    IndexText concepts;                  // JSON list of the concept strings, same order
} IndexRecord;

// Opens DIR (the folder of one index.json). options NULL: all zero. A set packed with gzip is refused with what to do
// (index_set_unpack); sets of other codecs by the codec's name.
bool index_reader_open(IndexReader **out, const char *dir, const IndexReaderOptions *options, VcErr *err);
void index_reader_close(IndexReader **reader); // NULL allowed; clears

uint64_t index_reader_total(const IndexReader *reader); // records
size_t index_reader_shards(const IndexReader *reader);
uint64_t index_reader_shard_total(const IndexReader *reader, size_t shard);
const char *index_reader_fingerprint(const IndexReader *reader); // 64 hex digits: which data this is
const char *index_reader_dir(const IndexReader *reader);
const MdsIndex *index_reader_index(const IndexReader *reader);
bool index_reader_has_crc(const IndexReader *reader); // every shard has its side index

// Record i of [0, total), in the order of the shards. False: it failed a check; the error names file, number, reason.
bool index_reader_get(const IndexReader *reader, uint64_t i, IndexRecord *record, VcErr *err);
// The same under options.on_bad. STOP: as index_reader_get. SKIP and LIST: true with *usable false for a bad record,
// which is counted (and with LIST named on standard error).
bool index_reader_take(IndexReader *reader, uint64_t i, IndexRecord *record, bool *usable, VcErr *err);
uint64_t index_reader_bad(const IndexReader *reader); // records index_reader_take has passed over
// All columns of record i as bytes, for sets with other columns: fields[column] in the order of the schema.
bool index_reader_fields(const IndexReader *reader, uint64_t i, const MdsSchema **schema, MdsField *fields, VcErr *err);

// The record of an image id, through the side indexes. False without an error text when there is none.
bool index_reader_find(const IndexReader *reader, int64_t image_id, uint64_t *i);

// `image_z`: pixels in a zlib stream after an 8-byte header. *pixels is width x height x channels bytes, freed with
// free(). Over 1 GiB of pixels is refused.
bool index_image_z_decode(const uint8_t *data, size_t n, uint8_t **pixels, uint32_t *width, uint32_t *height,
                          uint32_t *channels, VcErr *err);
// Appends the image_z form; filter 1 = each row minus the row above. Level 1..9.
bool index_image_z_put(VcStr *out, const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels, int level,
                       VcErr *err);

// The size of the vocabulary a set of ours was made with (records.json), 0 when that is not known.
int32_t index_set_vocabulary(const char *dir);
// The number of [MASK] in that vocabulary, -1 when that is not known.
int32_t index_set_mask_id(const char *dir);

typedef struct {
    uint64_t records, shards, bytes, bad, unchecked; // unchecked: shards without a side index
    uint64_t tokens, concepts;
    bool packed; // gzip form
} IndexVerifyReport;

typedef void (*IndexBadFn)(void *ctx, const char *reason); // one call per bad record

// Checks everything in a set: hashes, offsets, every record with its CRC, side indexes; gzip forms by inflating them.
// False on what makes the set unreadable, or on the first bad record with on_bad STOP; SKIP counts bad records, LIST
// also reports each through `bad` (may be NULL).
bool index_verify(const char *dir, IndexOnBad on_bad, int32_t vocabulary, IndexVerifyReport *report, IndexBadFn bad,
                  void *ctx, VcErr *err);
