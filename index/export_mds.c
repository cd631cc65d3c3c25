// SPDX-License-Identifier: MIT
#include "index/export_mds.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "extract/extract.h"
#include "index/writer.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 8 };
static const char *const names[COLUMNS] = {"caption",  "captions", "concept_scores", "concepts", "image",
                                           "image_id", "key",      "split"};
static const char *const encodings[COLUMNS] = {"str", "json", "ndarray:float32", "json", "jpeg", "int", "str", "str"};

typedef struct {
    VcStr captions, scores, concepts;
} Fields;

static void put_strings(VcStr *out, const char *const *items, size_t n)
{
    vc_str_clear(out);
    vc_str_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        vc_str_put(out, i ? ", " : "");
        vc_str_put_json(out, items[i], strlen(items[i]), true);
    }
    vc_str_putc(out, ']');
}

static MdsField text_field(const char *text)
{
    return (MdsField){(const uint8_t *)text, strlen(text)};
}

static MdsField view(const VcStr *s)
{
    return (MdsField){(const uint8_t *)s->data, s->len};
}

static bool add(IndexWriter *w, ExtractReader *reader, Fields *f, const ConceptsRow *row, VcErr *err)
{
    uint8_t *jpeg;
    size_t n;
    if (!extract_reader_read(reader, row->image_id, &jpeg, &n, err))
        return false;
    put_strings(&f->captions, row->captions, row->caption_count);
    put_strings(&f->concepts, row->concepts, row->concept_count);
    float *scores = vc_calloc(row->concept_count + 1, sizeof *scores);
    for (size_t i = 0; row->scores && i < row->concept_count; i++)
        scores[i] = (float)row->scores[i];
    vc_str_clear(&f->scores);
    mds_put_array(&f->scores, MDS_F32, scores, row->scores ? row->concept_count : 0);
    free(scores);
    const MdsField fields[COLUMNS] = {text_field(row->caption_count ? row->captions[0] : ""),
                                      view(&f->captions),
                                      view(&f->scores),
                                      view(&f->concepts),
                                      {jpeg, n},
                                      {(const uint8_t *)&row->image_id, sizeof row->image_id},
                                      text_field(row->key),
                                      text_field(row->split ? row->split : "")};
    const bool ok = index_writer_add(w, row->image_id, fields, err);
    free(jpeg);
    return ok;
}

static bool write_rows(IndexWriter *w, VcWorkspace *ws, ConceptsRows *rows, ConceptsExportReport *report, VcErr *err)
{
    ExtractReader *reader = NULL;
    Fields f = {0};
    ConceptsRow row;
    VcProgress *progress = vc_progress_begin("export", "images", 0);
    bool more = true, ok = extract_reader_open(&reader, ws, err);
    while (ok && (ok = concepts_rows_next(rows, &row, &more, err)) && more) {
        if (!index_writer_has(w, row.image_id))
            ok = add(w, reader, &f, &row, err);
        report->images++;
        vc_progress_add(progress, 1, 0);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted; run it again to go on");
    }
    vc_progress_end(&progress);
    extract_reader_close(&reader);
    vc_str_finish(&f.captions);
    vc_str_finish(&f.scores);
    vc_str_finish(&f.concepts);
    return ok;
}

static void put_setting(VcStr *out, const char *name, const char *value)
{
    vc_str_putf(out, ", \"%s\": ", name);
    if (value) {
        vc_str_put_json(out, value, strlen(value), false);
    } else {
        vc_str_put(out, "null");
    }
}

bool index_export_mds(VcWorkspace *ws, const ConceptsSelection *o, const char *dir, uint64_t size_limit,
                      ConceptsExportReport *report, VcErr *err)
{
    IndexWriter *w = NULL;
    ConceptsRows *rows = NULL;
    VcStr settings = {0};
    *report = (ConceptsExportReport){0};
    vc_str_putf(&settings, "{\"export\": true, \"marked\": %s", o->marked ? "true" : "false");
    put_setting(&settings, "split", o->split);
    put_setting(&settings, "source", o->source);
    put_setting(&settings, "tag", o->tag);
    vc_str_putc(&settings, '}');
    const IndexWriterOptions options = {.dir = dir,
                                        .names = names,
                                        .encodings = encodings,
                                        .columns = COLUMNS,
                                        .size_limit = size_limit,
                                        .settings = settings.data};
    bool ok = concepts_rows_open(&rows, ws, o, err) && index_writer_open(&w, &options, err);
    if (ok && index_writer_state(w) == INDEX_SET_COMPLETE)
        ok = vc_fail(err, VC_ERR_USAGE, "'%s' holds a finished set; give a new folder", dir);
    ok = ok && write_rows(w, ws, rows, report, err) && index_writer_commit(w, NULL, err);
    if (ok) {
        report->shards = index_writer_shards(w);
        report->bytes = index_writer_bytes(w);
    }
    index_writer_close(&w);
    concepts_rows_close(&rows);
    vc_str_finish(&settings);
    return ok;
}
