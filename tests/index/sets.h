// SPDX-License-Identifier: MIT
// Random record sets for tests: record i of a seed is the same however the set is written.
#pragma once

#include "base/rng.h"
#include "base/str.h"
#include "index/index.h"

enum { SETS_COLUMNS = 12, SETS_VOCABULARY = 500 };

static const char *const sets_names[SETS_COLUMNS] = {"caption",     "caption_ids",  "caption_lens",   "captions",
                                                     "concept_ids", "concept_lens", "concept_scores", "concept_tokens",
                                                     "concepts",    "image",        "image_id",       "image_size"};
static const char *const sets_encodings[SETS_COLUMNS] = {
    "str",           "ndarray:int32", "ndarray:int32", "json", "ndarray:int32",  "ndarray:int32", "ndarray:float32",
    "ndarray:int32", "json",          "jpeg",          "int",  "ndarray:int32:2"};

typedef struct {
    VcStr value[SETS_COLUMNS];
    int64_t image_id;
} SetsRecord;

static inline void sets_put_words(VcStr *out, VcRng *rng)
{
    static const char *const words[] = {"dog",          "caf\xC3\xA9", "\xF0\x9F\x90\x95", "\"q\"", "a\\b",
                                        "\xE4\xB8\xAD", "run"};
    for (uint64_t n = 1 + vc_rng_below(rng, 6); n > 0; n--)
        vc_str_putf(out, "%s ", words[vc_rng_below(rng, 7)]);
}

// `groups` lengths that sum to the number of tokens.
static inline void sets_put_tokens(VcStr *ids, VcStr *lens, VcRng *rng, size_t groups)
{
    int32_t token[4096], length[64];
    size_t n = 0;
    for (size_t g = 0; g < groups; g++) {
        length[g] = (int32_t)vc_rng_below(rng, 12);
        for (int32_t k = 0; k < length[g]; k++)
            token[n++] = (int32_t)vc_rng_below(rng, SETS_VOCABULARY);
    }
    mds_put_array(ids, MDS_I32, token, n);
    mds_put_array(lens, MDS_I32, length, groups);
}

static inline void sets_record(SetsRecord *r, uint64_t seed, uint64_t i)
{
    VcRng rng;
    vc_rng_seed(&rng, vc_mix_seed(seed, i));
    for (size_t c = 0; c < SETS_COLUMNS; c++)
        vc_str_clear(&r->value[c]);
    r->image_id = (int64_t)(10 + 3 * i);
    sets_put_words(&r->value[0], &rng);
    size_t captions = 1 + (size_t)vc_rng_below(&rng, 3), concepts = (size_t)vc_rng_below(&rng, 16);
    sets_put_tokens(&r->value[1], &r->value[2], &rng, captions);
    for (size_t k = 0; k < captions; k++) {
        VcStr text = {0};
        sets_put_words(&text, &rng);
        vc_str_put(&r->value[3], k == 0 ? "[" : ", ");
        vc_str_put_json(&r->value[3], text.data, text.len, true);
        vc_str_finish(&text);
    }
    vc_str_put(&r->value[3], "]");
    int32_t ids[16];
    float scores[16], score = 0.5f;
    for (size_t k = 0; k < concepts; k++) {
        ids[k] = (int32_t)vc_rng_below(&rng, 100000);
        score -= (float)vc_rng_uniform(&rng) * 0.01f;
        scores[k] = score;
    }
    mds_put_array(&r->value[4], MDS_I32, ids, concepts);
    sets_put_tokens(&r->value[7], &r->value[5], &rng, concepts);
    mds_put_array(&r->value[6], MDS_F32, scores, concepts);
    vc_str_put(&r->value[8], "[\"dog\"]");
    for (uint64_t n = vc_rng_below(&rng, 600); n > 0; n--)
        vc_str_putc(&r->value[9], (char)vc_rng_below(&rng, 256));
    vc_str_putn(&r->value[10], &r->image_id, 8);
    const int32_t size[2] = {(int32_t)vc_rng_below(&rng, 5000), (int32_t)vc_rng_below(&rng, 5000)};
    vc_str_putn(&r->value[11], size, 8);
}

static inline void sets_fields(const SetsRecord *r, MdsField fields[SETS_COLUMNS])
{
    for (size_t c = 0; c < SETS_COLUMNS; c++)
        fields[c] = (MdsField){(const uint8_t *)vc_str_get(&r->value[c]), r->value[c].len};
}

static inline void sets_record_finish(SetsRecord *r)
{
    for (size_t c = 0; c < SETS_COLUMNS; c++)
        vc_str_finish(&r->value[c]);
}

static inline bool sets_open(IndexWriter **w, const char *dir, uint64_t size_limit, const char *settings, VcErr *err)
{
    const IndexWriterOptions o = {dir, sets_names, sets_encodings, SETS_COLUMNS, size_limit, settings};
    return index_writer_open(w, &o, err);
}

// Adds records [begin, end) that the set does not have yet.
static inline bool sets_add(IndexWriter *w, uint64_t seed, uint64_t begin, uint64_t end, VcErr *err)
{
    SetsRecord r = {0};
    bool ok = true;
    for (uint64_t i = begin; i < end && ok; i++) {
        MdsField fields[SETS_COLUMNS];
        sets_record(&r, seed, i);
        sets_fields(&r, fields);
        ok = index_writer_has(w, r.image_id) || index_writer_add(w, r.image_id, fields, err);
    }
    sets_record_finish(&r);
    return ok;
}

static inline bool sets_write(const char *dir, uint64_t seed, uint64_t records, uint64_t size_limit, VcErr *err)
{
    IndexWriter *w = NULL;
    bool ok = sets_open(&w, dir, size_limit, "{\"seed\": 1}", err) && sets_add(w, seed, 0, records, err) &&
              index_writer_commit(w, NULL, err);
    index_writer_close(&w);
    return ok;
}
