// SPDX-License-Identifier: MIT
// Shared by the source readers: the entry under construction and what a reader provides. Not for other folders.
#pragma once

#include "base/json.h"
#include "base/str.h"
#include "extract/source.h"

#include <stdio.h>

// An entry while it is being built; memory is kept from entry to entry.
typedef struct {
    VcStr columns;                   // "{...", not closed; empty when there is none
    VcStr key, split, problem, text; // text: the captions one after the other, each with a zero byte
    size_t *starts, starts_cap;
    const char **captions;
    size_t captions_cap, count, repaired, number;
    int64_t offset;
    // Of an annotation (source.h): shape NULL, or its name; JSON texts that are empty when there is none.
    const char *shape, *kind;
    VcStr second, fields, concepts, second_concepts;
    const char *default_split, *replace, *replacement; // the source's options; borrowed
} EntryBuilder;

void entry_begin(EntryBuilder *b, size_t number);
void entry_key(EntryBuilder *b, const char *text, size_t n);     // a zero byte inside is a problem
void entry_second(EntryBuilder *b, const char *text, size_t n);  // the second image
void entry_caption(EntryBuilder *b, const char *text, size_t n); // trimmed, repaired; empty ones are left out
void entry_problem(EntryBuilder *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Other columns; left out when the options do not name them, or when they are too long to carry.
void entry_column(EntryBuilder *b, const ExtractSourceOptions *o, const char *name, const char *text, size_t n);
void entry_column_json(EntryBuilder *b, const ExtractSourceOptions *o, const char *name, const VcJson *value);
// What KEY.json beside an image holds: captions (taken when there are none yet) and columns.
void entry_sidecar(EntryBuilder *b, const ExtractSourceOptions *o, const char *text, size_t n);
// The lines of KEY.txt; they take the place of captions from elsewhere.
void entry_caption_lines(EntryBuilder *b, const char *text, size_t n);
void entry_end(EntryBuilder *b, const char *unit, ExtractEntry *out); // unit: "line", "item"
void entry_finish(EntryBuilder *b);

struct ExtractSource {
    char *path, *root, *fingerprint;
    bool tar, packed;
    ExtractSourceOptions options;
    EntryBuilder entry;
    void *reader;
    // Fills source->entry and calls entry_end.
    bool (*next)(ExtractSource *source, ExtractEntry *entry, bool *more, VcErr *err);
    void (*close)(void *reader);
};

// Each opens source->path and sets reader, next and close.
bool source_open_folder(ExtractSource *source, VcErr *err);
bool source_open_table(ExtractSource *source, char separator, VcErr *err);
bool source_open_json(ExtractSource *source, bool lines, VcErr *err);
bool source_open_tar(ExtractSource *source, VcErr *err);

// Fills the entry from an object that is an annotation of a task (VQA, NLVR2, SNLI-VE, RefCOCO+); false: it is none.
bool source_task_item(ExtractSource *source, const VcJson *item);
// What {image, caption} objects keep besides: their image_id, title, sim and kwords, and whether captions are a list.
void source_caption_notes(ExtractSource *source, const VcJson *item, const VcJson *captions);
// A caption of Karpathy's and COCO's files keeps the number of its image.
void source_image_number(ExtractSource *source, const VcJson *number);

// Roles of a column or member by its usual names, compared without case; the lowest rank wins.
typedef enum { ROLE_NONE, ROLE_IMAGE, ROLE_URL, ROLE_CAPTION } ColumnRole;
ColumnRole source_role(const char *name, unsigned *rank);
bool source_is_image_name(const char *name); // by its extension
// "photo.jpg#3" (Flickr8k) without the caption's number: the length to keep.
size_t source_key_length(const char *key, size_t n);
