// SPDX-License-Identifier: MIT
// Writes a record set: shards of limited size, their side indexes, index.json at the end; resumes and appends.
//
// Each shard goes to NAME.tmp, is synced, renamed, then noted with its entry and the last key as one line of
// progress.jsonl; a shard that was not noted is written again. index.json comes last, by rename; then progress.jsonl is
// removed. Existing shards never change: appending adds shards after the last one. The same records in the same order
// give the same bytes, however often the writer was stopped.
//
// Threads: one at a time.
#pragma once

#include "base/err.h"
#include "index/mds.h"

#include <stddef.h>
#include <stdint.h>

typedef struct IndexWriter IndexWriter;

typedef struct {
    const char *dir;          // made when absent
    const char *const *names; // columns in sorted order
    const char *const *encodings;
    size_t columns;
    uint64_t size_limit;  // bytes of a shard, header included; below 4 GiB
    const char *settings; // one JSON object: what must be the same to go on with a set, kept in records.json
} IndexWriterOptions;

// What was found in `dir`.
typedef enum { INDEX_SET_NEW, INDEX_SET_PARTIAL, INDEX_SET_COMPLETE } IndexSetState;

// Opens for writing, after what is already there. Settings or columns that differ from those of the set are an error
// (VC_ERR_USAGE) that names each difference.
bool index_writer_open(IndexWriter **out, const IndexWriterOptions *options, VcErr *err);
IndexSetState index_writer_state(const IndexWriter *w);
uint64_t index_writer_records(const IndexWriter *w); // in the set so far, this shard's included
size_t index_writer_shards(const IndexWriter *w);    // finished so far
uint64_t index_writer_bytes(const IndexWriter *w);   // of the finished shards
// Is this image id in a finished shard already?
bool index_writer_has(const IndexWriter *w, int64_t image_id);

// Adds one record. `fields` in the order of the columns, array prefixes included (mds_put_array).
bool index_writer_add(IndexWriter *w, int64_t image_id, const MdsField *fields, VcErr *err);
// Closes the last shard, writes records.json (`provenance`: more JSON members, without braces, or NULL) and index.json,
// and removes progress.jsonl. Without any record: VC_ERR_USAGE.
bool index_writer_commit(IndexWriter *w, const char *provenance, VcErr *err);
void index_writer_close(IndexWriter **w); // NULL allowed; clears. Without commit, finished shards stay for a resume.

// The archive form: every shard as one gzip member (level 1..9) beside a new index.json, the plain shards removed; and
// back. Both can be stopped anywhere and run again; both check every hash. *done: shards converted now.
bool index_set_pack(const char *dir, int level, uint64_t *done, VcErr *err);
bool index_set_unpack(const char *dir, uint64_t *done, VcErr *err);
// Writes the .vix files that are missing (sets of others, side files lost in a copy). *done: files written.
bool index_set_rebuild_vix(const char *dir, uint64_t *done, VcErr *err);
