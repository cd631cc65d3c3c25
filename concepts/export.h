// SPDX-License-Identifier: MIT
// A workspace for other programs: the annotation JSON of ViCHA's trainer, CSV, WebDataset shards with concepts, NumPy
// vectors. (MDS records: index/export_mds.h.)
//
// The rule: what is written is images that are stored, captions that `vicha filter` has not marked, images that
// `vicha dedup` has not marked, in the order of their numbers; the same workspace gives the same bytes. A file appears
// whole or not at all. Threads: one workspace, one thread at a time.
#pragma once

#include "base/str.h"
#include "base/workspace.h"

#include <stdio.h>

// Which images; NULL: any.
typedef struct {
    const char *split, *source, *tag; // names
    bool marked;                      // also what filter and dedup have marked
} ConceptsSelection;

// One image. Everything is borrowed until the next call.
typedef struct {
    int64_t image_id, width, height;
    int64_t vector_row;                     // -1: none
    const char *key, *source, *split, *uri; // split may be NULL; uri: the source's folder, or its tar
    const char *const *captions;
    size_t caption_count;
    const char *const *concepts; // best first; of the mining, or else as the source gave them
    const double *scores;        // cosines; NULL for concepts that were given
    size_t concept_count;
} ConceptsRow;

typedef struct ConceptsRows ConceptsRows;
bool concepts_rows_open(ConceptsRows **out, VcWorkspace *ws, const ConceptsSelection *selection, VcErr *err);
bool concepts_rows_next(ConceptsRows *rows, ConceptsRow *row, bool *more, VcErr *err);
void concepts_rows_close(ConceptsRows **rows); // NULL allowed; clears

typedef enum {
    CONCEPTS_FORM_SOURCE, // as the source had them: an object a caption, or one with a list; tasks in their shapes
    CONCEPTS_FORM_PAIRS,  // an object a caption, with image_id: pretraining, retrieval training
    CONCEPTS_FORM_LISTS,  // an object an image, with the list of its captions: retrieval evaluation
} ConceptsForm;

typedef struct {
    ConceptsSelection selection;
    ConceptsForm form;
    const char *root;   // put before the names of images, NULL: names as the source has them
    const char *images; // a folder the stored JPEGs are copied to and named in; NULL: none
    bool any_concepts;  // objects of images without concepts too, without kwords
} ConceptsJsonOptions;

typedef struct {
    uint64_t objects, images;
    uint64_t without_concepts; // objects left out: ViCHA's loaders stop at one without kwords
    uint64_t incomplete;       // objects left out: one of their two images is not stored
    uint64_t links;            // images that are named by a URL, which no loader opens
    uint64_t shards, bytes;
} ConceptsExportReport;

// A JSON list, an object a line.
bool concepts_export_json(VcWorkspace *ws, const ConceptsJsonOptions *options, FILE *out, ConceptsExportReport *report,
                          VcErr *err);

// image_id, source, key, split, width, height, caption (the first), captions, concepts, scores (JSON lists).
bool concepts_export_csv(VcWorkspace *ws, const ConceptsSelection *selection, FILE *out, ConceptsExportReport *report,
                         VcErr *err);

// DIR/NNNNN.tar: KEY.jpg, KEY.txt (a caption a line), KEY.json with captions, concepts and scores. At most
// `shard_images` images a shard. The folder must be new or empty.
bool concepts_export_webdataset(VcWorkspace *ws, const ConceptsSelection *selection, const char *dir,
                                uint64_t shard_images, ConceptsExportReport *report, VcErr *err);

// `path` ends in ".npy": float32 [n, dim], rows of length 1; beside it NAME.ids.npy, int64 [n], and NAME.names.json, a
// list of n keys or concepts. concepts: the vocabulary's vectors instead of the images'.
bool concepts_export_npy(VcWorkspace *ws, const ConceptsSelection *selection, bool concepts, const char *path,
                         ConceptsExportReport *report, VcErr *err);

// metadata.yaml for Datasette; the same for every workspace.
bool concepts_export_datasette(FILE *out, ConceptsExportReport *report, VcErr *err);
