// SPDX-License-Identifier: MIT
// Images and concepts to CLIP vectors: vectors/image-MODEL.f16 and vectors/concept-MODEL.f16.
//
// Images are read from the tar shards in the order of their ids; each thread decodes and encodes a few at a time
// (concepts/clip_stream.h) while this one commits. Memory does not grow with their number. Progress is committed in
// steps: killed and run again it goes on after the last one. Threads: one workspace, one thread at a time.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"
#include "concepts/clip.h"

typedef struct {
    const char *model; // folder of a CLIP model, or its name in the hub's cache
    size_t batch;      // at most so many images under way at once; 0: as many as are fast
    bool replace;      // another model or precision than before: forget all vectors and mined concepts, start again
    bool exact;        // preprocessing bit-equal to Pillow; else clip_preprocess_at decides
    ClipPrecision precision;
    bool automatic; // instead: the fastest precision that keeps the set of mined concepts of 99 % of a sample of images
    VcPool *pool;
} ConceptsEmbedOptions;

typedef struct {
    int64_t images, rejected, concepts; // done by this call
    int64_t images_total;               // with a vector now
    double image_seconds, concept_seconds;
    double read_seconds, encode_seconds, commit_seconds; // reading and decoding, the model: a thread's mean; the
                                                         // commits, which run beside them
    ClipPrecision precision;
    char why[320]; // what `automatic` found; empty otherwise
} ConceptsEmbedReport;

// A workspace has one active model. Another one than before is refused (VC_ERR_USAGE) with what to do,
// unless options->replace.
bool concepts_embed(VcWorkspace *ws, const ConceptsEmbedOptions *options, ConceptsEmbedReport *report, VcErr *err);
