// SPDX-License-Identifier: MIT
// Files: whole-or-nothing writing, read-only maps, directory walks. Threads: any.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// A file that appears under its name complete or not at all: written as "PATH.tmp", synced, renamed.
typedef struct {
    FILE *file;
    char *path, *tmp;
} VcAtomicFile;
bool vc_atomic_begin(VcAtomicFile *f, const char *path, VcErr *err);
bool vc_atomic_commit(VcAtomicFile *f, VcErr *err); // checks every earlier write; on failure the file is discarded
void vc_atomic_discard(VcAtomicFile *f);            // allowed after commit and on a zeroed struct
bool vc_write_file(const char *path, const void *data, size_t n, VcErr *err); // the three in a row

// A read-only memory map. `data` is NULL for an empty file.
typedef struct {
    const uint8_t *data;
    size_t size;
} VcMap;
bool vc_map_open(VcMap *map, const char *path, VcErr *err);
void vc_map_close(VcMap *map);      // a zeroed map is allowed
void vc_map_drop(const VcMap *map); // gives its memory back; what is read again comes from the file

// Whole file into memory with a zero byte after it; freed with free(). Over `max` bytes: VC_ERR_LIMIT.
bool vc_read_file(char **out, size_t *size, const char *path, size_t max, VcErr *err);
bool vc_full_write(int fd, const void *data, size_t n, const char *path, VcErr *err);
bool vc_sync_file(int fd, const char *path, VcErr *err);
bool vc_sync_parent(const char *path, VcErr *err); // makes a rename durable

bool vc_exists(const char *path);
bool vc_is_directory(const char *path);
bool vc_file_size(const char *path, uint64_t *size, VcErr *err);
bool vc_make_dirs(const char *path, VcErr *err);                 // like mkdir -p
bool vc_copy_file(const char *from, const char *to, VcErr *err); // `to` appears whole or not at all
char *vc_path_join(const char *dir, const char *name);           // freed with free(); an absolute `name` wins
const char *vc_path_base(const char *path);                      // after the last '/'

// All regular files below `dir` (recursive, hidden ones left out, symbolic links to directories not followed), as
// paths relative to it in strcmp order. Freed with vc_file_list_finish. An unreadable folder is an error.
typedef struct {
    char **paths;
    size_t count;
} VcFileList;
bool vc_list_files(VcFileList *list, const char *dir, VcErr *err);
void vc_file_list_finish(VcFileList *list);
