// SPDX-License-Identifier: MIT
// The annotation JSON that ViCHA's and ALBEF's loaders read (spec 1.1): one list of objects, each with the concepts of
// its image as `kwords` (NLVR2: `kwords1`, `kwords2`).
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "concepts/export_private.h"
#include "extract/extract.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
    VcWorkspace *ws;
    const ConceptsJsonOptions *options;
    ConceptsExportReport *report;
    FILE *out;
    VcStmt *captions, *image;
    ExportConcepts concepts;
    ExtractReader *reader;
    int64_t last_copied;
    VcStr object, path, kwords, second_path, second_kwords;
    ExportList texts;
} Export;

// An image as the object names it.
typedef struct {
    int64_t id;
    const char *key, *uri;
} Image;

// --- names and files of images

static bool copy_image(Export *e, int64_t image_id, const char *path, VcErr *err)
{
    if (image_id <= e->last_copied && vc_exists(path))
        return true;
    uint8_t *bytes = NULL;
    size_t n;
    VcStr dir = {0};
    vc_str_putn(&dir, path, (size_t)(vc_path_base(path) - path - 1));
    const bool ok = vc_make_dirs(dir.data, err) && (e->reader || extract_reader_open(&e->reader, e->ws, err)) &&
                    extract_reader_read(e->reader, image_id, &bytes, &n, err) && vc_write_file(path, bytes, n, err);
    free(bytes);
    vc_str_finish(&dir);
    e->last_copied = image_id > e->last_copied ? image_id : e->last_copied;
    return ok;
}

static bool put_path(Export *e, VcStr *out, const Image *image, VcErr *err)
{
    const ConceptsJsonOptions *o = e->options;
    vc_str_clear(out);
    if (o->images) {
        vc_str_putf(out, "%s/%05" PRId64 "/%09" PRId64 ".jpg", o->images, image->id / 1000, image->id);
        return copy_image(e, image->id, out->data, err);
    }
    e->report->links += extract_is_url(image->key);
    if (o->root && image->key[0] != '/' && !extract_is_url(image->key))
        vc_str_putf(out, "%s/", o->root);
    if (vc_has_suffix(image->uri, ".tar") &&
        !extract_is_url(image->key)) { // SHARD/MEMBER, as img2dataset's users have it
        const char *base = vc_path_base(image->uri);
        vc_str_putn(out, base, strlen(base) - strlen(".tar"));
        vc_str_putc(out, '/');
    }
    vc_str_put(out, image->key);
    return true;
}

// Path and kwords of an image. *usable false: it may not be written.
static bool describe(Export *e, const Image *image, VcStr *path, VcStr *kwords, bool *usable, VcErr *err)
{
    vc_str_clear(kwords);
    if (!export_concepts_of(&e->concepts, image->id, err))
        return false;
    *usable = e->concepts.list.count > 0 || e->options->any_concepts;
    e->report->without_concepts += !*usable;
    if (!*usable)
        return true;
    if (e->concepts.list.count > 0)
        export_put_strings(kwords, export_list_items(&e->concepts.list), e->concepts.list.count);
    return put_path(e, path, image, err);
}

// --- objects

static void put_member(VcStr *out, const char *name, const char *text)
{
    vc_str_putf(out, "%s\"%s\": ", out->len > 1 ? ", " : "", name);
    vc_str_put_json(out, text, strlen(text), false);
}

static void put_raw(VcStr *out, const char *name, const char *json)
{
    vc_str_putf(out, "%s\"%s\": %s", out->len > 1 ? ", " : "", name, json);
}

static void put_fields(VcStr *out, const char *fields)
{
    const size_t n = fields ? strlen(fields) : 0;
    if (n <= 2) // {}
        return;
    vc_str_put(out, out->len > 1 ? ", " : "");
    vc_str_putn(out, fields + 1, n - 2);
}

static bool write_object(Export *e, VcErr *err)
{
    vc_str_putc(&e->object, '}');
    if (fputs(e->report->objects ? ",\n" : "[\n", e->out) < 0 ||
        fwrite(e->object.data, 1, e->object.len, e->out) != e->object.len)
        return vc_fail_errno(err, "cannot write the export");
    e->report->objects++;
    return true;
}

typedef struct {
    const char *shape, *fields;
    bool list, number; // captions as a list; with image_id
} Shape;

static bool write_captions(Export *e, const Image *image, const Shape *shape, VcErr *err)
{
    bool usable, ok = describe(e, image, &e->path, &e->kwords, &usable, err);
    const char *const *texts = export_list_items(&e->texts);
    const bool own_number = shape->number && !(shape->fields && strstr(shape->fields, "\"image_id\":"));
    for (size_t i = 0; ok && usable && i < e->texts.count; i += shape->list ? e->texts.count : 1) {
        VcStr *o = &e->object;
        vc_str_clear(o);
        vc_str_putc(o, '{');
        put_member(o, "image", e->path.data);
        if (shape->list) {
            vc_str_put(o, ", \"caption\": ");
            export_put_strings(o, texts, e->texts.count);
        } else {
            put_member(o, "caption", texts[i]);
        }
        put_fields(o, shape->fields);
        if (own_number)
            vc_str_putf(o, ", \"image_id\": %" PRId64, image->id);
        if (e->kwords.len)
            put_raw(o, "kwords", e->kwords.data);
        ok = write_object(e, err);
    }
    return ok;
}

static const char *text_member(const char *shape)
{
    return strcmp(shape, "vqa") == 0 ? "question" : strcmp(shape, "grounding") == 0 ? "text" : "sentence";
}

static bool write_task(Export *e, const Image *image, const Shape *shape, VcErr *err)
{
    bool usable;
    const bool ok = describe(e, image, &e->path, &e->kwords, &usable, err);
    if (!ok || !usable)
        return ok;
    if (strcmp(shape->shape, "entailment") == 0 && vc_has_suffix(e->path.data, ".jpg"))
        e->path.data[e->path.len -= strlen(".jpg")] = 0; // its loader appends it
    VcStr *o = &e->object;
    vc_str_clear(o);
    vc_str_putc(o, '{');
    put_member(o, "image", e->path.data);
    put_member(o, text_member(shape->shape), export_list_items(&e->texts)[0]);
    put_fields(o, shape->fields);
    if (e->kwords.len)
        put_raw(o, "kwords", e->kwords.data);
    return write_object(e, err);
}

static bool write_pair(Export *e, const Image *left, int64_t second, const Shape *shape, VcErr *err)
{
    bool row, usable = true, ok;
    vc_bind_int(e->image, 1, second);
    if (!vc_stmt_step(e->image, &row, err))
        return false;
    if (!row) {
        e->report->incomplete++;
        return true;
    }
    const Image right = {second, vc_column_text(e->image, 0), vc_column_text(e->image, 1)};
    ok = describe(e, left, &e->path, &e->kwords, &usable, err) &&
         (!usable || describe(e, &right, &e->second_path, &e->second_kwords, &usable, err));
    vc_stmt_reset(e->image);
    if (!ok || !usable)
        return ok;
    const char *const paths[] = {e->path.data, e->second_path.data};
    VcStr *o = &e->object;
    vc_str_clear(o);
    vc_str_putc(o, '{');
    put_member(o, "sentence", export_list_items(&e->texts)[0]);
    put_fields(o, shape->fields);
    vc_str_put(o, ", \"images\": ");
    export_put_strings(o, paths, 2);
    if (e->kwords.len)
        put_raw(o, "kwords1", e->kwords.data);
    if (e->second_kwords.len)
        put_raw(o, "kwords2", e->second_kwords.data);
    return write_object(e, err);
}

// --- captions in their order

static bool prepare(Export *e, VcErr *err)
{
    const ConceptsJsonOptions *o = e->options;
    bool annotated, filtered;
    VcDb *db = e->ws->db;
    if (!export_has_table(e->ws, "annotation", &annotated, err) ||
        !export_has_table(e->ws, "caption_filter", &filtered, err))
        return false;
    VcStr sql = {0};
    vc_str_putf(&sql,
                "SELECT c.caption_id, c.text, i.image_id, i.key, s.uri, %s, %s FROM caption c JOIN image i"
                " USING(image_id) JOIN source s USING(source_id)",
                annotated ? "a.captions, a.second_image, a.shape, a.fields" : "NULL, NULL, NULL, NULL",
                filtered && !o->selection.marked ? "coalesce(f.dropped, 0)" : "0");
    if (annotated)
        vc_str_put(&sql, " LEFT JOIN annotation a USING(caption_id)");
    if (filtered && !o->selection.marked)
        vc_str_put(&sql, " LEFT JOIN caption_filter f USING(caption_id)");
    vc_str_put(&sql, " WHERE ");
    export_image_condition(&o->selection, &sql);
    vc_str_put(&sql, " ORDER BY c.caption_id");
    bool ok = vc_db_prepare(db, &e->captions, sql.data, err) &&
              export_bind_selection(e->ws, e->captions, &o->selection, err) &&
              vc_db_prepare(db, &e->image,
                            "SELECT i.key, s.uri FROM image i JOIN source s USING(source_id) JOIN image_file"
                            " USING(image_id) WHERE i.image_id = ? AND i.status >= 0",
                            err) &&
              export_concepts_open(&e->concepts, e->ws, err);
    vc_str_finish(&sql);
    return ok;
}

// The row of the statement, kept while the rows after it are read.
typedef struct {
    int64_t last; // caption_id of the annotation's last caption
    int64_t second;
    Image image;
    VcStr key, uri, shape, fields;
    bool any;
} Group;

static void set_text(VcStr *out, const char *text)
{
    vc_str_clear(out);
    vc_str_put(out, text ? text : "");
}

static void begin_group(Export *e, Group *g)
{
    VcStmt *s = e->captions;
    set_text(&g->key, vc_column_text(s, 3));
    set_text(&g->uri, vc_column_text(s, 4));
    set_text(&g->shape, vc_column_text(s, 7));
    set_text(&g->fields, vc_column_text(s, 8));
    g->image = (Image){vc_column_int(s, 2), vc_str_get(&g->key), vc_str_get(&g->uri)};
    g->last = vc_column_int(s, 0) + (g->shape.len ? vc_column_int(s, 5) - 1 : 0);
    g->second = vc_column_int(s, 6);
    g->any = true;
    export_list_clear(&e->texts);
}

static bool end_group(Export *e, Group *g, VcErr *err)
{
    if (!g->any || e->texts.count == 0)
        return true;
    const char *name = g->shape.len ? g->shape.data : "caption";
    Shape shape = {.shape = name, .fields = g->fields.len ? g->fields.data : NULL};
    if (strcmp(name, "nlvr") == 0)
        return write_pair(e, &g->image, g->second, &shape, err);
    shape.list = strcmp(name, "captions") == 0 && e->options->form == CONCEPTS_FORM_SOURCE;
    shape.number = e->options->form == CONCEPTS_FORM_PAIRS;
    return shape.list || strncmp(name, "caption", 7) == 0 ? write_captions(e, &g->image, &shape, err)
                                                          : write_task(e, &g->image, &shape, err);
}

static bool by_captions(Export *e, VcErr *err)
{
    Group g = {0};
    bool row = true, ok = prepare(e, err);
    VcProgress *progress = vc_progress_begin("export", "captions", 0);
    while (ok && row) {
        ok = vc_stmt_step(e->captions, &row, err);
        if (!ok || !row)
            break;
        const int64_t id = vc_column_int(e->captions, 0);
        if (!g.any || id > g.last) {
            ok = end_group(e, &g, err);
            begin_group(e, &g);
        }
        const char *text = vc_column_text(e->captions, 1);
        if (vc_column_int(e->captions, 9) == 0)
            export_list_put(&e->texts, text, strlen(text));
        vc_progress_add(progress, 1, 0);
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted; nothing was written");
    }
    ok = ok && end_group(e, &g, err);
    vc_progress_end(&progress);
    vc_str_finish(&g.key);
    vc_str_finish(&g.uri);
    vc_str_finish(&g.shape);
    vc_str_finish(&g.fields);
    return ok;
}

// --- images in their order, with lists

static bool by_images(Export *e, VcErr *err)
{
    ConceptsRows *rows = NULL;
    ConceptsRow row;
    bool more = true;
    bool ok =
        concepts_rows_open(&rows, e->ws, &e->options->selection, err) && export_concepts_open(&e->concepts, e->ws, err);
    while (ok && (ok = concepts_rows_next(rows, &row, &more, err)) && more) {
        const Image image = {row.image_id, row.key, row.uri};
        const Shape shape = {.shape = "captions", .list = true, .number = true};
        export_list_clear(&e->texts);
        for (size_t i = 0; i < row.caption_count; i++)
            export_list_put(&e->texts, row.captions[i], strlen(row.captions[i]));
        ok = row.caption_count == 0 || write_captions(e, &image, &shape, err);
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted; nothing was written");
    }
    concepts_rows_close(&rows);
    return ok;
}

bool concepts_export_json(VcWorkspace *ws, const ConceptsJsonOptions *options, FILE *out, ConceptsExportReport *report,
                          VcErr *err)
{
    Export e = {.ws = ws, .options = options, .report = report, .out = out};
    *report = (ConceptsExportReport){0};
    bool ok = options->form == CONCEPTS_FORM_LISTS ? by_images(&e, err) : by_captions(&e, err);
    if (ok && fputs(report->objects ? "\n]\n" : "[]\n", out) < 0)
        ok = vc_fail_errno(err, "cannot write the export");
    vc_stmt_finish(&e.captions);
    vc_stmt_finish(&e.image);
    export_concepts_close(&e.concepts);
    extract_reader_close(&e.reader);
    export_list_finish(&e.texts);
    VcStr *all[5] = {&e.object, &e.path, &e.kwords, &e.second_path, &e.second_kwords};
    for (size_t i = 0; i < 5; i++)
        vc_str_finish(all[i]);
    return ok;
}
