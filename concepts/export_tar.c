// SPDX-License-Identifier: MIT
// WebDataset shards with concepts: the form of our own image store, with what later stages found in KEY.json.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "concepts/export_private.h"
#include "extract/extract.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
    ExtractReader *reader;
    const char *dir;
    VcAtomicFile file;
    uint64_t in_shard, most;
    VcStr members, text, json;
    ConceptsExportReport *report;
} Export;

static bool begin_shard(Export *e, VcErr *err)
{
    char name[32];
    snprintf(name, sizeof name, "%05" PRIu64 ".tar", e->report->shards);
    char *path = vc_path_join(e->dir, name);
    const bool ok = vc_atomic_begin(&e->file, path, err);
    free(path);
    e->in_shard = 0;
    return ok;
}

static bool end_shard(Export *e, VcErr *err)
{
    static const char zeros[1024];
    if (fwrite(zeros, 1, sizeof zeros, e->file.file) != sizeof zeros)
        return vc_fail_errno(err, "cannot write '%s'", e->file.path);
    e->report->shards++;
    e->report->bytes += sizeof zeros;
    return vc_atomic_commit(&e->file, err);
}

static void describe(Export *e, const ConceptsRow *row)
{
    VcStr *s = &e->json;
    vc_str_clear(s);
    vc_str_putf(s, "{\"key\": \"%09" PRId64 "\", \"%s\": ", row->image_id, extract_is_url(row->key) ? "url" : "path");
    vc_str_put_json(s, row->key, strlen(row->key), false);
    vc_str_put(s, ", \"source\": ");
    vc_str_put_json(s, row->source, strlen(row->source), false);
    if (row->split) {
        vc_str_put(s, ", \"split\": ");
        vc_str_put_json(s, row->split, strlen(row->split), false);
    }
    vc_str_putf(s, ", \"original_width\": %" PRId64 ", \"original_height\": %" PRId64 ", \"captions\": ", row->width,
                row->height);
    export_put_strings(s, row->captions, row->caption_count);
    vc_str_put(s, ", \"concepts\": ");
    export_put_strings(s, row->concepts, row->concept_count);
    if (row->scores) {
        vc_str_put(s, ", \"concept_scores\": ");
        export_put_scores(s, row->scores, row->concept_count);
    }
    vc_str_put(s, "}\n");
    vc_str_clear(&e->text);
    for (size_t i = 0; i < row->caption_count; i++) {
        for (const char *p = row->captions[i]; *p; p++)
            vc_str_putc(&e->text, *p == '\n' || *p == '\r' ? ' ' : *p);
        vc_str_putc(&e->text, '\n');
    }
}

static bool add(Export *e, const ConceptsRow *row, VcErr *err)
{
    uint8_t *jpeg;
    size_t n;
    if (!extract_reader_read(e->reader, row->image_id, &jpeg, &n, err))
        return false;
    describe(e, row);
    vc_str_clear(&e->members);
    extract_tar_put(&e->members, row->image_id, ".jpg", jpeg, n);
    extract_tar_put(&e->members, row->image_id, ".txt", vc_str_get(&e->text), e->text.len);
    extract_tar_put(&e->members, row->image_id, ".json", e->json.data, e->json.len);
    free(jpeg);
    if (fwrite(e->members.data, 1, e->members.len, e->file.file) != e->members.len)
        return vc_fail_errno(err, "cannot write '%s'", e->file.path);
    e->report->bytes += e->members.len;
    e->report->images++;
    e->in_shard++;
    return true;
}

static bool write_rows(Export *e, ConceptsRows *rows, VcErr *err)
{
    VcProgress *progress = vc_progress_begin("export", "images", 0);
    bool more = true, ok = true;
    ConceptsRow row;
    while (ok && (ok = concepts_rows_next(rows, &row, &more, err)) && more) {
        if (e->in_shard == e->most)
            ok = end_shard(e, err);
        ok = ok && (e->file.file || begin_shard(e, err)) && add(e, &row, err);
        vc_progress_add(progress, 1, 0);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted; the shards that are whole stay in '%s'", e->dir);
    }
    ok = ok && (!e->file.file || end_shard(e, err));
    vc_progress_end(&progress);
    return ok;
}

static bool check_empty(const char *dir, VcErr *err)
{
    VcFileList list;
    if (!vc_make_dirs(dir, err) || !vc_list_files(&list, dir, err))
        return false;
    const bool empty = list.count == 0;
    vc_file_list_finish(&list);
    return empty || vc_fail(err, VC_ERR_USAGE, "the folder '%s' is not empty; give a new one", dir);
}

bool concepts_export_webdataset(VcWorkspace *ws, const ConceptsSelection *selection, const char *dir,
                                uint64_t shard_images, ConceptsExportReport *report, VcErr *err)
{
    Export e = {.dir = dir, .most = shard_images, .report = report};
    ConceptsRows *rows = NULL;
    *report = (ConceptsExportReport){0};
    const bool ok = check_empty(dir, err) && concepts_rows_open(&rows, ws, selection, err) &&
                    extract_reader_open(&e.reader, ws, err) && write_rows(&e, rows, err);
    vc_atomic_discard(&e.file);
    concepts_rows_close(&rows);
    extract_reader_close(&e.reader);
    vc_str_finish(&e.members);
    vc_str_finish(&e.text);
    vc_str_finish(&e.json);
    return ok;
}
