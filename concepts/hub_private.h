// SPDX-License-Identifier: MIT
// Places in the hub's cache, shared by hub.c and hub_pull.c.
#pragma once

#include "base/str.h"
#include "concepts/hub.h"

void hub_cache(VcStr *out);                         // CACHE
bool hub_name_valid(const char *name);              // "NAME" or "ORG/NAME"
void hub_folder_name(VcStr *out, const char *name); // "models--ORG--NAME"
// The snapshot of `revision` in folder `repository`, NULL when there is none; freed with free(). A NULL revision: main,
// else the only snapshot.
char *hub_snapshot(const char *repository, const char *revision);
