// SPDX-License-Identifier: MIT
// Models of the Hugging Face hub, in its own cache, so that `huggingface_hub` finds what we fetched and we what it did:
//
//     CACHE/models--ORG--NAME/blobs/ETAG              a file's bytes, named by the ETag of the hub
//                             blobs/ETAG.incomplete   what has come of it so far
//                             refs/REVISION           the commit that a branch or tag stood for
//                             snapshots/COMMIT/FILE   a relative symbolic link to a blob
//     CACHE/.locks/models--ORG--NAME/ETAG.lock        held (flock) while a blob is fetched
//
// CACHE is $HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub.
// Threads: any number, and any number of processes: a blob is fetched by one at a time.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

// Where `name` lies: itself if it is a folder, else the snapshot that refs/main names, else the only one there is.
// *dir is freed with free().
bool hub_find(char **dir, const char *name, VcErr *err);

typedef struct {
    const char *name;     // "openai/clip-vit-base-patch32"
    const char *revision; // branch, tag or commit; NULL: main
    // Shell patterns over paths. Without any: the configuration and tokenizer files at the top, and the weights in one
    // form (model.safetensors before open_clip_model.safetensors before the PyTorch files).
    const char *const *include;
    size_t include_count;
    const char *const *exclude; // taken away from either
    size_t exclude_count;
} HubPull;

typedef struct {
    char *dir;               // the snapshot; owned
    char commit[128];        //
    size_t files, fetched;   // in the snapshot by this call; of them not in the cache before
    uint64_t bytes, resumed; // that came over the network; that an earlier call had left
} HubPulled;
void hub_pulled_finish(HubPulled *pulled);

// Fetches what the cache does not have. Broken transfers are taken up where they ended, in this call and in the next;
// each file's size and, where the hub gives it (large files), SHA-256 are checked before it gets its name.
// Environment: HF_ENDPOINT (https://huggingface.co), HF_TOKEN (sent to that host alone), HF_HUB_OFFLINE (1: the cache
// alone, an error when it lacks the revision), and those of CACHE.
bool hub_pull(const HubPull *pull, HubPulled *out, VcErr *err);
