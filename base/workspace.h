// SPDX-License-Identifier: MIT
// A workspace: the folder every stage works on, and the schema of its `vicha.db` (docs/FORMATS.md).
//
// Threads: one connection, one thread at a time; open one connection a thread.
#pragma once

#include "base/db.h"

enum { VC_SCHEMA_VERSION = 2, VC_APPLICATION_ID = 0x56434442 };

typedef struct {
    char *dir; // as given, without a trailing '/'
    VcDb *db;
    int lock; // descriptor of vicha.lock, or -1
} VcWorkspace;

// Opens `dir`/vicha.db. CREATE makes folder, database and schema when absent; READ and WRITE need them there.
// A database with another application id, or made by a newer version (unless READ), is refused with a clear error.
// An older schema is brought up to ours by WRITE and CREATE, after a copy was made as `dir`/vicha.db.schema-N (left out
// where the environment has VICHA_NO_BACKUP=1); READ reads it as it is.
// WRITE and CREATE take the workspace's writer lock (`dir`/vicha.lock, flock): a second writer is refused by name.
bool vc_workspace_open(VcWorkspace *ws, const char *dir, VcDbMode mode, VcErr *err);
void vc_workspace_close(VcWorkspace *ws);                         // a zeroed struct is allowed
char *vc_workspace_path(const VcWorkspace *ws, const char *name); // DIR/name, freed with free()

// meta table: text values. *out is NULL when the key is absent; freed with free().
bool vc_meta_get(VcWorkspace *ws, const char *key, char **out, VcErr *err);
bool vc_meta_set(VcWorkspace *ws, const char *key, const char *value, VcErr *err);

// Secondary indexes and FTS are dropped before a bulk load and built after it. Building one that exists is a no-op.
bool vc_workspace_build_indexes(VcWorkspace *ws, VcErr *err);
bool vc_workspace_drop_mining_indexes(VcWorkspace *ws, VcErr *err);
bool vc_workspace_rebuild_fts(VcWorkspace *ws, VcErr *err); // caption_fts and concept_fts
