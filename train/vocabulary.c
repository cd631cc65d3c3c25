// SPDX-License-Identifier: MIT
#include "train/vocabulary.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "train/bpe_learn.h"

#include <errno.h>
#include <unistd.h>

static const char *const vocabulary_files[] = {"vocab.json", "merges.txt", "tokenizer.json"};
static const char *const config_files[] = {"tokenizer_config.json", "special_tokens_map.json"};
enum { VOCABULARY_FILES = 3, CONFIG_FILES = 2 };

static bool copy_if_there(const char *from_dir, const char *name, const char *to_dir, VcErr *err)
{
    char *from = vc_path_join(from_dir, name), *to = vc_path_join(to_dir, name);
    bool ok = !vc_exists(from) || vc_copy_file(from, to, err);
    free(from);
    free(to);
    return ok;
}

static bool hash_files(const char *dir, uint64_t *out, VcErr *err)
{
    VcStr all = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < VOCABULARY_FILES; i++) {
        char *path = vc_path_join(dir, vocabulary_files[i]), *data = NULL;
        size_t n = 0;
        if (vc_exists(path) && (ok = vc_read_file(&data, &n, path, 1 << 28, err)))
            vc_str_putn(&all, data, n);
        free(data);
        free(path);
    }
    *out = vc_xxh64(vc_str_get(&all), all.len);
    vc_str_finish(&all);
    return ok;
}

// Every caption of the training part, cut into bytes by the tokenizer in `dir`, which has no merges yet.
static bool count_words(BpeLearner *learner, const char *dir, const TrainData *data, VcErr *err)
{
    Bpe *bytes = NULL;
    if (!bpe_open(&bytes, dir, err))
        return false;
    BpeCache *cache = bpe_cache_create();
    VcStr text = {0};
    int32_t *ids = NULL;
    size_t cap = 0;
    bool ok = true;
    for (uint64_t i = 0; ok && i < train_data_total(data); i++) {
        if (train_data_held_out(data, i))
            continue;
        IndexRecord record;
        if (!train_data_get(data, i, &record, NULL))
            continue; // a bad record: the loader will say so, or pass over it
        size_t captions = train_data_captions(&record);
        for (size_t c = 0; c < captions; c++) {
            vc_str_clear(&text);
            if (!train_data_caption(&record, c, &text, NULL))
                continue;
            size_t n = bpe_encode_all(bytes, cache, BPE_CLEAN_HF, vc_str_get(&text), text.len, &ids, &cap);
            bpe_learner_add_ids(learner, ids, n);
        }
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted while the vocabulary was learned");
    }
    free(ids);
    vc_str_finish(&text);
    bpe_cache_destroy(&cache);
    bpe_close(&bytes);
    return ok;
}

static bool learn(const TrainRecipe *recipe, const TrainData *data, const char *dir, VcErr *err)
{
    BpeLearner *bytes = bpe_learner_create(), *learner = bpe_learner_create();
    bpe_learner_learn(bytes, 0);
    bool ok = bpe_learner_write(bytes, dir, (size_t)recipe->context, err) && count_words(learner, dir, data, err);
    if (ok) {
        size_t entries = bpe_learner_learn(learner, (size_t)recipe->tokenizer_learn);
        ok = bpe_learner_write(learner, dir, (size_t)recipe->context, err);
        if (ok)
            vc_info("learned a vocabulary of %zu entries from the captions", entries);
    }
    bpe_learner_destroy(&bytes);
    bpe_learner_destroy(&learner);
    return ok || vc_prefix(err, "cannot learn the tokenizer '%s'", dir);
}

static bool fetch(const TrainRecipe *recipe, const char *dir, VcErr *err)
{
    bool ok = vc_make_dirs(dir, err);
    if (*recipe->tokenizer_dir) {
        for (size_t i = 0; ok && i < VOCABULARY_FILES; i++)
            ok = copy_if_there(recipe->tokenizer_dir, vocabulary_files[i], dir, err);
    } else {
        char *vocab = vc_path_join(dir, "vocab.json"), *merges = vc_path_join(dir, "merges.txt");
        ok = ok && vc_copy_file(recipe->tokenizer_vocab, vocab, err) &&
             vc_copy_file(recipe->tokenizer_merges, merges, err);
        free(vocab);
        free(merges);
    }
    return ok && bpe_learner_write_config(dir, (size_t)recipe->context, err);
}

// Files of an earlier tokenizer would be read beside, or instead of, the new ones.
static bool clear(const char *dir, VcErr *err)
{
    for (size_t i = 0; i < VOCABULARY_FILES; i++) {
        char *path = vc_path_join(dir, vocabulary_files[i]);
        bool ok = unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR;
        if (!ok)
            vc_fail_errno(err, "cannot remove '%s'", path);
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

bool train_vocabulary_open(Bpe **out, uint64_t *fingerprint, const TrainRecipe *recipe, const TrainData *data,
                           const char *run, bool keep, VcErr *err)
{
    char *dir = vc_path_join(run, "tokenizer"), *there = vc_path_join(dir, "vocab.json");
    bool learning = recipe->tokenizer_learn > 0, ok = true;
    if (!(keep && learning && vc_exists(there)))
        ok = clear(dir, err) && (learning ? learn(recipe, data, dir, err) : fetch(recipe, dir, err));
    ok = ok && bpe_open(out, dir, err);
    if (ok && !hash_files(dir, fingerprint, err)) {
        bpe_close(out);
        ok = false;
    }
    free(there);
    free(dir);
    return ok;
}

bool train_vocabulary_copy(const char *run, const char *dir, VcErr *err)
{
    char *from = vc_path_join(run, "tokenizer");
    bool ok = true;
    for (size_t i = 0; ok && i < VOCABULARY_FILES; i++)
        ok = copy_if_there(from, vocabulary_files[i], dir, err);
    for (size_t i = 0; ok && i < CONFIG_FILES; i++)
        ok = copy_if_there(from, config_files[i], dir, err);
    free(from);
    return ok;
}
