// SPDX-License-Identifier: MIT
#include "concepts/store.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <math.h>

static bool read_model(VcStmt *stmt, ConceptsModel *out, VcErr *err)
{
    bool row;
    if (!vc_stmt_step(stmt, &row, err))
        return false;
    if (!row)
        return true;
    size_t n;
    const void *sha = vc_column_blob(stmt, 3, &n);
    out->model_id = vc_column_int(stmt, 0);
    out->name = vc_strdup(vc_column_text(stmt, 1) ? vc_column_text(stmt, 1) : "");
    out->dim = vc_column_int(stmt, 2);
    if (sha && n == 32)
        memcpy(out->sha256, sha, 32);
    return true;
}

bool concepts_active_model(VcWorkspace *ws, ConceptsModel *out, VcErr *err)
{
    *out = (ConceptsModel){.model_id = -1};
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT model_id, name, dim, weights_sha256 FROM model"
                       " WHERE model_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'active_model')",
                       err))
        return false;
    bool ok = read_model(stmt, out, err);
    vc_stmt_finish(&stmt);
    return ok;
}

bool concepts_find_model(VcWorkspace *ws, const char *name, const uint8_t sha256[32], ConceptsModel *out, VcErr *err)
{
    *out = (ConceptsModel){.model_id = -1};
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT model_id, name, dim, weights_sha256 FROM model WHERE name = ?1 AND weights_sha256 = ?2",
                       err))
        return false;
    vc_bind_text(stmt, 1, name);
    vc_bind_blob(stmt, 2, sha256, 32);
    bool ok = read_model(stmt, out, err);
    vc_stmt_finish(&stmt);
    return ok;
}

void concepts_model_finish(ConceptsModel *model)
{
    free(model->name);
    *model = (ConceptsModel){.model_id = -1};
}

char *concepts_vector_path(const VcWorkspace *ws, const char *kind, const char *model)
{
    VcStr name = {0};
    vc_str_putf(&name, "vectors/%s-%s.f16", kind, model);
    char *path = vc_workspace_path(ws, name.data);
    vc_str_finish(&name);
    return path;
}

bool concepts_vector_rows(VcWorkspace *ws, int64_t model_id, const char *kind, int64_t *rows, VcErr *err)
{
    *rows = 0;
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, "SELECT rows FROM vector_file WHERE model_id = ?1 AND kind = ?2", err))
        return false;
    vc_bind_int(stmt, 1, model_id);
    vc_bind_text(stmt, 2, kind);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row)
        *rows = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    return ok && (*rows >= 0 || vc_fail(err, VC_ERR_FORMAT, "table vector_file counts %lld rows", (long long)*rows));
}

bool concepts_open_vectors(VcWorkspace *ws, const char *kind, VectorsReader **out, ConceptsModel *model, VcErr *err)
{
    int64_t rows = 0;
    *out = NULL;
    if (!concepts_active_model(ws, model, err) ||
        (model->model_id >= 0 && !concepts_vector_rows(ws, model->model_id, kind, &rows, err)))
        return false;
    if (rows == 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "this workspace has no %s vectors yet; run 'vicha concepts embed --clip MODEL' first", kind);
    }
    char *path = concepts_vector_path(ws, kind, model->name);
    bool ok = vectors_reader_open(out, path, (uint64_t)rows, err);
    if (ok && (memcmp(vectors_reader_model(*out), model->sha256, 32) != 0 ||
               (int64_t)vectors_reader_dim(*out) != model->dim)) {
        vectors_reader_close(out);
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' was made by another model than the database says", path);
    }
    free(path);
    return ok;
}

bool concepts_open_writer(VcWorkspace *ws, const ConceptsModel *model, const char *kind, VectorsWriter **out,
                          int64_t *rows, VcErr *err)
{
    char *path = concepts_vector_path(ws, kind, model->name);
    char *folder = vc_workspace_path(ws, "vectors");
    bool ok = vc_make_dirs(folder, err) && concepts_vector_rows(ws, model->model_id, kind, rows, err) &&
              vectors_writer_open(out, path, (size_t)model->dim, model->sha256, (uint64_t)*rows, err);
    free(folder);
    free(path);
    return ok;
}

bool concepts_put_rows(VcWorkspace *ws, const ConceptsModel *model, const char *kind, uint64_t rows, VcErr *err)
{
    VcStr file = {0};
    vc_str_putf(&file, "vectors/%s-%s.f16", kind, model->name);
    VcStmt *stmt = NULL;
    bool ok = vc_db_prepare(ws->db, &stmt,
                            "INSERT INTO vector_file(model_id, kind, file, rows) VALUES(?1, ?2, ?3, ?4)"
                            " ON CONFLICT(model_id, kind) DO UPDATE SET rows = ?4, file = ?3",
                            err);
    if (ok) {
        vc_bind_int(stmt, 1, model->model_id);
        vc_bind_text(stmt, 2, kind);
        vc_bind_text(stmt, 3, file.data);
        vc_bind_int(stmt, 4, (int64_t)rows);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&file);
    return ok;
}

void concepts_normalize(float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        float *row = x + i * d;
        double sum = 0;
        for (size_t k = 0; k < d; k++)
            sum += (double)row[k] * row[k];
        double scale = sum > 0 ? 1 / sqrt(sum) : 0;
        for (size_t k = 0; k < d; k++)
            row[k] = (float)(row[k] * scale);
    }
}
