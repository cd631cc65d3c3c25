// SPDX-License-Identifier: MIT
// How much of what captions say is in the vocabulary, and how much of that mining finds again in the images.
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "concepts/caption.h"
#include "concepts/statistics.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    char *text;
    int64_t id;
} Word;

typedef struct {
    Word *words; // by text
    size_t count;
    CaptionParser *parser;
    int64_t *best; // concepts of the image at hand
    size_t best_count, best_cap;
    VcStmt *concepts;
    int64_t image;
    StatisticsCoverage *out;
} Coverage;

static int by_text(const void *a, const void *b)
{
    return strcmp(((const Word *)a)->text, ((const Word *)b)->text);
}

static bool read_vocabulary(VcWorkspace *ws, Coverage *c, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0;
    bool row, ok = vc_db_prepare(ws->db, &stmt, "SELECT concept_id, text FROM concept ORDER BY concept_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        c->words = vc_grow(c->words, &cap, c->count + 1, sizeof *c->words);
        c->words[c->count++] = (Word){vc_strdup(vc_column_text(stmt, 1)), vc_column_int(stmt, 0)};
    }
    vc_stmt_finish(&stmt);
    if (ok && c->count == 0)
        return vc_fail(err, VC_ERR_USAGE, "there is no vocabulary; run 'vicha concepts parse'");
    if (ok)
        qsort(c->words, c->count, sizeof *c->words, by_text);
    return ok;
}

static bool read_best(Coverage *c, int64_t image, VcErr *err)
{
    bool row, ok;
    if (c->image == image)
        return true;
    c->image = image;
    c->best_count = 0;
    vc_bind_int(c->concepts, 1, image);
    while ((ok = vc_stmt_step(c->concepts, &row, err)) && row) {
        c->best = vc_grow(c->best, &c->best_cap, c->best_count + 1, sizeof *c->best);
        c->best[c->best_count++] = vc_column_int(c->concepts, 0);
    }
    return ok;
}

// Concepts of a vocabulary made with --case keep are found as written only.
static int64_t find_word(const Coverage *c, char *text)
{
    const Word key = {.text = text};
    const Word *found = bsearch(&key, c->words, c->count, sizeof key, by_text);
    return found ? found->id : -1;
}

static void count_sighting(Coverage *c, int64_t id)
{
    StatisticsCoverage *o = c->out;
    o->covered_sightings++;
    for (int i = 0; i < STATISTICS_STEPS; i++)
        o->step_sightings[i] += id < o->step[i];
    if (c->best_count == 0)
        return;
    o->minable_sightings++;
    for (size_t i = 0; i < c->best_count; i++) {
        if (c->best[i] == id) {
            o->matched_sightings++;
            return;
        }
    }
}

static bool count_captions(VcWorkspace *ws, Coverage *c, VcErr *err)
{
    VcStmt *stmt = NULL;
    VcStr text = {0};
    bool row, ok = vc_db_prepare(ws->db, &stmt,
                                 "SELECT image_id, text FROM caption JOIN image_file USING(image_id) ORDER BY"
                                 " caption_id",
                                 err);
    VcProgress *progress = vc_progress_begin("coverage", "captions", 0);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        ok = read_best(c, vc_column_int(stmt, 0), err);
        CaptionParse p;
        bool any = false;
        const char *caption = vc_column_text(stmt, 1);
        caption_parse(c->parser, caption, strlen(caption), 0, &p);
        for (size_t i = 0; ok && i < p.concept_count; i++) {
            vc_str_clear(&text);
            vc_str_put(&text, p.concepts[i]);
            const int64_t id = find_word(c, text.data);
            c->out->sightings++;
            any = any || id >= 0;
            if (id >= 0)
                count_sighting(c, id);
        }
        c->out->captions++;
        c->out->covered_captions += any;
        vc_progress_add(progress, 1, 0);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    vc_progress_end(&progress);
    vc_stmt_finish(&stmt);
    vc_str_finish(&text);
    return ok;
}

bool statistics_coverage(VcWorkspace *ws, StatisticsCoverage *out, VcErr *err)
{
    Coverage c = {.out = out, .image = -1, .parser = caption_parser_create()};
    *out = (StatisticsCoverage){0};
    int64_t size = 10;
    for (int i = 0; i < STATISTICS_STEPS; i++, size *= 10)
        out->step[i] = size;
    bool ok = read_vocabulary(ws, &c, err) &&
              vc_db_int(ws->db, "SELECT count(*) FROM concept_stat WHERE images > 0", 0, &out->found, err) &&
              vc_db_int(ws->db, "SELECT count(*) FROM image_concept WHERE rank = 0", 0, &out->images, err) &&
              vc_db_prepare(ws->db, &c.concepts, "SELECT concept_id FROM image_concept WHERE image_id = ?", err);
    out->concepts = (int64_t)c.count;
    ok = ok && count_captions(ws, &c, err);
    for (size_t i = 0; i < c.count; i++)
        free(c.words[i].text);
    free(c.words);
    free(c.best);
    vc_stmt_finish(&c.concepts);
    caption_parser_destroy(&c.parser);
    return ok;
}
