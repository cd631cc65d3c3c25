// SPDX-License-Identifier: MIT
// The directory of a zip archive in memory, zip64 included, for entries that are stored as they are (PyTorch's files).
// Internal to nn/. Every offset and size is checked against the archive: an entry's bytes always lie inside it.
//
// libarchive, which reads archives for extract/, streams; here hundreds of entries are wanted by name, in place.
// Threads: any; read-only once opened.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { NN_ZIP_MAX_ENTRIES = 1 << 20 };

typedef struct {
    const char *name;    // owned by the archive, terminated
    const uint8_t *data; // NULL for an entry that is compressed or encrypted
    size_t size;
} NnZipEntry;

typedef struct {
    NnZipEntry *entries; // in order of name (strcmp)
    size_t count;
    char *names;
} NnZip;

// `path` names the file in errors. Two entries of one name are an error. On failure nothing is left.
bool nn_zip_open(NnZip *zip, const uint8_t *data, size_t n, const char *path, VcErr *err);
void nn_zip_close(NnZip *zip);
const NnZipEntry *nn_zip_find(const NnZip *zip, const char *name); // NULL when absent
