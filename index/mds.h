// SPDX-License-Identifier: MIT
// MDS version 2 on bytes: column encodings, the bytes of one record, the JSON of a shard and of index.json
// (docs/FORMATS.md, "Records"; the same format as the PyPI package mosaicml-streaming). No files here.
//
// Everything read is untrusted: lengths are checked before use, nothing is read out of bounds. Nothing in a shard is
// aligned; values are copied out with memcpy. All integers are little-endian. Threads: any.
#pragma once

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum { MDS_MAX_COLUMNS = 256, MDS_MAX_DIMS = 63 };

typedef enum { MDS_BYTES, MDS_JPEG, MDS_PNG, MDS_STR, MDS_JSON, MDS_INT, MDS_SCALAR, MDS_NDARRAY } MdsKind;
typedef enum {
    MDS_U8,
    MDS_U16,
    MDS_U32,
    MDS_U64,
    MDS_I8,
    MDS_I16,
    MDS_I32,
    MDS_I64,
    MDS_F16,
    MDS_F32,
    MDS_F64,
    MDS_TYPES
} MdsType;

typedef struct {
    MdsKind kind;
    MdsType type;     // of SCALAR and NDARRAY; I64 for INT, U8 for the others
    int ndim;         // of an NDARRAY with a fixed shape, 0 otherwise
    uint64_t dims[4]; // the first four of them
    uint64_t size;    // bytes of the fixed size, 0 when variable
} MdsEncoding;

typedef struct {
    char *name;
    char *encoding; // as written, "ndarray:int32"
    MdsEncoding form;
} MdsColumn;

// Columns in the byte order of their names. Owned by whoever filled it.
typedef struct {
    MdsColumn *columns;
    size_t count;
    size_t variable; // how many have no fixed size
} MdsSchema;

size_t mds_type_size(MdsType type);
// "ndarray:uint8:256,256,3" -> form. Refused by name: pkl, ndarray without a type, unknown types and encodings.
bool mds_encoding_parse(MdsEncoding *out, const char *text, VcErr *err);

// Names must be sorted and not repeat, at most MDS_MAX_COLUMNS. `columns` is copied.
bool mds_schema_make(MdsSchema *out, const char *const *names, const char *const *encodings, size_t count, VcErr *err);
void mds_schema_finish(MdsSchema *schema); // a zeroed struct is allowed
bool mds_schema_equal(const MdsSchema *a, const MdsSchema *b);
int mds_schema_find(const MdsSchema *schema, const char *name); // -1: no such column

// One field of a record: a view into the record.
typedef struct {
    const uint8_t *data;
    size_t size;
} MdsField;

// Splits record bytes into schema->count fields and checks what the encodings promise: lengths add up, array prefixes
// match their byte count, str and json are UTF-8. The error text is the reason alone; callers add file and number.
bool mds_record_parse(const MdsSchema *schema, const uint8_t *data, size_t n, MdsField *fields, VcErr *err);
// The opposite: appends the record whose fields are given (array prefixes included in the field: mds_put_array).
// Refused: a field that does not have the fixed size, a record of zero bytes, over 4 GiB.
bool mds_record_put(VcStr *out, const MdsSchema *schema, const MdsField *fields, VcErr *err);
// Appends the bytes of a one-dimensional "ndarray:T" value: prefix, dim, values.
void mds_put_array(VcStr *out, MdsType type, const void *values, size_t count);

// An array field: the values inside, and its shape. Values are unaligned.
typedef struct {
    const uint8_t *values;
    uint64_t count; // product of dims
    int ndim;
    uint64_t dims[4]; // the first four
} MdsArray;
bool mds_array_parse(MdsArray *out, const MdsEncoding *form, const uint8_t *data, size_t n, VcErr *err);

// One file of an entry: the plain shard ("raw_data") or its gzip form ("zip_data").
typedef struct {
    char *basename;
    uint64_t bytes;
    char sha1[41]; // lower-case hex, "" when the entry has none
    char xxh64[17];
    char *hashes_json; // all hashes as written, so that an entry of others is kept whole
} MdsFile;

// One entry of index.json.
typedef struct {
    MdsSchema schema;
    char *compression; // NULL: none
    char *hashes_json; // "[\"sha1\", \"xxh64\"]"
    MdsFile raw, zip;  // zip.basename NULL: none
    uint64_t samples;
    uint64_t size_limit; // 0: null
} MdsEntry;

typedef struct {
    MdsEntry *entries;
    size_t count;
    uint64_t total;       // sum of samples
    char fingerprint[65]; // see mds_index_fingerprint
} MdsIndex;

// Parses index.json with every check of the format. `what` names it in errors.
bool mds_index_parse(MdsIndex *out, const char *text, size_t n, const char *what, VcErr *err);
void mds_index_finish(MdsIndex *index); // a zeroed struct is allowed
void mds_entry_finish(MdsEntry *entry);
bool mds_entry_parse(MdsEntry *out, const VcJson *json, const char *what, VcErr *err);
// As Python's json.dumps(sort_keys=True) writes them.
void mds_entry_put(VcStr *out, const MdsEntry *entry);
void mds_index_put(VcStr *out, const MdsIndex *index); // with our "x_vc" block
// The shard configuration: the entry's keys without the facts about files.
void mds_config_put(VcStr *out, const MdsEntry *entry);
// Is `text` (the configuration inside a shard) JSON that names the same columns as the entry?
bool mds_config_check(const MdsEntry *entry, const char *text, size_t n, VcErr *err);
// SHA-256 over the concatenated sha1 values in shard order. A shard without one (a set of others) counts with
// "BASENAME:BYTES:SAMPLES:" and its other hashes as text instead.
void mds_index_fingerprint(const MdsIndex *index, char out[65]);
