// SPDX-License-Identifier: MIT
// One image on its way from its key to its row, and the threads that carry it: the network thread, decoders, and the
// caller, which alone touches the database. Not for other folders.
#pragma once

#include "extract/list.h"
#include "extract/store.h"
#include "extract/thumbnail.h"

typedef struct ExtractJob {
    struct ExtractJob *next; // of a page that is not started
    void *slot;              // the line's
    int64_t image_id;
    const ExtractListed *source;
    char *key;
    int64_t offset; // in a tar, else -1
    // Filled by the threads
    bool done, cancelled; // cancelled: no statement about the image
    ExtractCause cause;
    VcErr err;
    uint8_t *bytes; // of the source; freed when decoded
    size_t n;       // their number
    bool fetched;   // bytes are on the fetcher's account
    unsigned attempts;
    uint8_t sha256[32];
    ExtractThumbnail thumbnail;
    char mime[32]; // what thumbnail.mime points to after it was read back from the journal
} ExtractJob;

void extract_job_destroy(ExtractJob **job);

typedef struct ExtractPipeline ExtractPipeline;
bool extract_pipeline_start(ExtractPipeline **out, const ExtractOptions *options, size_t capacity, VcErr *err);
// At most `capacity` jobs may be inside at a time; neither call then waits for room.
void extract_pipeline_add(ExtractPipeline *pipeline, ExtractJob *job);
// A finished one; NULL when none came within `seconds`.
ExtractJob *extract_pipeline_take(ExtractPipeline *pipeline, double seconds);
// Everything inside comes back soon, most of it cancelled.
void extract_pipeline_cancel(ExtractPipeline *pipeline);
void extract_pipeline_stop(ExtractPipeline **pipeline); // nothing may be inside. NULL allowed; clears

// Writes finished jobs: their members, their rows, one transaction.
typedef struct ExtractCommitter ExtractCommitter;
bool extract_committer_open(ExtractCommitter **out, VcWorkspace *ws, const ExtractOptions *options, VcErr *err);
// `jobs` are done and not cancelled, in the order of image_id. With dedup a job may become EXTRACT_DUPLICATE.
bool extract_commit(ExtractCommitter *committer, ExtractJob *const *jobs, size_t count, VcErr *err);
bool extract_committer_finish(ExtractCommitter *committer, VcErr *err); // everything is stored: finish the shard
void extract_committer_close(ExtractCommitter **committer);             // NULL allowed; clears
