// SPDX-License-Identifier: MIT
#include "concepts/clip.h"
#include "concepts/clip_private.h"
#include "concepts/hub.h"

#include "base/file.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

// ---- where a model lies ----

static bool has_file(const char *dir, const char *name)
{
    char *path = vc_path_join(dir, name);
    const bool there = vc_exists(path);
    free(path);
    return there;
}

bool clip_find(char **dir, const char *name, VcErr *err)
{
    return hub_find(dir, name, err);
}

bool clip_choose_layout(ClipModel *m, VcErr *err)
{
    const bool hf = has_file(m->dir, "config.json"), oc = has_file(m->dir, "open_clip_config.json");
    char *hf_file = nn_weights_find(m->dir, "model", "pytorch_model");
    char *oc_file = nn_weights_find(m->dir, "open_clip_model", "open_clip_pytorch_model");
    const bool hf_weights = hf_file != NULL, oc_weights = oc_file != NULL;
    free(hf_file);
    free(oc_file);
    if (!hf && !oc) {
        return vc_fail(err, VC_ERR_IO,
                       "'%s' is no CLIP model: expected config.json (Hugging Face) or open_clip_config.json (OpenCLIP)",
                       m->dir);
    }
    // Many hub folders carry both: the one whose weights are there.
    m->info.layout = hf && (hf_weights || !oc || !oc_weights) ? CLIP_LAYOUT_HF : CLIP_LAYOUT_OPENCLIP;
    return true;
}

// ---- life ----

static bool check_tokenizer(const ClipModel *m, VcErr *err)
{
    const size_t have = bpe_vocabulary(m->bpe);
    if (have != m->info.vocabulary) {
        return vc_fail(
            err, VC_ERR_FORMAT,
            "the tokenizer in '%s' has %zu tokens, the text embedding %zu rows: is it the tokenizer of another model?",
            m->dir, have, m->info.vocabulary);
    }
    if (m->pool_id >= 0 && m->pool_id != bpe_end_id(m->bpe)) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'eos_token_id' of text_config in '%s/config.json' is %d, the tokenizer's end token has id %d",
                       m->dir, (int)m->pool_id, (int)bpe_end_id(m->bpe));
    }
    if (m->pool_id < 0 && (size_t)bpe_end_id(m->bpe) + 1 != m->info.vocabulary) {
        return vc_fail(
            err, VC_ERR_FORMAT,
            "texts are pooled at their largest id, but the tokenizer's end token %d in '%s' is not the last of %zu",
            (int)bpe_end_id(m->bpe), m->dir, m->info.vocabulary);
    }
    return true;
}

bool clip_open(ClipModel **out, const char *name, VcErr *err)
{
    if (!nn_blas_check(err))
        return false;
    ClipModel *m = vc_calloc(1, sizeof *m);
    const bool ok = clip_find(&m->dir, name, err) && clip_choose_layout(m, err) && clip_read_config(m, err) &&
                    clip_load_weights(m, err) && bpe_open(&m->bpe, m->dir, err) && check_tokenizer(m, err) &&
                    clip_view_towers(m, err);
    if (ok) {
        *out = m;
    } else {
        clip_close(&m);
    }
    return ok;
}

bool clip_open_tokenizer(Bpe **bpe, BpeClean *clean, size_t *context, const char *name, VcErr *err)
{
    ClipModel *m = vc_calloc(1, sizeof *m);
    bool ok = clip_find(&m->dir, name, err);
    const bool configured = ok && (has_file(m->dir, "config.json") || has_file(m->dir, "open_clip_config.json"));
    if (ok && configured)
        ok = clip_choose_layout(m, err) && clip_read_config(m, err);
    ok = ok && bpe_open(bpe, m->dir, err);
    *clean = configured ? m->info.clean : BPE_CLEAN_HF;
    *context = configured ? m->info.context : 77;
    clip_close(&m);
    return ok;
}

void clip_close(ClipModel **model)
{
    if (model == NULL || *model == NULL)
        return;
    ClipModel *m = *model;
    bpe_close(&m->bpe);
    nn_safetensors_close(&m->weights);
    vc_arena_destroy(&m->converted);
    clip_works_destroy(&m->works);
    clip_packed_finish(&m->image_tower);
    clip_packed_finish(&m->text_tower);
    free(m->image_blocks);
    free(m->text_blocks);
    free(m->dir);
    free(m);
    *model = NULL;
}

const ClipInfo *clip_info(const ClipModel *model)
{
    return &model->info;
}

const char *clip_dir(const ClipModel *model)
{
    return model->dir;
}

const Bpe *clip_tokenizer(const ClipModel *model)
{
    return model->bpe;
}

void clip_set_clean(ClipModel *model, BpeClean clean)
{
    model->info.clean = clean;
}

void clip_normalize(float *rows, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (size_t k = 0; k < d; k++)
            sum += (double)rows[i * d + k] * (double)rows[i * d + k];
        if (sum > 0.0) {
            const double scale = 1.0 / sqrt(sum);
            for (size_t k = 0; k < d; k++)
                rows[i * d + k] = (float)((double)rows[i * d + k] * scale);
        }
    }
}
