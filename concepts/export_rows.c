// SPDX-License-Identifier: MIT
// Images in the order of their numbers, with what is known of each.
#include "base/json.h"
#include "base/mem.h"
#include "concepts/export_private.h"

#include <string.h>

bool export_has_table(VcWorkspace *ws, const char *name, bool *has, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", err))
        return false;
    vc_bind_text(stmt, 1, name);
    const bool ok = vc_stmt_step(stmt, has, err);
    vc_stmt_finish(&stmt);
    return ok;
}

void export_image_condition(const ConceptsSelection *o, VcStr *sql)
{
    vc_str_put(sql, "i.status >= 0 AND EXISTS(SELECT 1 FROM image_file f WHERE f.image_id = i.image_id)");
    if (o->split)
        vc_str_put(sql, " AND (SELECT name FROM split x WHERE x.image_id = i.image_id) = ?1");
    if (o->source)
        vc_str_put(sql, " AND i.source_id = (SELECT source_id FROM source x WHERE x.name = ?2)");
    if (o->tag)
        vc_str_put(sql, " AND EXISTS(SELECT 1 FROM tag x WHERE x.name = ?3 AND x.image_id = i.image_id)");
    if (!o->marked)
        vc_str_put(sql, " AND NOT EXISTS(SELECT 1 FROM tag x WHERE x.name = 'duplicate' AND x.image_id = i.image_id)");
}

// Does a name of the selection exist? An export of nothing because of a slip helps nobody.
static bool check_name(VcWorkspace *ws, const char *sql, const char *what, const char *name, VcErr *err)
{
    if (!name)
        return true;
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, sql, err))
        return false;
    vc_bind_text(stmt, 1, name);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    vc_stmt_finish(&stmt);
    return ok && (row || vc_fail(err, VC_ERR_USAGE, "there is no image of %s '%s'", what, name));
}

bool export_bind_selection(VcWorkspace *ws, VcStmt *stmt, const ConceptsSelection *o, VcErr *err)
{
    if (!check_name(ws, "SELECT 1 FROM split WHERE name = ? LIMIT 1", "split", o->split, err) ||
        !check_name(ws, "SELECT 1 FROM source WHERE name = ? LIMIT 1", "source", o->source, err) ||
        !check_name(ws, "SELECT 1 FROM tag WHERE name = ? LIMIT 1", "tag", o->tag, err))
        return false;
    if (o->split)
        vc_bind_text(stmt, 1, o->split);
    if (o->source)
        vc_bind_text(stmt, 2, o->source);
    if (o->tag)
        vc_bind_text(stmt, 3, o->tag);
    return true;
}

// --- strings of one image

void export_list_clear(ExportList *list)
{
    vc_str_clear(&list->text);
    list->count = 0;
}

void export_list_put(ExportList *list, const char *text, size_t n)
{
    list->starts = vc_grow(list->starts, &list->starts_cap, list->count + 1, sizeof *list->starts);
    list->starts[list->count++] = list->text.len;
    vc_str_putn(&list->text, text, n);
    vc_str_putc(&list->text, 0);
}

const char *const *export_list_items(ExportList *list)
{
    list->items = vc_grow(list->items, &list->items_cap, list->count + 1, sizeof *list->items);
    for (size_t i = 0; i < list->count; i++)
        list->items[i] = list->text.data + list->starts[i];
    return list->items;
}

void export_list_finish(ExportList *list)
{
    vc_str_finish(&list->text);
    free(list->starts);
    free(list->items);
    *list = (ExportList){0};
}

// --- concepts of an image

bool export_concepts_open(ExportConcepts *c, VcWorkspace *ws, VcErr *err)
{
    bool given;
    return export_has_table(ws, "given_concepts", &given, err) &&
           vc_db_prepare(ws->db, &c->mined,
                         "SELECT c.text, ic.score / 32767.0 FROM image_concept ic JOIN concept c USING(concept_id)"
                         " WHERE ic.image_id = ? ORDER BY ic.rank",
                         err) &&
           (!given || vc_db_prepare(ws->db, &c->given, "SELECT concepts FROM given_concepts WHERE image_id = ?", err));
}

void export_concepts_close(ExportConcepts *c)
{
    vc_stmt_finish(&c->mined);
    vc_stmt_finish(&c->given);
    export_list_finish(&c->list);
    free(c->scores);
    *c = (ExportConcepts){0};
}

static void use_given(ExportConcepts *c, const char *text)
{
    VcJson *json;
    if (!vc_json_parse(&json, text, strlen(text), "given_concepts", NULL))
        return;
    for (size_t i = 0, n; i < vc_json_length(json); i++) {
        const char *item = vc_json_string(vc_json_item(json, i), &n);
        if (item && strlen(item) == n)
            export_list_put(&c->list, item, n);
    }
    vc_json_destroy(&json);
}

bool export_concepts_of(ExportConcepts *c, int64_t image_id, VcErr *err)
{
    bool row, ok;
    export_list_clear(&c->list);
    c->has_scores = false;
    vc_bind_int(c->mined, 1, image_id);
    while ((ok = vc_stmt_step(c->mined, &row, err)) && row) {
        const char *text = vc_column_text(c->mined, 0);
        c->scores = vc_grow(c->scores, &c->scores_cap, c->list.count + 1, sizeof *c->scores);
        c->scores[c->list.count] = vc_column_double(c->mined, 1);
        export_list_put(&c->list, text, strlen(text));
        c->has_scores = true;
    }
    if (!ok || c->list.count > 0 || !c->given)
        return ok;
    vc_bind_int(c->given, 1, image_id);
    ok = vc_stmt_step(c->given, &row, err);
    if (ok && row)
        use_given(c, vc_column_text(c->given, 0));
    vc_stmt_reset(c->given);
    return ok;
}

// --- rows

struct ConceptsRows {
    VcStmt *images, *captions;
    ExportConcepts concepts;
    ExportList texts;
};

bool concepts_rows_open(ConceptsRows **out, VcWorkspace *ws, const ConceptsSelection *o, VcErr *err)
{
    ConceptsRows *r = vc_calloc(1, sizeof *r);
    VcStr sql = {0};
    bool filtered;
    vc_str_put(&sql, "SELECT i.image_id, i.key, s.name, s.uri, i.width, i.height, i.row,"
                     " (SELECT name FROM split p WHERE p.image_id = i.image_id) FROM image i JOIN source s"
                     " USING(source_id) WHERE ");
    export_image_condition(o, &sql);
    vc_str_put(&sql, " ORDER BY i.image_id");
    bool ok =
        vc_db_prepare(ws->db, &r->images, sql.data, err) && export_bind_selection(ws, r->images, o, err) &&
        export_concepts_open(&r->concepts, ws, err) && export_has_table(ws, "caption_filter", &filtered, err) &&
        vc_db_prepare(ws->db, &r->captions,
                      filtered && !o->marked
                          ? "SELECT text FROM caption c WHERE image_id = ? AND NOT EXISTS(SELECT 1 FROM caption_filter"
                            " f WHERE f.caption_id = c.caption_id AND f.dropped) ORDER BY caption_id"
                          : "SELECT text FROM caption WHERE image_id = ? ORDER BY caption_id",
                      err);
    vc_str_finish(&sql);
    if (ok) {
        *out = r;
    } else {
        concepts_rows_close(&r);
    }
    return ok;
}

static bool read_captions(ConceptsRows *r, int64_t image_id, VcErr *err)
{
    bool row, ok;
    export_list_clear(&r->texts);
    vc_bind_int(r->captions, 1, image_id);
    while ((ok = vc_stmt_step(r->captions, &row, err)) && row) {
        const char *text = vc_column_text(r->captions, 0);
        export_list_put(&r->texts, text, strlen(text));
    }
    return ok;
}

bool concepts_rows_next(ConceptsRows *r, ConceptsRow *row, bool *more, VcErr *err)
{
    if (!vc_stmt_step(r->images, more, err))
        return false;
    if (!*more)
        return true;
    const int64_t image_id = vc_column_int(r->images, 0);
    if (!read_captions(r, image_id, err) || !export_concepts_of(&r->concepts, image_id, err))
        return false;
    *row = (ConceptsRow){.image_id = image_id,
                         .key = vc_column_text(r->images, 1),
                         .source = vc_column_text(r->images, 2),
                         .uri = vc_column_text(r->images, 3),
                         .width = vc_column_int(r->images, 4),
                         .height = vc_column_int(r->images, 5),
                         .vector_row = vc_column_is_null(r->images, 6) ? -1 : vc_column_int(r->images, 6),
                         .split = vc_column_text(r->images, 7),
                         .captions = export_list_items(&r->texts),
                         .caption_count = r->texts.count,
                         .concepts = export_list_items(&r->concepts.list),
                         .scores = r->concepts.has_scores ? r->concepts.scores : NULL,
                         .concept_count = r->concepts.list.count};
    return true;
}

void concepts_rows_close(ConceptsRows **rows)
{
    if (!rows || !*rows)
        return;
    ConceptsRows *r = *rows;
    vc_stmt_finish(&r->images);
    vc_stmt_finish(&r->captions);
    export_concepts_close(&r->concepts);
    export_list_finish(&r->texts);
    free(r);
    *rows = NULL;
}

void export_put_strings(VcStr *out, const char *const *items, size_t n)
{
    vc_str_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        vc_str_put(out, i ? ", " : "");
        vc_str_put_json(out, items[i], strlen(items[i]), false);
    }
    vc_str_putc(out, ']');
}

void export_put_scores(VcStr *out, const double *scores, size_t n)
{
    vc_str_putc(out, '[');
    for (size_t i = 0; i < n; i++)
        vc_str_putf(out, "%s%.6f", i ? ", " : "", scores[i]);
    vc_str_putc(out, ']');
}
