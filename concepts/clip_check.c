// SPDX-License-Identifier: MIT
// Looking at a model's files one by one, where clip_open stops at the first that is wrong.
#include "concepts/clip_private.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static bool check_weights(ClipModel *m, bool configured, VcErr *err)
{
    if (configured)
        return clip_load_weights(m, err);
    const bool hf = m->info.layout == CLIP_LAYOUT_HF;
    const bool ok = nn_weights_open_dir(&m->weights, m->dir, hf ? "model" : "open_clip_model",
                                        hf ? "pytorch_model" : "open_clip_pytorch_model", err);
    return ok; // the container alone: what should be in it is unknown
}

static void name_weights(const char *dir, bool hf, char file[64])
{
    char *path =
        nn_weights_find(dir, hf ? "model" : "open_clip_model", hf ? "pytorch_model" : "open_clip_pytorch_model");
    snprintf(file, 64, "%s",
             path != NULL ? vc_path_base(path)
             : hf         ? "model.safetensors"
                          : "open_clip_model.safetensors");
    free(path);
}

bool clip_check_part(const char *dir, ClipPart part, char file[64], VcErr *err)
{
    ClipModel *m = vc_calloc(1, sizeof *m);
    m->dir = vc_strdup(dir);
    VcErr ignored = {0};
    const bool known = clip_choose_layout(m, &ignored);
    const bool hf = !known || m->info.layout == CLIP_LAYOUT_HF;
    bool ok = true;
    switch (part) {
    case CLIP_PART_CONFIG:
        snprintf(file, 64, "%s", hf ? "config.json" : "open_clip_config.json");
        ok = clip_choose_layout(m, err) && clip_read_config(m, err);
        break;
    case CLIP_PART_WEIGHTS:
        name_weights(dir, hf, file);
        ok = check_weights(m, known && clip_read_config(m, &ignored), err);
        break;
    case CLIP_PART_TOKENIZER: {
        char *one = vc_path_join(dir, "tokenizer.json"), *two = vc_path_join(dir, "vocab.json");
        char *three = vc_path_join(dir, "merges.txt");
        snprintf(file, 64, "%s",
                 vc_exists(one) && !(vc_exists(two) && vc_exists(three)) ? "tokenizer.json" : "vocab.json, merges.txt");
        free(one);
        free(two);
        free(three);
        ok = bpe_open(&m->bpe, dir, err);
        break;
    }
    case CLIP_PARTS:
        VC_ASSERT(part != CLIP_PARTS);
    }
    clip_close(&m);
    return ok;
}

// The first element that is no number, or `count`.
static size_t first_not_finite(const NnStored *t)
{
    for (size_t i = 0; i < t->count; i++) {
        uint32_t word = 0;
        uint16_t half = 0;
        memcpy(t->dtype == NN_F32 ? (void *)&word : (void *)&half, t->data + i * (t->dtype == NN_F32 ? 4 : 2),
               t->dtype == NN_F32 ? 4 : 2);
        const uint32_t bits = t->dtype == NN_F32 ? word : half;
        const uint32_t mask = t->dtype == NN_F32 ? 0x7F800000u : t->dtype == NN_F16 ? 0x7C00u : 0x7F80u;
        if ((bits & mask) == mask)
            return i;
    }
    return t->count;
}

bool clip_check_whole(const char *dir, VcErr *err)
{
    ClipModel *m = NULL;
    if (!clip_open(&m, dir, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < nn_safetensors_count(m->weights); i++) {
        const NnStored *t = nn_safetensors_at(m->weights, i);
        if (t->dtype != NN_F32 && t->dtype != NN_F16 && t->dtype != NN_BF16)
            continue;
        const size_t at = first_not_finite(t);
        if (at < t->count) {
            ok = vc_fail(err, VC_ERR_FORMAT, "tensor '%s' in '%s': element %zu is no finite number", t->name, t->file,
                         at);
        }
    }
    clip_close(&m);
    return ok;
}
