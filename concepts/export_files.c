// SPDX-License-Identifier: MIT
// CSV and NumPy files.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "concepts/export_private.h"
#include "concepts/store.h"

#include <inttypes.h>
#include <string.h>

// --- CSV

static void put_text(VcStr *line, const char *text)
{
    vc_str_putc(line, ',');
    if (text)
        vc_str_put_csv(line, text);
}

static void put_row(VcStr *line, VcStr *json, const ConceptsRow *row)
{
    vc_str_clear(line);
    vc_str_putf(line, "%" PRId64, row->image_id);
    put_text(line, row->source);
    put_text(line, row->key);
    put_text(line, row->split);
    vc_str_putf(line, ",%" PRId64 ",%" PRId64, row->width, row->height);
    put_text(line, row->caption_count ? row->captions[0] : NULL);
    vc_str_clear(json);
    export_put_strings(json, row->captions, row->caption_count);
    put_text(line, json->data);
    vc_str_clear(json);
    export_put_strings(json, row->concepts, row->concept_count);
    put_text(line, json->data);
    vc_str_clear(json);
    if (row->scores)
        export_put_scores(json, row->scores, row->concept_count);
    put_text(line, vc_str_get(json));
    vc_str_put(line, "\r\n");
}

bool concepts_export_csv(VcWorkspace *ws, const ConceptsSelection *selection, FILE *out, ConceptsExportReport *report,
                         VcErr *err)
{
    ConceptsRows *rows = NULL;
    ConceptsRow row;
    VcStr line = {0}, json = {0};
    bool more = true, ok = concepts_rows_open(&rows, ws, selection, err);
    *report = (ConceptsExportReport){0};
    vc_str_put(&line, "image_id,source,key,split,width,height,caption,captions,concepts,scores\r\n");
    while (ok && more) {
        if (fwrite(line.data, 1, line.len, out) != line.len)
            ok = vc_fail_errno(err, "cannot write the export");
        ok = ok && concepts_rows_next(rows, &row, &more, err);
        if (ok && more) {
            put_row(&line, &json, &row);
            report->images++;
        }
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    report->objects = report->images;
    concepts_rows_close(&rows);
    vc_str_finish(&line);
    vc_str_finish(&json);
    return ok;
}

// --- NumPy

enum { NPY_HEADER = 128 };

typedef struct {
    VcAtomicFile vectors, ids, names;
    VectorsReader *reader;
    float *x; // [dim]
    VcStr text;
    uint64_t rows;
} Npy;

// The header goes to the file's beginning when the number of rows is known.
static bool put_header(VcAtomicFile *f, const char *type, uint64_t rows, size_t columns, VcErr *err)
{
    char text[NPY_HEADER + 1] = "\x93NUMPY\x01\x00", shape[64];
    text[8] = NPY_HEADER - 10;
    if (columns) {
        snprintf(shape, sizeof shape, "(%" PRIu64 ", %zu)", rows, columns);
    } else {
        snprintf(shape, sizeof shape, "(%" PRIu64 ",)", rows);
    }
    int n = snprintf(text + 10, NPY_HEADER - 10, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    memset(text + 10 + n, ' ', (size_t)(NPY_HEADER - 10 - n));
    text[NPY_HEADER - 1] = '\n';
    if (fseek(f->file, 0, SEEK_SET) != 0 || fwrite(text, 1, NPY_HEADER, f->file) != NPY_HEADER)
        return vc_fail_errno(err, "cannot write '%s'", f->path);
    return true;
}

static bool begin_file(VcAtomicFile *f, const char *path, const char *suffix, VcErr *err)
{
    VcStr name = {0};
    vc_str_putn(&name, path, strlen(path) - strlen(".npy"));
    vc_str_put(&name, suffix);
    const bool ok = vc_atomic_begin(f, name.data, err);
    vc_str_finish(&name);
    return ok;
}

static bool add_row(Npy *f, int64_t id, uint64_t row, const char *name, VcErr *err)
{
    const size_t dim = vectors_reader_dim(f->reader);
    vectors_reader_floats(f->reader, row, 1, f->x);
    vc_str_clear(&f->text);
    vc_str_put(&f->text, f->rows ? ",\n" : "[\n");
    vc_str_put_json(&f->text, name, strlen(name), false);
    f->rows++;
    if (fwrite(f->x, sizeof *f->x, dim, f->vectors.file) != dim || fwrite(&id, sizeof id, 1, f->ids.file) != 1 ||
        fwrite(f->text.data, 1, f->text.len, f->names.file) != f->text.len)
        return vc_fail_errno(err, "cannot write '%s'", f->vectors.path);
    return !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted; nothing was written");
}

static bool add_images(Npy *f, VcWorkspace *ws, const ConceptsSelection *selection, VcErr *err)
{
    ConceptsRows *rows = NULL;
    ConceptsRow row;
    bool more = true, ok = concepts_rows_open(&rows, ws, selection, err);
    while (ok && (ok = concepts_rows_next(rows, &row, &more, err)) && more) {
        if (row.vector_row >= 0 && (uint64_t)row.vector_row < vectors_reader_rows(f->reader))
            ok = add_row(f, row.image_id, (uint64_t)row.vector_row, row.key, err);
    }
    concepts_rows_close(&rows);
    return ok;
}

static bool add_concepts(Npy *f, VcWorkspace *ws, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT concept_id, text FROM concept ORDER BY 1", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t id = vc_column_int(stmt, 0);
        if (id >= 0 && (uint64_t)id < vectors_reader_rows(f->reader))
            ok = add_row(f, id, (uint64_t)id, vc_column_text(stmt, 1), err);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

bool concepts_export_npy(VcWorkspace *ws, const ConceptsSelection *selection, bool concepts, const char *path,
                         ConceptsExportReport *report, VcErr *err)
{
    Npy f = {0};
    ConceptsModel model = {0};
    *report = (ConceptsExportReport){0};
    if (!vc_has_suffix(path, ".npy"))
        return vc_fail(err, VC_ERR_USAGE, "'%s': a name that ends in .npy is expected", path);
    bool ok = concepts_open_vectors(ws, concepts ? "concept" : "image", &f.reader, &model, err) &&
              begin_file(&f.vectors, path, ".npy", err) && begin_file(&f.ids, path, ".ids.npy", err) &&
              begin_file(&f.names, path, ".names.json", err) && put_header(&f.vectors, "<f4", 0, 1, err) &&
              put_header(&f.ids, "<i8", 0, 0, err);
    if (ok) {
        const size_t dim = vectors_reader_dim(f.reader);
        f.x = vc_alloc(dim, sizeof *f.x);
        ok = (concepts ? add_concepts(&f, ws, err) : add_images(&f, ws, selection, err)) &&
             put_header(&f.vectors, "<f4", f.rows, dim, err) && put_header(&f.ids, "<i8", f.rows, 0, err);
    }
    if (ok && fputs(f.rows ? "\n]\n" : "[]\n", f.names.file) < 0)
        ok = vc_fail_errno(err, "cannot write '%s'", f.names.path);
    ok = ok && vc_atomic_commit(&f.names, err) && vc_atomic_commit(&f.ids, err) && vc_atomic_commit(&f.vectors, err);
    vc_atomic_discard(&f.names);
    vc_atomic_discard(&f.ids);
    vc_atomic_discard(&f.vectors);
    report->objects = report->images = f.rows;
    vectors_reader_close(&f.reader);
    concepts_model_finish(&model);
    vc_str_finish(&f.text);
    free(f.x);
    return ok;
}
