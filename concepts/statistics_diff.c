// SPDX-License-Identifier: MIT
// Two sets of images side by side.
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "concepts/statistics.h"
#include "concepts/store.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// A workspace, or a source of it.
typedef struct {
    VcWorkspace *ws;
    int64_t source; // -1: all
    StatisticsSet *set;
} Side;

static bool find_source(Side *s, const char *name, VcErr *err)
{
    s->source = -1;
    if (!name)
        return true;
    VcStmt *stmt;
    if (!vc_db_prepare(s->ws->db, &stmt, "SELECT source_id FROM source WHERE name = ?", err))
        return false;
    vc_bind_text(stmt, 1, name);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row)
        s->source = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok && (row || vc_fail(err, VC_ERR_USAGE, "'%s' has no source '%s'", s->ws->dir, name));
}

// A query with ?1 for the source, or -1.
static bool numbers(const Side *s, const char *sql, double *values, int count, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(s->ws->db, &stmt, sql, err))
        return false;
    vc_bind_int(stmt, 1, s->source);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    for (int i = 0; i < count; i++)
        values[i] = ok && row ? vc_column_double(stmt, i) : 0;
    vc_stmt_finish(&stmt);
    return ok;
}

#define OF_SOURCE "(?1 < 0 OR source_id = ?1)"

static bool describe(const Side *s, VcErr *err)
{
    double v[4], c[2], m[3];
    if (!numbers(s, "SELECT sum(status >= 0), sum(status < 0), avg(width), avg(height) FROM image WHERE " OF_SOURCE, v,
                 4, err) ||
        // Words: spaces between them, and one more.
        !numbers(s,
                 "SELECT count(*), avg(length(text) - length(replace(text, ' ', '')) + 1) FROM caption JOIN image"
                 " USING(image_id) WHERE status >= 0 AND " OF_SOURCE,
                 c, 2, err) ||
        !numbers(s,
                 "SELECT sum(rank = 0), avg(score) / 32767.0, avg(CASE WHEN rank = 0 THEN score END) / 32767.0 FROM"
                 " image_concept WHERE ?1 < 0 OR image_id IN (SELECT image_id FROM image WHERE source_id = ?1)",
                 m, 3, err))
        return false;
    *s->set = (StatisticsSet){.images = (int64_t)v[0],
                              .rejected = (int64_t)v[1],
                              .width = v[2],
                              .height = v[3],
                              .captions = (int64_t)c[0],
                              .words = c[1],
                              .mined = (int64_t)m[0],
                              .score = m[1],
                              .best_score = m[2]};
    return true;
}

// --- concepts

typedef struct {
    char *text;
    int64_t images;
} Count;

typedef struct {
    Count *counts; // by text
    size_t count;
} Counts;

static bool read_counts(const Side *s, Counts *out, VcErr *err)
{
    VcStmt *stmt;
    size_t cap = 0;
    const char *sql = s->source < 0 ? "SELECT text, images FROM concept_stat JOIN concept USING(concept_id)"
                                      " WHERE images > 0 AND ?1 < 0 ORDER BY text"
                                    : "SELECT text, images FROM (SELECT concept_id, count(*) AS images FROM"
                                      " image_concept WHERE image_id IN (SELECT image_id FROM image WHERE source_id ="
                                      " ?1) GROUP BY concept_id) JOIN concept USING(concept_id) ORDER BY text";
    if (!vc_db_prepare(s->ws->db, &stmt, sql, err))
        return false;
    vc_bind_int(stmt, 1, s->source);
    bool row, ok;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        out->counts = vc_grow(out->counts, &cap, out->count + 1, sizeof *out->counts);
        out->counts[out->count++] = (Count){vc_strdup(vc_column_text(stmt, 0)), vc_column_int(stmt, 1)};
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static void free_counts(Counts *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->counts[i].text);
    free(c->counts);
}

static double shift_z(double a, double na, double b, double nb)
{
    const double other_a = na > a ? na - a : 0, other_b = nb > b ? nb - b : 0;
    const double odds = log((b + .5) / (other_b + .5)) - log((a + .5) / (other_a + .5));
    return odds / sqrt(1 / (a + .5) + 1 / (other_a + .5) + 1 / (b + .5) + 1 / (other_b + .5));
}

static void add_shift(StatisticsDiff *d, size_t *cap, const char *text, int64_t a, int64_t b)
{
    const double na = (double)d->a.mined, nb = (double)d->b.mined;
    d->shifts = vc_grow(d->shifts, cap, d->shift_count + 1, sizeof *d->shifts);
    d->shifts[d->shift_count++] = (StatisticsShift){.text = vc_strdup(text),
                                                    .a = a,
                                                    .b = b,
                                                    .share_a = na > 0 ? (double)a / na : 0,
                                                    .share_b = nb > 0 ? (double)b / nb : 0,
                                                    .z = shift_z((double)a, na, (double)b, nb)};
}

static int by_size(const void *a, const void *b)
{
    const StatisticsShift *x = a, *y = b;
    if (fabs(x->z) != fabs(y->z))
        return fabs(x->z) > fabs(y->z) ? -1 : 1;
    return strcmp(x->text, y->text);
}

static void merge(const Counts *a, const Counts *b, StatisticsDiff *d)
{
    size_t i = 0, k = 0, cap = 0;
    while (i < a->count || k < b->count) {
        const int order = i == a->count ? 1 : k == b->count ? -1 : strcmp(a->counts[i].text, b->counts[k].text);
        const char *text = order <= 0 ? a->counts[i].text : b->counts[k].text;
        d->concepts_both += order == 0;
        add_shift(d, &cap, text, order <= 0 ? a->counts[i].images : 0, order >= 0 ? b->counts[k].images : 0);
        i += order <= 0;
        k += order >= 0;
    }
    d->concepts_a = (int64_t)a->count;
    d->concepts_b = (int64_t)b->count;
}

// Jensen-Shannon divergence of the two distributions over concepts.
static double divergence(const StatisticsDiff *d)
{
    double sum_a = 0, sum_b = 0, js = 0;
    for (size_t i = 0; i < d->shift_count; i++) {
        sum_a += (double)d->shifts[i].a;
        sum_b += (double)d->shifts[i].b;
    }
    if (sum_a == 0 || sum_b == 0)
        return sum_a == sum_b ? 0 : 1;
    for (size_t i = 0; i < d->shift_count; i++) {
        const double p = (double)d->shifts[i].a / sum_a, q = (double)d->shifts[i].b / sum_b, m = (p + q) / 2;
        js += p > 0 ? p / 2 * log2(p / m) : 0;
        js += q > 0 ? q / 2 * log2(q / m) : 0;
    }
    return js < 0 ? 0 : js;
}

// --- vectors and bytes

static bool mean_vector(const Side *s, double **mean, ConceptsModel *model, VcErr *err)
{
    VectorsReader *reader = NULL;
    VcStmt *stmt = NULL;
    *mean = NULL;
    if (!concepts_open_vectors(s->ws, "image", &reader, model, err))
        return false;
    const size_t dim = vectors_reader_dim(reader);
    float *x = vc_alloc(dim, sizeof *x);
    *mean = vc_calloc(dim, sizeof **mean);
    bool row, ok = vc_db_prepare(
                  s->ws->db, &stmt,
                  "SELECT row FROM image WHERE row IS NOT NULL AND row < ?2 AND " OF_SOURCE " ORDER BY row", err);
    if (ok) {
        vc_bind_int(stmt, 1, s->source);
        vc_bind_int(stmt, 2, (int64_t)vectors_reader_rows(reader));
    }
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        vectors_reader_floats(reader, (uint64_t)vc_column_int(stmt, 0), 1, x);
        for (size_t i = 0; i < dim; i++)
            (*mean)[i] += x[i];
    }
    vc_stmt_finish(&stmt);
    vectors_reader_close(&reader);
    free(x);
    return ok;
}

static bool has_vectors(VcWorkspace *ws, bool *has, VcErr *err)
{
    int64_t rows;
    const bool ok = vc_db_int(ws->db, "SELECT count(*) FROM image WHERE row IS NOT NULL", 0, &rows, err);
    *has = rows > 0;
    return ok;
}

static bool compare_vectors(const Side *a, const Side *b, StatisticsDiff *d, VcErr *err)
{
    ConceptsModel ma = {0}, mb = {0};
    double *x = NULL, *y = NULL, dot = 0, xx = 0, yy = 0;
    bool ha, hb, ok = has_vectors(a->ws, &ha, err) && has_vectors(b->ws, &hb, err);
    if (ok && ha && hb) {
        ok = mean_vector(a, &x, &ma, err) && mean_vector(b, &y, &mb, err);
        d->same_model = ok && ma.dim == mb.dim && memcmp(ma.sha256, mb.sha256, sizeof ma.sha256) == 0;
        for (int64_t i = 0; d->same_model && i < ma.dim; i++) {
            dot += x[i] * y[i];
            xx += x[i] * x[i];
            yy += y[i] * y[i];
        }
        d->mean_cosine = xx > 0 && yy > 0 ? dot / sqrt(xx * yy) : 0;
    }
    concepts_model_finish(&ma);
    concepts_model_finish(&mb);
    free(x);
    free(y);
    return ok;
}

static bool count_same(const Side *a, const Side *b, StatisticsDiff *d, VcErr *err)
{
    d->same_images = -1;
    if (a->ws == b->ws)
        return true;
    VcStmt *all = NULL, *find = NULL;
    bool row,
        ok = vc_db_prepare(a->ws->db, &all,
                           "SELECT DISTINCT sha256 FROM image WHERE sha256 IS NOT NULL AND status >= 0 AND " OF_SOURCE,
                           err) &&
             vc_db_prepare(b->ws->db, &find, "SELECT 1 FROM image WHERE sha256 = ? AND status >= 0 LIMIT 1", err);
    d->same_images = 0;
    if (ok)
        vc_bind_int(all, 1, a->source);
    while (ok && (ok = vc_stmt_step(all, &row, err)) && row) {
        size_t n;
        const void *sha = vc_column_blob(all, 0, &n);
        vc_bind_blob(find, 1, sha, n);
        ok = vc_stmt_step(find, &row, err);
        d->same_images += ok && row;
        vc_stmt_reset(find);
    }
    vc_stmt_finish(&all);
    vc_stmt_finish(&find);
    return ok;
}

bool statistics_diff(VcWorkspace *a, const char *source_a, VcWorkspace *b, const char *source_b, StatisticsDiff *out,
                     VcErr *err)
{
    *out = (StatisticsDiff){0};
    Side sa = {.ws = a, .set = &out->a}, sb = {.ws = b, .set = &out->b};
    Counts ca = {0}, cb = {0};
    bool ok = find_source(&sa, source_a, err) && find_source(&sb, source_b, err) && describe(&sa, err) &&
              describe(&sb, err) && read_counts(&sa, &ca, err) && read_counts(&sb, &cb, err);
    if (ok) {
        merge(&ca, &cb, out);
        out->divergence = divergence(out);
        if (out->shift_count)
            qsort(out->shifts, out->shift_count, sizeof *out->shifts, by_size);
        ok = compare_vectors(&sa, &sb, out, err) && count_same(&sa, &sb, out, err);
    }
    free_counts(&ca);
    free_counts(&cb);
    return ok;
}

void statistics_diff_finish(StatisticsDiff *diff)
{
    for (size_t i = 0; i < diff->shift_count; i++)
        free(diff->shifts[i].text);
    free(diff->shifts);
    *diff = (StatisticsDiff){0};
}
