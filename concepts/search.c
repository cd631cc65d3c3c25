// SPDX-License-Identifier: MIT
#include "concepts/search.h"

#include "base/mem.h"
#include "base/str.h"
#include "concepts/store.h"
#include "concepts/vectors.h"

// --- names -----------------------------------------------------------------------------------------------------------

static bool lookup(VcWorkspace *ws, const char *sql, const char *text, int64_t *id, VcErr *err)
{
    VcStmt *stmt;
    *id = -1;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    vc_bind_text(stmt, 1, text);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row)
        *id = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok;
}

// Edits between two texts, at most `limit` + 1 (Levenshtein, bytes).
static size_t edits(const char *a, const char *b, size_t limit)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b), row[MAX + 1];
    if (n > MAX || m > MAX || (n > m ? n - m : m - n) > limit)
        return limit + 1;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = diagonal + 1 < best ? diagonal + 1 : best;
        }
    }
    return row[m];
}

// Up to three known concepts within two edits, or whose last word it is; the most frequent of the nearest first.
static bool unknown_concept(VcWorkspace *ws, const char *text, VcErr *err)
{
    enum { NEAR = 3, EDITS = 2, WORD = EDITS, FAR };
    char *near[NEAR] = {NULL};
    size_t distance[NEAR] = {FAR, FAR, FAR}, n = strlen(text);
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT text FROM concept ORDER BY concept_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const char *known = vc_column_text(stmt, 0);
        size_t length = strlen(known), limit = n < 4 ? 1 : EDITS, d = edits(text, known, limit);
        d = d > limit ? FAR : d;
        if (d == FAR && n && length > n && known[length - n - 1] == ' ' && strcmp(known + length - n, text) == 0)
            d = WORD;
        size_t at = NEAR;
        while (at > 0 && d < distance[at - 1])
            at--;
        if (at == NEAR)
            continue;
        free(near[NEAR - 1]);
        memmove(near + at + 1, near + at, (NEAR - 1 - at) * sizeof *near);
        memmove(distance + at + 1, distance + at, (NEAR - 1 - at) * sizeof *distance);
        near[at] = vc_strdup(known);
        distance[at] = d;
    }
    vc_stmt_finish(&stmt);
    VcStr list = {0};
    for (size_t i = 0; i < NEAR && near[i]; i++)
        vc_str_putf(&list, "%s'%s'", i ? ", " : "; near it are ", near[i]);
    if (ok) {
        vc_fail(err, VC_ERR_USAGE, "'%s' is no concept of this workspace%s; 'vicha concepts list' shows all", text,
                vc_str_get(&list));
    }
    vc_str_finish(&list);
    for (size_t i = 0; i < NEAR; i++)
        free(near[i]);
    return false;
}

bool search_find_concept(VcWorkspace *ws, const char *text, int64_t *concept_id, VcErr *err)
{
    static const char sql[] = "SELECT concept_id FROM concept WHERE text = ?1";
    if (!lookup(ws, sql, text, concept_id, err))
        return false;
    if (*concept_id < 0 && !lookup(ws, "SELECT concept_id FROM concept WHERE text = lower(?1)", text, concept_id, err))
        return false;
    return *concept_id >= 0 || unknown_concept(ws, text, err);
}

bool search_find_image(VcWorkspace *ws, const char *name, int64_t *image_id, VcErr *err)
{
    int64_t number;
    *image_id = -1;
    if (vc_parse_i64(name, &number) &&
        !lookup(ws, "SELECT image_id FROM image WHERE image_id = ?1", name, image_id, err))
        return false;
    if (*image_id < 0 &&
        !lookup(ws, "SELECT image_id FROM image WHERE key = ?1 ORDER BY image_id", name, image_id, err))
        return false;
    if (*image_id >= 0)
        return true;
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT image_id, key FROM image WHERE substr(key, -length(?1)) = ?1 ORDER BY image_id LIMIT 2",
                       err))
        return false;
    vc_bind_text(stmt, 1, name);
    int found = 0;
    bool row = true, ok = *name != 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (found++ == 0)
            *image_id = vc_column_int(stmt, 0);
    }
    vc_stmt_finish(&stmt);
    if (ok && found > 1) {
        return vc_fail(err, VC_ERR_USAGE,
                       "more than one image has a key that ends in '%s'; give more of it, or its number", name);
    }
    if (found == 0)
        return vc_fail(err, VC_ERR_USAGE, "there is no image '%s' in this workspace", name);
    return ok;
}

bool search_image_vector(VcWorkspace *ws, int64_t image_id, float **out, size_t *dim, VcErr *err)
{
    VectorsReader *r = NULL;
    ConceptsModel model = {0};
    char sql[96];
    int64_t row = -1;
    snprintf(sql, sizeof sql, "SELECT row FROM image WHERE image_id = %lld", (long long)image_id);
    bool ok = concepts_open_vectors(ws, "image", &r, &model, err) && vc_db_int(ws->db, sql, -1, &row, err);
    if (ok && (row < 0 || (uint64_t)row >= vectors_reader_rows(r))) {
        ok = vc_fail(err, VC_ERR_USAGE, "image %lld has no vector: it was not embedded, or it was rejected",
                     (long long)image_id);
    }
    if (ok) {
        *dim = vectors_reader_dim(r);
        *out = vc_alloc(*dim, sizeof **out);
        vectors_reader_floats(r, (uint64_t)row, 1, *out);
    }
    vectors_reader_close(&r);
    concepts_model_finish(&model);
    return ok;
}
