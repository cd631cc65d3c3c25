// SPDX-License-Identifier: MIT
// Encoded pictures in, embeddings out in the order they were put: decoding and computing on the same threads.
//
// Each thread takes a few pictures at a time and does all there is to do with them: reads, decodes, preprocesses,
// encodes. No thread waits for another, so while one decodes the others compute; the thread that puts and takes only
// sleeps between the two (and may wait for a disk). An embedding is the bits of clip_encode_images.
// Memory: pixels and work of a few pictures a thread, vectors of `CLIP_STREAM_AHEAD` pieces a thread.
// Threads: a stream has its own; put, next and close belong to one.
#pragma once

#include "concepts/clip.h"

#include <stdint.h>

enum { CLIP_STREAM_AHEAD = 24 }; // pieces a thread has before it: seconds of work, so that a slow commit stops nobody

// The bytes of picture `id`, freed with free(); called on thread `worker`, any order. A failure is that picture's.
typedef bool (*ClipReadFn)(void *ctx, size_t worker, int64_t id, uint8_t **bytes, size_t *n, VcErr *err);

typedef struct {
    const ClipModel *model;
    ClipPreprocess how;
    size_t threads;
    size_t batch;      // at most so many pictures with all threads together; 0: as many as are fast
    uint64_t expected; // pictures, about: few are spread over the threads; 0: many
    ClipReadFn read;
    void *ctx;
} ClipStreamOptions;

// One picture: its vector[d], not normalised, valid until the next call; NULL where it could not be read or decoded.
typedef struct {
    int64_t id;
    const float *vector;
    const VcErr *err;
} ClipStreamItem;

// Summed over the threads.
typedef struct {
    double read_seconds, encode_seconds;
} ClipStreamTimes;

typedef struct ClipStream ClipStream;
bool clip_stream_open(ClipStream **out, const ClipStreamOptions *options, VcErr *err);
size_t clip_stream_piece(const ClipStream *s); // pictures a thread takes at a time
// The next n <= clip_stream_piece pictures; false where there is no room before something is taken.
bool clip_stream_put(ClipStream *s, const int64_t *ids, size_t n);
// Waits for the oldest piece; 0 items when none is under way. items[clip_stream_piece].
size_t clip_stream_next(ClipStream *s, ClipStreamItem *items);
ClipStreamTimes clip_stream_times(ClipStream *s);
void clip_stream_close(ClipStream **s); // waits for the pieces begun; others are dropped. NULL allowed; clears
