// SPDX-License-Identifier: MIT
#include "extract/list.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "extract/annotation.h"

#include <inttypes.h>

enum { BATCH = 2000 }; // entries in a transaction

typedef struct {
    VcWorkspace *ws;
    VcStmt *find_image, *add_image, *add_caption, *find_caption, *add_split, *add_origin, *add_columns, *save;
    int64_t source_id;
    char *settings, *fingerprint; // as stored; the fingerprint is NULL for a new source
    int64_t entries;              // position
    uint64_t chain;               // hash of all entries before it
    bool merging, complete;
    uint64_t images, limit; // rows of this source; most it may have
    ExtractReport *report;
    VcStr scratch;
    ExtractAnnotations *annotations;
} Lister;

// --- state

static bool prepare(Lister *l, VcErr *err)
{
    VcDb *db = l->ws->db;
    return vc_db_prepare(db, &l->find_image, "SELECT image_id FROM image WHERE source_id = ? AND key = ?", err) &&
           vc_db_prepare(db, &l->add_image, "INSERT INTO image(source_id, key, status, error) VALUES(?, ?, ?, ?)",
                         err) &&
           vc_db_prepare(db, &l->add_caption, "INSERT INTO caption(image_id, text, kind) VALUES(?, ?, ?)", err) &&
           vc_db_prepare(db, &l->find_caption, "SELECT 1 FROM caption WHERE image_id = ? AND text = ?", err) &&
           vc_db_prepare(db, &l->add_split, "INSERT OR REPLACE INTO split(image_id, name) VALUES(?, ?)", err) &&
           vc_db_prepare(db, &l->add_origin, "INSERT OR REPLACE INTO image_origin(image_id, offset) VALUES(?, ?)",
                         err) &&
           // A column that is known stays as it is; new ones join it.
           vc_db_prepare(db, &l->add_columns,
                         "INSERT INTO image_columns(image_id, columns) VALUES(?1, ?2) ON CONFLICT(image_id)"
                         " DO UPDATE SET columns = json_patch(excluded.columns, columns)",
                         err) &&
           vc_db_prepare(db, &l->save,
                         "UPDATE extract_progress SET entries = ?2, chain = ?3, merging = ?4, complete = ?5,"
                         " settings = ?6, fingerprint = ?7 WHERE source_id = ?1",
                         err);
}

static void finish(Lister *l)
{
    VcStmt **all[] = {&l->find_image, &l->add_image,  &l->add_caption, &l->find_caption,
                      &l->add_split,  &l->add_origin, &l->add_columns, &l->save};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vc_stmt_finish(all[i]);
    free(l->settings);
    free(l->fingerprint);
    vc_str_finish(&l->scratch);
    extract_annotations_destroy(&l->annotations);
}

static bool load_state(Lister *l, const ExtractSource *source, bool *found, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(l->ws->db, &stmt,
                       "SELECT source_id, settings, fingerprint, entries, chain, merging, complete"
                       " FROM extract_progress WHERE path = ?",
                       err))
        return false;
    vc_bind_text(stmt, 1, extract_source_path(source));
    const bool ok = vc_stmt_step(stmt, found, err);
    if (ok && *found) {
        l->source_id = vc_column_int(stmt, 0);
        l->settings = vc_strdup(vc_column_text(stmt, 1));
        l->fingerprint = vc_strdup(vc_column_text(stmt, 2));
        l->entries = vc_column_int(stmt, 3);
        l->chain = (uint64_t)vc_column_int(stmt, 4);
        l->merging = vc_column_int(stmt, 5) != 0;
        l->complete = vc_column_int(stmt, 6) != 0;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// A new source is called like its file; the second of that name gets a number.
static bool insert_source(Lister *l, const ExtractSource *source, VcErr *err)
{
    VcStmt *stmt;
    const char *base = vc_path_base(extract_source_path(source));
    if (!vc_db_prepare(
            l->ws->db, &stmt,
            "INSERT INTO source(name, uri, added_at) VALUES(?1 || CASE WHEN EXISTS(SELECT 1 FROM source WHERE"
            " name = ?1) THEN ' (' || (SELECT max(source_id) + 1 FROM source) || ')' ELSE '' END, ?2, ?3)",
            err))
        return false;
    vc_bind_text(stmt, 1, base);
    vc_bind_text(stmt, 2, extract_source_root(source));
    vc_bind_int(stmt, 3, vc_unix_time());
    bool ok = vc_stmt_run(stmt, err);
    vc_stmt_finish(&stmt);
    if (!ok)
        return false;
    l->source_id = vc_db_last_id(l->ws->db);
    if (!vc_db_prepare(l->ws->db, &stmt,
                       "INSERT INTO extract_progress(source_id, path, settings, fingerprint, entries, chain, merging,"
                       " complete) VALUES(?, ?, '', '', 0, 0, 0, 0)",
                       err))
        return false;
    vc_bind_int(stmt, 1, l->source_id);
    vc_bind_text(stmt, 2, extract_source_path(source));
    ok = vc_stmt_run(stmt, err);
    vc_stmt_finish(&stmt);
    return ok;
}

static bool add_source(Lister *l, const ExtractSource *source, VcErr *err)
{
    if (vc_db_begin(l->ws->db, err) && insert_source(l, source, err) && vc_db_commit(l->ws->db, err))
        return true;
    vc_db_rollback(l->ws->db);
    return false;
}

static bool update_root(Lister *l, const ExtractSource *source, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(l->ws->db, &stmt, "UPDATE source SET uri = ?2 WHERE source_id = ?1 AND uri IS NOT ?2", err))
        return false;
    vc_bind_int(stmt, 1, l->source_id);
    vc_bind_text(stmt, 2, extract_source_root(source));
    const bool ok = vc_stmt_run(stmt, err);
    vc_stmt_finish(&stmt);
    return ok;
}

static bool save_state(Lister *l, const char *settings, const char *fingerprint, bool complete, VcErr *err)
{
    vc_bind_int(l->save, 1, l->source_id);
    vc_bind_int(l->save, 2, l->entries);
    vc_bind_int(l->save, 3, (int64_t)l->chain);
    vc_bind_int(l->save, 4, l->merging);
    vc_bind_int(l->save, 5, complete);
    vc_bind_text(l->save, 6, settings);
    vc_bind_text(l->save, 7, fingerprint);
    return vc_stmt_run(l->save, err);
}

// --- entries

static uint64_t chain_entry(Lister *l, const ExtractEntry *e)
{
    VcStr *s = &l->scratch;
    vc_str_clear(s);
    vc_str_putn(s, &l->chain, sizeof l->chain);
    vc_str_putn(s, e->key, strlen(e->key) + 1);
    for (size_t i = 0; i < e->caption_count; i++)
        vc_str_putn(s, e->captions[i], strlen(e->captions[i]) + 1);
    const char *const more[] = {e->second_key, e->fields, e->concepts, e->second_concepts};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (more[i])
            vc_str_putn(s, more[i], strlen(more[i]) + 1);
    }
    return vc_xxh3(s->data, s->len);
}

static bool add_caption(Lister *l, int64_t image_id, const char *text, const char *kind, VcErr *err)
{
    vc_bind_int(l->add_caption, 1, image_id);
    vc_bind_text(l->add_caption, 2, text);
    vc_bind_text(l->add_caption, 3, kind);
    l->report->captions_listed++;
    return vc_stmt_run(l->add_caption, err);
}

static bool add_captions(Lister *l, int64_t image_id, bool known, const ExtractEntry *e, VcErr *err)
{
    for (size_t i = 0; i < e->caption_count; i++) {
        bool there = false;
        if (l->merging && known) {
            vc_bind_int(l->find_caption, 1, image_id);
            vc_bind_text(l->find_caption, 2, e->captions[i]);
            if (!vc_stmt_step(l->find_caption, &there, err))
                return false;
            vc_stmt_reset(l->find_caption);
        }
        if (there)
            continue;
        if (!add_caption(l, image_id, e->captions[i], NULL, err))
            return false;
    }
    return true;
}

// The captions of an annotation stay together, also when the image has the same words already: the rest differs.
static bool add_annotation(Lister *l, int64_t image_id, int64_t second_image, bool known, const ExtractEntry *e,
                           VcErr *err)
{
    bool there = false;
    if (l->merging && known && !extract_annotations_known(l->annotations, image_id, e, &there, err))
        return false;
    if (there || e->caption_count == 0)
        return true;
    int64_t first = 0;
    for (size_t i = 0; i < e->caption_count; i++) {
        if (!add_caption(l, image_id, e->captions[i], e->kind, err))
            return false;
        first = i == 0 ? vc_db_last_id(l->ws->db) : first;
    }
    return extract_annotations_add(l->annotations, first, second_image, e, err);
}

static bool add_image(Lister *l, const ExtractEntry *e, const char *key, int64_t *image_id, VcErr *err)
{
    vc_bind_int(l->add_image, 1, l->source_id);
    vc_bind_text(l->add_image, 2, key);
    vc_bind_int(l->add_image, 3, e->problem ? EXTRACT_BAD_ENTRY : 0);
    if (e->problem) {
        vc_bind_text(l->add_image, 4, e->problem);
    } else if (e->repaired) {
        vc_bind_text(l->add_image, 4, "note: a caption had bytes that are not UTF-8; they became U+FFFD");
    } else {
        vc_bind_null(l->add_image, 4);
    }
    if (!vc_stmt_run(l->add_image, err))
        return false;
    *image_id = vc_db_last_id(l->ws->db);
    l->images++;
    l->report->images_listed++;
    l->report->rejected += e->problem != NULL;
    return true;
}

// The row of an image, a new one while the limit allows; *image_id is 0 when it does not.
static bool have_image(Lister *l, const ExtractEntry *e, const char *key, bool *known, int64_t *image_id, VcErr *err)
{
    vc_bind_int(l->find_image, 1, l->source_id);
    vc_bind_text(l->find_image, 2, key);
    if (!vc_stmt_step(l->find_image, known, err))
        return false;
    *image_id = *known ? vc_column_int(l->find_image, 0) : 0;
    vc_stmt_reset(l->find_image);
    return *known || l->images >= l->limit || add_image(l, e, key, image_id, err);
}

static bool add_split(Lister *l, int64_t image_id, const ExtractEntry *e, VcErr *err)
{
    if (!e->split)
        return true;
    vc_bind_int(l->add_split, 1, image_id);
    vc_bind_text(l->add_split, 2, e->split);
    return vc_stmt_run(l->add_split, err);
}

// The right image of an annotation with two; *image_id 0: it has one.
static bool add_second(Lister *l, const ExtractEntry *e, int64_t *image_id, VcErr *err)
{
    bool known;
    *image_id = 0;
    return !e->second_key || (have_image(l, e, e->second_key, &known, image_id, err) &&
                              (*image_id == 0 || add_split(l, *image_id, e, err)));
}

static bool add_entry(Lister *l, const ExtractEntry *e, VcErr *err)
{
    bool known;
    int64_t image_id, second;
    if (!have_image(l, e, e->key, &known, &image_id, err))
        return false;
    if (image_id == 0)
        return true;
    l->report->captions_repaired += e->repaired;
    if (!add_split(l, image_id, e, err))
        return false;
    if (e->offset >= 0) {
        vc_bind_int(l->add_origin, 1, image_id);
        vc_bind_int(l->add_origin, 2, e->offset);
        if (!vc_stmt_run(l->add_origin, err))
            return false;
    }
    if (e->columns) {
        vc_bind_int(l->add_columns, 1, image_id);
        vc_bind_text(l->add_columns, 2, e->columns);
        if (!vc_stmt_run(l->add_columns, err))
            return false;
    }
    if (!add_second(l, e, &second, err) ||
        (e->concepts && !extract_annotations_concepts(l->annotations, image_id, e->concepts, err)) ||
        (e->second_concepts && second &&
         !extract_annotations_concepts(l->annotations, second, e->second_concepts, err)))
        return false;
    return e->shape ? add_annotation(l, image_id, second, known, e, err) : add_captions(l, image_id, known, e, err);
}

// One transaction: up to BATCH entries and the position behind them. *more is false at the end of the source.
static bool list_batch(Lister *l, ExtractSource *source, const char *settings, bool *more, VcErr *err)
{
    if (!vc_db_begin(l->ws->db, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && *more && i < BATCH; i++) {
        ExtractEntry entry;
        ok = extract_source_next(source, &entry, more, err);
        if (!ok || !*more)
            break;
        l->chain = chain_entry(l, &entry);
        l->entries++;
        l->report->entries++;
        ok = add_entry(l, &entry, err);
    }
    ok = ok && save_state(l, settings, extract_source_fingerprint(source), !*more, err) && vc_db_commit(l->ws->db, err);
    if (!ok)
        vc_db_rollback(l->ws->db);
    return ok;
}

// Reads the entries before the stored position again, without touching the database. *same: they are what they were.
static bool skip_known(Lister *l, ExtractSource *source, bool *same, VcErr *err)
{
    const int64_t entries = l->entries;
    const uint64_t chain = l->chain;
    bool more = true;
    l->chain = 0;
    for (int64_t i = 0; i < entries; i++) {
        ExtractEntry entry;
        if (!extract_source_next(source, &entry, &more, err))
            return false;
        if (!more || vc_interrupted())
            break;
        l->chain = chain_entry(l, &entry);
    }
    *same = more && l->chain == chain;
    return !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted while reading the source again");
}

// Brings `source` (opened anew in *source if need be) to where listing goes on.
static bool go_to_position(Lister *l, ExtractSource **source, const char *path, const ExtractSourceOptions *options,
                           bool other_settings, VcErr *err)
{
    bool same = l->entries == 0;
    if (l->entries > 0 && !other_settings && !skip_known(l, *source, &same, err))
        return false;
    if (same && !other_settings)
        return true;
    // From the start, adding what is not there yet.
    l->merging = l->merging || l->entries > 0 || other_settings;
    l->entries = 0;
    l->chain = 0;
    extract_source_close(source);
    return extract_source_open(source, path, options, err);
}

static bool list_all(Lister *l, ExtractSource *source, const char *settings, VcErr *err)
{
    VcProgress *progress = vc_progress_begin("list", "entries", 0);
    bool more = true, ok = true;
    for (uint64_t before = l->report->entries; ok && more; before = l->report->entries) {
        ok = list_batch(l, source, settings, &more, err);
        vc_progress_add(progress, l->report->entries - before, 0);
        if (ok && more && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted; what is listed is kept");
    }
    vc_progress_end(&progress);
    return ok;
}

static bool run(Lister *l, ExtractSource **source, const char *path, const ExtractOptions *o,
                const ExtractSourceOptions *source_options, uint64_t before, VcErr *err)
{
    bool found;
    if (!prepare(l, err) || !load_state(l, *source, &found, err) || (!found && !add_source(l, *source, err)) ||
        !update_root(l, *source, err))
        return false;
    char count[96];
    int64_t images;
    snprintf(count, sizeof count, "SELECT count(*) FROM image WHERE source_id = %" PRId64, l->source_id);
    if (!vc_db_int(l->ws->db, count, 0, &images, err))
        return false;
    l->images = (uint64_t)images;
    l->limit = o->limit == 0 ? UINT64_MAX : o->limit > before ? o->limit - before : 0;
    VcStr settings = {0};
    vc_str_putf(&settings, "image=%s url=%s caption=%s limit=%" PRIu64, o->image_col ? o->image_col : "",
                o->url_col ? o->url_col : "", o->caption_col ? o->caption_col : "", o->limit ? l->limit : 0);
    if (o->split)
        vc_str_putf(&settings, " split=%s", o->split);
    if (o->replace)
        vc_str_putf(&settings, " replace=%s=%s", o->replace, o->replacement);
    if (o->columns)
        vc_str_putf(&settings, " columns=%s", o->columns);
    const bool other = found && l->settings[0] && strcmp(l->settings, settings.data) != 0;
    const bool unchanged = found && !other && strcmp(l->fingerprint, extract_source_fingerprint(*source)) == 0;
    bool ok = true;
    if (!unchanged || !l->complete)
        ok = go_to_position(l, source, path, source_options, other, err) && list_all(l, *source, settings.data, err);
    vc_str_finish(&settings);
    return ok;
}

bool extract_list_prepare(VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(ws->db,
                      "CREATE TABLE IF NOT EXISTS image_columns(image_id INTEGER PRIMARY KEY REFERENCES image"
                      " ON DELETE CASCADE, columns TEXT NOT NULL) STRICT",
                      err);
}

bool extract_list(VcWorkspace *ws, const ExtractInput *input, const ExtractOptions *options, uint64_t before,
                  ExtractListed *out, uint64_t *images, ExtractReport *report, VcErr *err)
{
    const char *path = input->path;
    const ExtractSourceOptions source_options = {.root = options->root           ? options->root
                                                         : input->standard_input ? "."
                                                                                 : NULL,
                                                 .split = options->split,
                                                 .replace = options->replace,
                                                 .replacement = options->replacement,
                                                 .columns = options->columns,
                                                 .format = options->format,
                                                 .guess = input->standard_input,
                                                 .url_col = options->url_col,
                                                 .caption_col = options->caption_col,
                                                 .image_col = options->image_col};
    ExtractSource *source;
    if (!extract_source_open(&source, path, &source_options, err))
        return false;
    Lister l = {.ws = ws, .report = report, .annotations = extract_annotations_create(ws)};
    bool ok = run(&l, &source, path, options, &source_options, before, err);
    if (ok && l.images == 0 && l.limit > 0)
        ok = vc_fail(err, VC_ERR_FORMAT, "the source '%s' is empty: it holds no image and no entry", path);
    if (ok) {
        *out = (ExtractListed){.source_id = l.source_id,
                               .tar = extract_source_is_tar(source),
                               .packed = extract_source_is_packed(source),
                               .root = vc_strdup(extract_source_root(source))};
        *images = l.images;
    }
    finish(&l);
    extract_source_close(&source);
    return ok;
}

bool extract_index_captions(VcWorkspace *ws, VcErr *err)
{
    int64_t last;
    char *known = NULL, text[32];
    if (!vc_db_int(ws->db, "SELECT max(caption_id) FROM caption", 0, &last, err) ||
        !vc_meta_get(ws, "captions_indexed", &known, err))
        return false;
    snprintf(text, sizeof text, "%" PRId64, last);
    const bool same = known ? strcmp(known, text) == 0 : last == 0;
    free(known);
    return same || (vc_workspace_rebuild_fts(ws, err) && vc_meta_set(ws, "captions_indexed", text, err));
}
