// SPDX-License-Identifier: MIT
// The extract stage: sources are listed into vicha.db, then every image that has no result yet is read or fetched,
// checked, resized and stored in images/NNNNN.tar.
//
// The rule: a row for every input, and nothing is done twice. Listing commits its position with its rows; an image is
// committed after its bytes are safe in the shard. A run that was killed at any moment and started again ends with the
// same set of images and captions as an undisturbed one.
//
// Threads: extract_run is called by one thread, which owns the database; it starts one network thread and
// `jobs` decoders, and joins them before it returns.
#pragma once

#include "base/str.h"
#include "base/workspace.h"
#include "extract/fetch.h"
#include "extract/thumbnail.h"

#include <stddef.h>
#include <stdint.h>

// Which images count as one: with the same bytes, the same decoded pixels (thumbnail.h: pixel_hash; decoding is then
// never reduced), or the same looks (measure.h).
typedef enum { EXTRACT_DEDUP_OFF, EXTRACT_DEDUP_EXACT, EXTRACT_DEDUP_PIXEL, EXTRACT_DEDUP_PERCEPTUAL } ExtractDedup;

typedef struct {
    const char *const *sources; // files, folders or "-" (standard input), in this order; borrowed
    size_t source_count;
    const char *root;                              // for relative paths; NULL: the folder the source is in
    const char *url_col, *caption_col, *image_col; // names or 0-based numbers; NULL: found by name
    const char *split, *replace, *replacement;     // as ExtractSourceOptions has them
    const char *columns; // others to carry into the database: names with commas between; NULL: all; "": none
    const char *format;  // of sources that are files: "tsv", "csv", "jsonl", "json", "tar"; NULL: by their names
    ExtractThumbnailOptions thumbnail;
    size_t jobs;               // decoder threads
    ExtractFetchOptions fetch; // the network; max_bytes and max_memory are set by the stage
    ExtractDedup dedup;
    bool sandbox;             // each decoder in a process of its own (sandbox.h)
    const char *retry_failed; // NULL: no; "": rejected images whose cause may heal; else causes by name, with commas
    uint64_t limit;           // at most so many images are listed; 0: all
    uint32_t shard_index, shard_count;  // this process does image_id % shard_count == shard_index
    uint64_t shard_images, shard_bytes; // a tar is finished when it holds so many
} ExtractOptions;

// size 256 shortest q90, one decoder a processor, the network as extract_fetch_options_init, dedup off, 10,000 images
// or 1 GiB a shard.
void extract_options_init(ExtractOptions *options);

enum { EXTRACT_CAUSES_MAX = 64 };
typedef struct {
    uint64_t entries;                         // read from the sources by this run
    uint64_t images_listed, captions_listed;  // new rows of this run
    uint64_t captions_repaired;               // captions with bytes that were not UTF-8
    uint64_t stored, rejected;                // by this run
    uint64_t retries;                         // network attempts after the first
    uint64_t bytes_read;                      // source bytes of the images of this run
    double listing_seconds, seconds;          // of listing; of the rest
    uint64_t total_stored, total_rejected;    // in the workspace, of these sources, after this run
    uint64_t total_waiting;                   // listed, without a result (other --shard parts)
    uint64_t total_cause[EXTRACT_CAUSES_MAX]; // rejected ones by -cause
} ExtractReport;

// The report as one JSON object, without a line end. all_causes: also those that nothing was rejected for.
void extract_report_json(VcStr *out, const ExtractReport *report, bool all_causes);

// On failure (also VC_ERR_CANCELLED after Ctrl-C) everything that was finished is kept and `report` is filled as far
// as the run came.
bool extract_run(VcWorkspace *ws, const ExtractOptions *options, ExtractReport *report, VcErr *err);
