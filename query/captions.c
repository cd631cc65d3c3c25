// SPDX-License-Identifier: MIT
// From captions to images. The full-text index knows numbers of captions; looking up the image of each costs eight
// times what finding it does, so where many match, an array of all captions is read once.
#include "query/private.h"

enum {
    MAP_FROM = 20000,   // hits from which the array pays
    MAP_MOST = 4 << 20, // captions it may have: 16 MiB
};

void query_captions_finish(EngineState *s)
{
    free(s->captions.images);
    free(s->last_captions.words);
    free(s->last_captions.hits);
    s->captions = (CaptionMap){0};
    s->last_captions = (CaptionList){0};
}

int64_t query_caption_image(const CaptionMap *map, int64_t caption_id)
{
    return caption_id >= 0 && (size_t)caption_id < map->count ? (int64_t)map->images[caption_id] : -1;
}

bool query_count_captions(QueryEngine *engine, const char *words, int64_t most, int64_t *count, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = false,
         ok = vc_db_prepare(engine->ws.db, &stmt,
                            "SELECT count(*) FROM (SELECT 1 FROM caption_fts f WHERE f.text MATCH ?1 LIMIT ?2)", err);
    if (ok) {
        vc_bind_text(stmt, 1, words);
        vc_bind_int(stmt, 2, most);
        ok = vc_stmt_step(stmt, &row, err);
    }
    *count = ok && row ? vc_column_int(stmt, 0) : 0;
    vc_stmt_finish(&stmt);
    return ok;
}

static bool read_map(QueryEngine *engine, CaptionMap *map, VcErr *err)
{
    int64_t captions, images;
    if (!vc_db_int(engine->ws.db, "SELECT max(caption_id) FROM caption", 0, &captions, err) ||
        !vc_db_int(engine->ws.db, "SELECT max(image_id) FROM image", 0, &images, err))
        return false;
    map->tried = true;
    if (captions >= MAP_MOST || images >= UINT32_MAX)
        return true;
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(engine->ws.db, &stmt, "SELECT caption_id, image_id FROM caption", err);
    uint32_t *list = vc_calloc((size_t)captions + 1, sizeof *list);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t at = vc_column_int(stmt, 0);
        if (at >= 0 && at <= captions)
            list[at] = (uint32_t)vc_column_int(stmt, 1);
    }
    vc_stmt_finish(&stmt);
    if (ok) {
        map->images = list;
        map->count = (size_t)captions + 1;
    } else {
        free(list);
    }
    return ok;
}

bool query_warm_captions(QueryEngine *engine, VcErr *err)
{
    int64_t captions;
    if (engine->state.captions.tried || !engine->state.captions_indexed)
        return true;
    return vc_db_int(engine->ws.db, "SELECT max(caption_id) FROM caption", 0, &captions, err) &&
           (captions < MAP_FROM || read_map(engine, &engine->state.captions, err));
}

bool query_caption_map(QueryEngine *engine, const char *words, const CaptionMap **out, VcErr *err)
{
    CaptionMap *map = &engine->state.captions;
    int64_t count;
    if (!map->tried) {
        if (!query_count_captions(engine, words, MAP_FROM, &count, err) ||
            (count == MAP_FROM && !read_map(engine, map, err)))
            return false;
    }
    *out = map->images ? map : NULL;
    return true;
}

// All images with a matching caption, in the order of the first one that does.
static bool read_list(Question *q, const char *words, CaptionList *list)
{
    const CaptionMap *map;
    VcStmt *stmt = NULL;
    int64_t images;
    if (!query_caption_map(q->engine, words, &map, q->err))
        return query_explain_caption(q->err, words);
    if (!vc_db_int(q->engine->ws.db, "SELECT max(image_id) FROM image", 0, &images, q->err))
        return false;
    bool row = true, ok = vc_db_prepare(q->engine->ws.db, &stmt,
                                        map ? "SELECT f.rowid FROM caption_fts f WHERE f.text MATCH ?1 ORDER BY f.rowid"
                                            : "SELECT f.rowid, c.image_id FROM caption_fts f CROSS JOIN caption c"
                                              " ON c.caption_id = f.rowid WHERE f.text MATCH ?1 ORDER BY f.rowid",
                                        q->err);
    if (ok)
        vc_bind_text(stmt, 1, words);
    RowSet seen = query_set_create(images > 0 ? (size_t)images + 1 : 1); // by image_id
    size_t cap = 0;
    while (ok && (ok = query_words_step(q, stmt, &row)) && row) {
        const int64_t caption = vc_column_int(stmt, 0);
        const int64_t image = map ? query_caption_image(map, caption) : vc_column_int(stmt, 1);
        if (image < 0 || (size_t)image >= seen.rows || (seen.words[image / 64] >> (image % 64) & 1))
            continue;
        seen.words[image / 64] |= UINT64_C(1) << (image % 64);
        list->hits = vc_grow(list->hits, &cap, list->count + 1, sizeof *list->hits);
        list->hits[list->count++] = (CaptionHit){caption, image};
    }
    vc_stmt_finish(&stmt);
    query_set_finish(&seen);
    return ok;
}

bool query_caption_list(Question *q, const CaptionList **out)
{
    const char *words = q->request->filter.captions.items[0];
    CaptionList *last = &q->engine->state.last_captions;
    *out = last;
    if (last->words && strcmp(last->words, words) == 0)
        return true;
    free(last->words);
    free(last->hits);
    *last = (CaptionList){0};
    double start = vc_now();
    if (!read_list(q, words, last)) {
        free(last->hits);
        *last = (CaptionList){0};
        return false;
    }
    last->words = vc_strdup(words);
    query_part(q, start, (int64_t)last->count, "list of images whose caption matches");
    return true;
}
