// SPDX-License-Identifier: MIT
#include "concepts/clip.h"
#include "concepts/clip_private.h"

#include "base/file.h"
#include "base/str.h"

#include <dirent.h>
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

// The snapshot that refs/main names, else the only one.
static char *hub_snapshot(const char *repository)
{
    char *refs = vc_path_join(repository, "refs/main"), *snapshots = vc_path_join(repository, "snapshots");
    char *found = NULL, *text = NULL;
    size_t n;
    if (vc_exists(refs) && vc_read_file(&text, &n, refs, 4096, NULL)) {
        text[strcspn(text, " \r\n")] = '\0';
        char *path = strchr(text, '/') == NULL && text[0] != '.' ? vc_path_join(snapshots, text) : NULL;
        if (path != NULL && text[0] != '\0' && vc_is_directory(path)) {
            found = path;
        } else {
            free(path);
        }
    }
    free(text);
    DIR *dir = found == NULL ? opendir(snapshots) : NULL;
    int count = 0;
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        free(found);
        found = vc_path_join(snapshots, e->d_name);
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    if (count > 1) {
        free(found);
        found = NULL;
    }
    free(refs);
    free(snapshots);
    return found;
}

static void hub_folder(VcStr *out)
{
    const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    if (cache != NULL && cache[0] != '\0') {
        vc_str_put(out, cache);
    } else if (home != NULL && home[0] != '\0') {
        vc_str_putf(out, "%s/hub", home);
    } else {
        vc_str_putf(out, "%s/.cache/huggingface/hub", user != NULL ? user : "");
    }
}

bool clip_find(char **dir, const char *name, VcErr *err)
{
    if (vc_is_directory(name)) {
        VcStr path = {0};
        vc_str_put(&path, name);
        while (path.len > 1 && path.data[path.len - 1] == '/')
            path.data[--path.len] = '\0';
        *dir = path.data;
        return true;
    }
    if (vc_exists(name)) {
        return vc_fail(err, VC_ERR_IO,
                       "'%s' is a file: a model is the folder with its configuration, weights and tokenizer", name);
    }
    VcStr hub = {0}, repository = {0};
    hub_folder(&hub);
    vc_str_putf(&repository, "%s/models--", hub.data);
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '/') {
            vc_str_put(&repository, "--");
        } else {
            vc_str_putc(&repository, *p);
        }
    }
    char *found = name[0] != '/' && name[0] != '.' ? hub_snapshot(repository.data) : NULL;
    if (found != NULL) {
        *dir = found;
    } else {
        vc_fail(err, VC_ERR_IO, "there is no model '%s': neither a folder of that name nor '%s' with one snapshot",
                name, repository.data);
    }
    vc_str_finish(&hub);
    vc_str_finish(&repository);
    return found != NULL;
}

bool clip_choose_layout(ClipModel *m, VcErr *err)
{
    const bool hf = has_file(m->dir, "config.json"), oc = has_file(m->dir, "open_clip_config.json");
    const bool hf_weights = has_file(m->dir, "model.safetensors") || has_file(m->dir, "model.safetensors.index.json");
    const bool oc_weights =
        has_file(m->dir, "open_clip_model.safetensors") || has_file(m->dir, "open_clip_model.safetensors.index.json");
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
                    clip_load_weights(m, err) && bpe_open(&m->bpe, m->dir, err) && check_tokenizer(m, err);
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
