// SPDX-License-Identifier: MIT
// Concepts that images have together.
#include "base/log.h"
#include "base/mem.h"
#include "concepts/search.h"
#include "concepts/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t id, images;
    char *text;
} Concept;

typedef struct {
    Concept *concepts; // by falling images
    size_t count;
    int64_t images; // with concepts
} Concepts;

static bool read_concepts(VcWorkspace *ws, Concepts *c, size_t most, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0;
    bool row, ok = vc_db_int(ws->db, "SELECT count(*) FROM image_concept WHERE rank = 0", 0, &c->images, err) &&
                   vc_db_prepare(ws->db, &stmt,
                                 "SELECT concept_id, images, text FROM concept_stat JOIN concept USING(concept_id)"
                                 " WHERE images > 0 ORDER BY images DESC, text LIMIT ?",
                                 err);
    if (ok)
        vc_bind_int(stmt, 1, most ? (int64_t)most : -1);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        c->concepts = vc_grow(c->concepts, &cap, c->count + 1, sizeof *c->concepts);
        c->concepts[c->count++] =
            (Concept){vc_column_int(stmt, 0), vc_column_int(stmt, 1), vc_strdup(vc_column_text(stmt, 2))};
    }
    vc_stmt_finish(&stmt);
    return ok && (c->count > 0 || vc_fail(err, VC_ERR_USAGE, "no image has concepts yet; run 'vicha concepts'"));
}

static void free_concepts(Concepts *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->concepts[i].text);
    free(c->concepts);
}

typedef struct {
    StatisticsPair *pairs;
    size_t count, cap;
} Pairs;

static void add_pair(Pairs *p, const Concepts *c, const Concept *a, const Concept *b, int64_t images)
{
    const double n = (double)c->images, together = (double)images;
    const double pmi = log2(together * n / ((double)a->images * (double)b->images));
    p->pairs = vc_grow(p->pairs, &p->cap, p->count + 1, sizeof *p->pairs);
    p->pairs[p->count++] = (StatisticsPair){.a = a->text,
                                            .b = b->text,
                                            .images = images,
                                            .images_a = a->images,
                                            .images_b = b->images,
                                            .pmi = pmi,
                                            .npmi = together < n ? pmi / -log2(together / n) : 1};
}

// All pairs of c->count concepts: a triangle of counters.
static size_t triangle(size_t a, size_t b)
{
    return a > b ? a * (a - 1) / 2 + b : b * (b - 1) / 2 + a;
}

static void count_image(uint32_t *counters, const size_t *places, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            counters[triangle(places[i], places[k])]++;
    }
}

static bool count_all(VcWorkspace *ws, const Concepts *c, uint32_t *counters, VcErr *err)
{
    int64_t top, image = -1;
    VcStmt *stmt = NULL;
    if (!vc_db_int(ws->db, "SELECT max(concept_id) FROM concept", 0, &top, err))
        return false;
    uint32_t *place = vc_calloc((size_t)top + 1, sizeof *place); // from 1
    for (size_t i = 0; i < c->count; i++)
        place[c->concepts[i].id] = (uint32_t)i + 1;
    size_t *places = NULL, n = 0, cap = 0;
    bool row = true,
         ok = vc_db_prepare(ws->db, &stmt, "SELECT image_id, concept_id FROM image_concept ORDER BY image_id", err);
    while (ok && row) {
        ok = vc_stmt_step(stmt, &row, err);
        const int64_t next = ok && row ? vc_column_int(stmt, 0) : -1;
        if (next != image) {
            count_image(counters, places, n);
            n = 0;
            image = next;
            if (vc_interrupted())
                ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        }
        const int64_t id = ok && row ? vc_column_int(stmt, 1) : -1;
        if (id >= 0 && id <= top && place[id]) {
            places = vc_grow(places, &cap, n + 1, sizeof *places);
            places[n++] = place[id] - 1;
        }
    }
    vc_stmt_finish(&stmt);
    free(place);
    free(places);
    return ok;
}

static bool pairs_of_all(VcWorkspace *ws, const Concepts *c, int64_t min_images, Pairs *out, VcErr *err)
{
    uint32_t *counters = vc_calloc(c->count * (c->count - 1) / 2 + 1, sizeof *counters);
    const bool ok = count_all(ws, c, counters, err);
    for (size_t i = 0; ok && i < c->count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (counters[triangle(i, k)] >= min_images)
                add_pair(out, c, &c->concepts[k], &c->concepts[i], counters[triangle(i, k)]);
        }
    }
    free(counters);
    return ok;
}

static bool pairs_of_one(VcWorkspace *ws, const Concepts *c, int64_t id, int64_t min_images, Pairs *out, VcErr *err)
{
    int64_t top;
    if (!vc_db_int(ws->db, "SELECT max(concept_id) FROM concept", 0, &top, err))
        return false;
    int64_t *counters = vc_calloc((size_t)top + 1, sizeof *counters);
    const Concept *own = NULL;
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_prepare(ws->db, &stmt,
                                 "SELECT b.concept_id FROM image_concept a CROSS JOIN image_concept b USING(image_id)"
                                 " WHERE a.concept_id = ?",
                                 err);
    if (ok)
        vc_bind_int(stmt, 1, id);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        counters[vc_column_int(stmt, 0)]++;
    for (size_t i = 0; i < c->count && !own; i++)
        own = c->concepts[i].id == id ? &c->concepts[i] : NULL;
    for (size_t i = 0; ok && own && i < c->count; i++) {
        if (c->concepts[i].id != id && counters[c->concepts[i].id] >= min_images)
            add_pair(out, c, own, &c->concepts[i], counters[c->concepts[i].id]);
    }
    vc_stmt_finish(&stmt);
    free(counters);
    return ok;
}

static double value_of(const StatisticsPair *p, StatisticsOrder order)
{
    return order == STATISTICS_BY_PMI ? p->pmi : order == STATISTICS_BY_NPMI ? p->npmi : (double)p->images;
}

static int compare_pairs(const void *a, const void *b, void *order)
{
    const StatisticsPair *x = a, *y = b;
    const double vx = value_of(x, *(StatisticsOrder *)order), vy = value_of(y, *(StatisticsOrder *)order);
    if (vx != vy)
        return vx > vy ? -1 : 1;
    if (x->images != y->images)
        return x->images > y->images ? -1 : 1;
    const int by_a = strcmp(x->a, y->a);
    return by_a ? by_a : strcmp(x->b, y->b);
}

bool statistics_pairs(VcWorkspace *ws, const char *concept, StatisticsOrder order, int64_t min_images, size_t limit,
                      StatisticsPair **out, size_t *count, VcErr *err)
{
    Concepts c = {0};
    Pairs p = {0};
    int64_t id = -1;
    *out = NULL;
    *count = 0;
    min_images = min_images > 0 ? min_images : 1;
    bool ok = (!concept || search_find_concept(ws, concept, &id, err)) &&
              read_concepts(ws, &c, concept ? 0 : STATISTICS_PAIR_CONCEPTS, err);
    ok = ok && (concept ? pairs_of_one(ws, &c, id, min_images, &p, err) : pairs_of_all(ws, &c, min_images, &p, err));
    if (ok && p.count) {
        qsort_r(p.pairs, p.count, sizeof *p.pairs, compare_pairs, &order);
        *count = p.count < limit ? p.count : limit;
        for (size_t i = 0; i < *count; i++) {
            p.pairs[i].a = vc_strdup(p.pairs[i].a);
            p.pairs[i].b = vc_strdup(p.pairs[i].b);
        }
        *out = p.pairs;
        p.pairs = NULL;
    }
    free(p.pairs);
    free_concepts(&c);
    return ok;
}

// --- kept ones -------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t id;
    uint32_t images;
} Partner;

static int by_images(const void *a, const void *b)
{
    const Partner *x = a, *y = b;
    return x->images != y->images ? (x->images > y->images ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

static bool store_partners(VcStmt *insert, int64_t id, const Partner *partners, size_t n, VcErr *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        vc_bind_int(insert, 1, id);
        vc_bind_int(insert, 2, partners[i].id);
        vc_bind_int(insert, 3, partners[i].images);
        ok = vc_stmt_run(insert, err);
    }
    return ok;
}

static bool store_all(VcWorkspace *ws, const Concepts *c, const uint32_t *counters, VcErr *err)
{
    VcStmt *insert = NULL;
    Partner *partners = vc_alloc(c->count + 1, sizeof *partners);
    bool ok = vc_db_exec(ws->db, "DELETE FROM concept_pair", err) &&
              vc_db_prepare(ws->db, &insert, "INSERT INTO concept_pair(a, b, images) VALUES(?1, ?2, ?3)", err);
    for (size_t a = 0; ok && a < c->count; a++) {
        size_t n = 0;
        for (size_t b = 0; b < c->count; b++) {
            const uint32_t images = a == b ? 0 : counters[triangle(a, b)];
            if (images > 0)
                partners[n++] = (Partner){c->concepts[b].id, images};
        }
        if (n > 1)
            qsort(partners, n, sizeof *partners, by_images);
        ok =
            store_partners(insert, c->concepts[a].id, partners, n < STATISTICS_PARTNERS ? n : STATISTICS_PARTNERS, err);
    }
    vc_stmt_finish(&insert);
    free(partners);
    return ok;
}

bool statistics_pairs_store(VcWorkspace *ws, VcErr *err)
{
    Concepts c = {0};
    bool ok = read_concepts(ws, &c, STATISTICS_PAIR_CONCEPTS, err);
    if (ok) {
        uint32_t *counters = vc_calloc(c.count * (c.count - 1) / 2 + 1, sizeof *counters);
        ok = count_all(ws, &c, counters, err) && vc_db_begin(ws->db, err) && store_all(ws, &c, counters, err) &&
             vc_db_commit(ws->db, err);
        if (!ok)
            vc_db_rollback(ws->db);
        free(counters);
    }
    free_concepts(&c);
    return ok;
}

void statistics_pairs_free(StatisticsPair **pairs, size_t count)
{
    for (size_t i = 0; *pairs && i < count; i++) {
        free((*pairs)[i].a);
        free((*pairs)[i].b);
    }
    free(*pairs);
    *pairs = NULL;
}
