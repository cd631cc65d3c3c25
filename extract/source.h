// SPDX-License-Identifier: MIT
// A source of {image, captions, other columns}: a folder, a table (.tsv .csv), JSON (.json list, .jsonl, COCO captions,
// Karpathy split, VG regions; annotations of VQA, NLVR2, SNLI-VE and RefCOCO+ as ALBEF and ViCHA have them) or a
// WebDataset .tar, each also as .gz, read as a stream in flat memory (COCO: 16 bytes and a name per image).
//
// The rule: an entry that is not what its format says is an entry with a `problem`, never the end of the source.
// Threads: one source, one thread at a time.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *root;                              // for relative paths; NULL: the folder the source is in
    const char *url_col, *caption_col, *image_col; // names or 0-based numbers; NULL: found by name
    const char *split;                             // of entries that name none; NULL: none
    const char *replace, *replacement; // in the names of images, everywhere; NULL: nothing (SBU: images, images_train)
    const char *columns;               // others to carry: names with commas between; NULL: all; "": none
    const char *format;                // "tsv", "csv", "jsonl", "json", "tar"; NULL: by the file's name
    bool guess;                        // without a format: by the first bytes, not by the name
} ExtractSourceOptions;

// Everything is borrowed until the next call.
typedef struct {
    size_t number;               // 1-based line, item or file of the source
    const char *key;             // the image as the source names it; for a broken entry "#line 17"
    const char *const *captions; // UTF-8, trimmed, none empty
    size_t caption_count;
    const char *split;   // "train", ... or NULL
    const char *problem; // NULL, or why this entry names no image
    const char *columns; // the other columns as a JSON object, or NULL
    size_t repaired;     // captions that had bytes which were not UTF-8
    int64_t offset;      // where in a tar the member begins, else -1
    // An annotation is more than a picture and its captions. shape: NULL when there is no more; else
    // "caption" (an object for every caption), "captions" (one object with a list), "vqa", "nlvr" (two images),
    // "entailment" or "grounding".
    const char *shape;
    const char *kind;       // of the captions: NULL, "question", "sentence", "hypothesis" or "expression"
    const char *second_key; // the right image of NLVR2, or NULL
    const char *fields;     // JSON object of the other members, or NULL
    const char *concepts, *second_concepts; // JSON lists of strings (kwords), or NULL
} ExtractEntry;

typedef struct ExtractSource ExtractSource;

// Unreadable files and folders, unknown kinds, a --caption-col that is not there: one clear error.
bool extract_source_open(ExtractSource **out, const char *path, const ExtractSourceOptions *options, VcErr *err);
void extract_source_close(ExtractSource **source); // NULL allowed; clears
// *more is false at the end. Errors are of the file system only.
bool extract_source_next(ExtractSource *source, ExtractEntry *entry, bool *more, VcErr *err);

// The absolute path, the folder that relative keys start from, and a text that differs when the source may have
// changed (size and time of a file, the names in a folder). Owned by the source.
const char *extract_source_path(const ExtractSource *source);
const char *extract_source_root(const ExtractSource *source);
const char *extract_source_fingerprint(const ExtractSource *source);
bool extract_source_is_tar(const ExtractSource *source);
// A compressed tar: the offsets of its entries are those of extract_unpack_tar's result.
bool extract_source_is_packed(const ExtractSource *source);

bool extract_is_url(const char *key);     // http:// or https://, any case
bool extract_has_scheme(const char *key); // "ftp://", "data:", "file://", ...: a URL of any kind

// By the extension of a file's name, without ".gz": is it a list (.tsv .csv .jsonl .ndjson), is it a tar?
bool extract_is_list_name(const char *name);
bool extract_is_tar_name(const char *name);

// Writes the tar inside a compressed one to `to`, which appears whole or not at all.
bool extract_unpack_tar(const char *path, const char *to, VcErr *err);
// The bytes of the tar member whose header (or whose long name) begins at `offset`, an ExtractEntry.offset. Freed with
// free(). VC_ERR_LIMIT over max_bytes, VC_ERR_IO when the file cannot be read or is another one now.
bool extract_tar_member(const char *path, int64_t offset, size_t max_bytes, uint8_t **bytes, size_t *n, VcErr *err);
