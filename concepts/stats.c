// SPDX-License-Identifier: MIT
#include "concepts/stats.h"

#include "base/mem.h"
#include "base/str.h"
#include "concepts/postings.h"
#include "concepts/store.h"
#include "extract/extract.h"

// Groups: text and number. Stops at `max` rows.
static bool read_items(VcWorkspace *ws, const char *sql, StatsItem *items, size_t max, size_t *count, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    bool row = true, ok = true;
    while (*count < max && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        items[(*count)++] =
            (StatsItem){vc_strdup(vc_column_text(stmt, 0) ? vc_column_text(stmt, 0) : ""), vc_column_int(stmt, 1)};
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// --- scores ----------------------------------------------------------------------------------------------------------

enum { SCORES = 1 << 16 };

// counts[score + 32768] of all mined rows from posting lists: many times faster than the table. False without an error:
// there are no lists of this state.
static bool count_lists(VcWorkspace *ws, int64_t *counts, bool *done, VcErr *err)
{
    PostingsReader *lists = NULL;
    VcErr damaged = {0};
    uint64_t stamp = 0;
    *done = false;
    if (!postings_stamp(ws, &stamp, err))
        return false;
    if (!postings_open(&lists, ws, stamp, &damaged) || !lists)
        return true;
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT concept_id, images FROM concept_stat", err);
    int64_t known = 0, found = 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const PostingList list = postings_list(lists, vc_column_int(stmt, 0));
        known += vc_column_int(stmt, 1);
        const size_t n = list.rows ? list.count : list.count ? list.span : 0;
        for (size_t i = 0; i < n; i++) {
            counts[list.scores[i] + SCORES / 2] += list.scores[i] != POSTINGS_ABSENT;
            found += list.scores[i] != POSTINGS_ABSENT;
        }
    }
    vc_stmt_finish(&stmt);
    postings_close(&lists);
    *done = ok && found == known;
    return ok;
}

static bool count_table(VcWorkspace *ws, int64_t *counts, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT score FROM image_concept", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t score = vc_column_int(stmt, 0);
        if (score >= -SCORES / 2 && score < SCORES / 2)
            counts[score + SCORES / 2]++;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static bool score_histogram(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    int64_t *counts = vc_calloc(SCORES, sizeof *counts), low = SCORES, high = 0;
    bool done, ok = count_lists(ws, counts, &done, err);
    if (ok && !done) {
        memset(counts, 0, SCORES * sizeof *counts);
        ok = count_table(ws, counts, err);
    }
    for (int64_t i = 0; i < SCORES; i++) {
        if (counts[i] == 0)
            continue;
        low = i < low ? i : low;
        high = i;
        s->pairs += counts[i];
    }
    for (int64_t i = low; i <= high; i++)
        s->score_bins[(i - low) * STATS_BINS / (high - low + 1)] += counts[i];
    if (s->pairs > 0) {
        s->score_low = ((double)low - SCORES / 2.0) / 32767;
        s->score_high = ((double)high - SCORES / 2.0) / 32767;
    }
    free(counts);
    return ok;
}

// --- images ----------------------------------------------------------------------------------------------------------

static int by_count(const void *a, const void *b)
{
    const StatsItem *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1) : strcmp(x->text, y->text);
}

static int by_images(const void *a, const void *b)
{
    const StatsSource *x = a, *y = b;
    return x->images != y->images ? (x->images > y->images ? -1 : 1) : strcmp(x->name, y->name);
}

static char *copy_column(VcStmt *stmt, int column)
{
    const char *text = vc_column_text(stmt, column);
    return vc_strdup(text ? text : "");
}

// The sources by rising number, still without images.
static bool read_sources(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0;
    bool row = true,
         ok = vc_db_prepare(ws->db, &stmt, "SELECT source_id, name, uri, licence FROM source ORDER BY source_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        s->by_source = vc_grow(s->by_source, &cap, (size_t)s->sources + 1, sizeof *s->by_source);
        s->by_source[s->sources++] = (StatsSource){.id = vc_column_int(stmt, 0),
                                                   .name = copy_column(stmt, 1),
                                                   .uri = copy_column(stmt, 2),
                                                   .licence = copy_column(stmt, 3)};
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// NULL: there is none of this number. `before`: of the image before, mostly the same.
static StatsSource *find_source(const WorkspaceStats *s, StatsSource *before, int64_t id)
{
    if (before && before->id == id)
        return before;
    size_t low = 0, high = (size_t)s->sources;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (s->by_source[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < (size_t)s->sources && s->by_source[low].id == id ? &s->by_source[low] : NULL;
}

// One pass over the table, which grouping in SQL would sort.
static bool count_images(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    enum { STATUSES = 256 };
    int64_t counts[STATUSES] = {0};
    VcStmt *stmt = NULL;
    StatsSource *source = NULL;
    bool row = true, ok = read_sources(ws, s, err) &&
                          vc_db_prepare(ws->db, &stmt, "SELECT status, row, source_id FROM image NOT INDEXED", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t status = vc_column_int(stmt, 0);
        source = find_source(s, source, vc_column_int(stmt, 2));
        s->images++;
        s->embedded += !vc_column_is_null(stmt, 1);
        s->mined += status == 2;
        s->rejected += status < 0;
        if (status < 0)
            counts[status > -STATUSES ? -status : STATUSES - 1]++;
        if (source) {
            source->images++;
            source->mined += status == 2;
            source->rejected += status < 0;
        }
    }
    vc_stmt_finish(&stmt);
    for (int i = 0; ok && i < STATUSES && s->cause_count < STATS_CAUSES; i++) {
        if (counts[i])
            s->causes[s->cause_count++] = (StatsItem){vc_strdup(extract_cause_name(-i)), counts[i]};
    }
    qsort(s->causes, s->cause_count, sizeof *s->causes, by_count);
    if (s->sources > 0)
        qsort(s->by_source, (size_t)s->sources, sizeof *s->by_source, by_images);
    return ok;
}

static bool count_captions(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    VcStmt *stmt = NULL;
    int64_t with = 0;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT count(*) FROM caption GROUP BY image_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t n = vc_column_int(stmt, 0);
        s->per_image[n < STATS_BINS ? n : STATS_BINS - 1]++;
        s->captions += n;
        with++;
    }
    vc_stmt_finish(&stmt);
    s->per_image[0] = s->images - with;
    return ok;
}

bool stats_collect(VcWorkspace *ws, WorkspaceStats *s, VcErr *err)
{
    *s = (WorkspaceStats){0};
    const struct {
        const char *sql;
        int64_t *out;
    } counts[] = {
        {"SELECT count(*) FROM image_file", &s->stored},
        {"SELECT sum(bytes) FROM image_file", &s->bytes},
        {"SELECT count(*) FROM concept WHERE NOT removed", &s->concepts},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof counts / sizeof *counts; i++)
        ok = vc_db_int(ws->db, counts[i].sql, 0, counts[i].out, err);
    ConceptsModel model = {0};
    ok = ok && concepts_active_model(ws, &model, err);
    if (ok && model.model_id >= 0)
        s->model = vc_strdup(model.name);
    concepts_model_finish(&model);
    ok = ok &&
         read_items(ws,
                    "SELECT c.text, t.images FROM concept_stat t JOIN concept c USING(concept_id)"
                    " ORDER BY t.images DESC, c.concept_id",
                    s->top, STATS_TOP, &s->top_count, err) &&
         count_images(ws, s, err) && count_captions(ws, s, err) && score_histogram(ws, s, err);
    if (!ok)
        stats_finish(s);
    return ok;
}

void stats_finish(WorkspaceStats *s)
{
    for (size_t i = 0; i < s->top_count; i++)
        free(s->top[i].text);
    for (size_t i = 0; i < s->cause_count; i++)
        free(s->causes[i].text);
    for (int64_t i = 0; i < s->sources; i++) {
        free(s->by_source[i].name);
        free(s->by_source[i].uri);
        free(s->by_source[i].licence);
    }
    free(s->by_source);
    free(s->model);
    *s = (WorkspaceStats){0};
}
