// SPDX-License-Identifier: MIT
#include "index/gather.h"

#include "base/mem.h"
#include "index/caption.h"
#include "index/reader.h"
#include "index/stage.h"

enum { MAX_CONCEPT_ID = 100000000, ZLIB_LEVEL = 6 };

struct Gather {
    VcWorkspace *ws;
    const Wordpiece *wp;
    GatherOptions options;
    ExtractReader *images;
    VcStmt *captions, *concepts;
    // Concept c has tokens token_end[c-1]..token_end[c]-1 and the quoted string json_end[c-1]..json_end[c]-1.
    size_t concept_count;
    size_t *token_end, *json_end;
    VcStr tokens, json;
    VcStr clean, ids, lens; // scratch
};

size_t gather_columns(const GatherOptions *o, const char *names[GATHER_MAX_COLUMNS],
                      const char *encodings[GATHER_MAX_COLUMNS])
{
    static const char *const all[][2] = {
        {"caption", "str"},
        {"caption_ids", "ndarray:int32"},
        {"caption_lens", "ndarray:int32"},
        {"captions", "json"},
        {"concept_ids", "ndarray:int32"},
        {"concept_lens", "ndarray:int32"},
        {"concept_scores", "ndarray:float32"},
        {"concept_tokens", "ndarray:int32"},
        {"concepts", "json"},
        {"image", "jpeg"},
        {"image_id", "int"},
        {"image_size", "ndarray:int32:2"},
        {"image_z", "bytes"},
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if ((strcmp(all[i][0], "captions") == 0 && !o->captions) || (strcmp(all[i][0], "image") == 0 && o->zlib) ||
            (strcmp(all[i][0], "image_z") == 0 && !o->zlib))
            continue;
        names[n] = all[i][0];
        encodings[n++] = all[i][1];
    }
    return n;
}

// Appends the ids of a concept string: not cleaned, no special tokens.
static void add_concept_tokens(Gather *g, const char *text, size_t n)
{
    int32_t ids[INDEX_MAX_TOKENS];
    size_t count = wordpiece_encode(g->wp, text, n, 0, ids, INDEX_MAX_TOKENS, NULL);
    vc_str_putn(&g->tokens, ids, count * sizeof *ids);
}

static bool load_concepts(Gather *g, VcErr *err)
{
    int64_t top;
    if (!vc_db_int(g->ws->db, "SELECT max(concept_id) FROM concept", -1, &top, err))
        return false;
    if (top > MAX_CONCEPT_ID)
        return vc_fail(err, VC_ERR_LIMIT, "concept_id %lld is over %d", (long long)top, (int)MAX_CONCEPT_ID);
    g->concept_count = (size_t)(top + 1);
    g->token_end = vc_calloc(g->concept_count + 1, sizeof *g->token_end);
    g->json_end = vc_calloc(g->concept_count + 1, sizeof *g->json_end);
    VcStmt *stmt;
    if (!vc_db_prepare(g->ws->db, &stmt, "SELECT concept_id, text FROM concept WHERE concept_id >= 0 ORDER BY 1", err))
        return false;
    bool row, ok;
    size_t next = 0;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        size_t id = (size_t)vc_column_int(stmt, 0);
        const char *text = vc_column_text(stmt, 1);
        for (; next < id; next++) { // ids that do not exist have nothing
            g->token_end[next] = g->tokens.len / sizeof(int32_t);
            g->json_end[next] = g->json.len;
        }
        add_concept_tokens(g, text, strlen(text));
        vc_str_put_json(&g->json, text, strlen(text), true);
        g->token_end[id] = g->tokens.len / sizeof(int32_t);
        g->json_end[id] = g->json.len;
        next = id + 1;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// Captions that 'vicha filter' marked are left out. A workspace that was never filtered has no such table.
static bool prepare_captions(Gather *g, VcErr *err)
{
    int64_t filtered;
    if (!vc_db_int(g->ws->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'caption_filter'", 0, &filtered, err))
        return false;
    const char *sql = "SELECT text FROM caption WHERE image_id = ?1 ORDER BY caption_id";
    if (filtered > 0) {
        sql = "SELECT text FROM caption c WHERE image_id = ?1 AND NOT EXISTS (SELECT 1 FROM caption_filter f"
              " WHERE f.caption_id = c.caption_id AND f.dropped) ORDER BY caption_id";
    }
    return vc_db_prepare(g->ws->db, &g->captions, sql, err);
}

bool gather_open(Gather **out, VcWorkspace *ws, const Wordpiece *wp, const GatherOptions *options, VcErr *err)
{
    Gather *g = vc_calloc(1, sizeof *g);
    g->ws = ws;
    g->wp = wp;
    g->options = *options;
    bool ok =
        extract_reader_open(&g->images, ws, err) && prepare_captions(g, err) &&
        vc_db_prepare(ws->db, &g->concepts,
                      "SELECT concept_id, score FROM image_concept WHERE image_id = ?1 ORDER BY rank LIMIT ?2", err) &&
        load_concepts(g, err) && (!options->zlib || extract_image_init(err));
    if (ok) {
        *out = g;
    } else {
        gather_close(&g);
    }
    return ok;
}

void gather_close(Gather **gather)
{
    if (gather == NULL || *gather == NULL)
        return;
    Gather *g = *gather;
    extract_reader_close(&g->images);
    vc_stmt_finish(&g->captions);
    vc_stmt_finish(&g->concepts);
    free(g->token_end);
    free(g->json_end);
    vc_str_finish(&g->tokens);
    vc_str_finish(&g->json);
    vc_str_finish(&g->clean);
    vc_str_finish(&g->ids);
    vc_str_finish(&g->lens);
    free(g);
    *gather = NULL;
}

// Cleans, tokenises and appends one caption. One that is empty after the clean-up says nothing and is left out.
static void add_caption(Gather *g, GatherRow *row, const char *text, size_t n)
{
    vc_str_clear(&g->clean);
    index_clean_caption(&g->clean, text, n, INDEX_CAPTION_WORDS);
    int32_t ids[INDEX_MAX_TOKENS];
    size_t whole;
    size_t count =
        wordpiece_encode(g->wp, vc_str_get(&g->clean), g->clean.len, WORDPIECE_ADD_CLS, ids, INDEX_MAX_TOKENS, &whole);
    if (count <= 1)
        return;
    int32_t length = (int32_t)count;
    vc_str_putn(&g->ids, ids, count * sizeof *ids);
    vc_str_putn(&g->lens, &length, sizeof length);
    vc_str_put(&row->captions, row->captions.len == 0 ? "[" : ", ");
    vc_str_put_json(&row->captions, text, n, true);
    if (row->caption.len == 0)
        vc_utf8_repair(&row->caption, text, n);
    row->tokens += count;
    row->cut += whole > count;
}

static bool read_captions(Gather *g, GatherRow *row, VcErr *err)
{
    bool more, ok;
    vc_str_clear(&g->ids);
    vc_str_clear(&g->lens);
    vc_bind_int(g->captions, 1, row->image_id);
    while ((ok = vc_stmt_step(g->captions, &more, err)) && more) {
        const char *text = vc_column_text(g->captions, 0);
        add_caption(g, row, text, strlen(text));
    }
    vc_stmt_reset(g->captions);
    if (!ok)
        return false;
    vc_str_putc(&row->captions, ']');
    if (g->lens.len == 0)
        row->state = GATHER_NO_CAPTION;
    mds_put_array(&row->caption_ids, MDS_I32, g->ids.data, g->ids.len / 4);
    mds_put_array(&row->caption_lens, MDS_I32, g->lens.data, g->lens.len / 4);
    return true;
}

static bool read_concepts(Gather *g, GatherRow *row, VcErr *err)
{
    VcStr ids = {0}, scores = {0}, lens = {0}, tokens = {0};
    bool more, ok;
    vc_bind_int(g->concepts, 1, row->image_id);
    vc_bind_int(g->concepts, 2, g->options.max_concepts);
    while ((ok = vc_stmt_step(g->concepts, &more, err)) && more) {
        int64_t id = vc_column_int(g->concepts, 0);
        if (id < 0 || (uint64_t)id >= g->concept_count) {
            ok = vc_fail(err, VC_ERR_FORMAT,
                         "image %lld has concept %lld, which is not in table concept: run 'vicha "
                         "concepts mine' again",
                         (long long)row->image_id, (long long)id);
            break;
        }
        size_t begin = id > 0 ? g->token_end[id - 1] : 0, quoted = id > 0 ? g->json_end[id - 1] : 0;
        int32_t id32 = (int32_t)id, length = (int32_t)(g->token_end[id] - begin);
        float score = (float)((double)vc_column_int(g->concepts, 1) / 32767.0);
        vc_str_putn(&ids, &id32, sizeof id32);
        vc_str_putn(&lens, &length, sizeof length);
        vc_str_putn(&scores, &score, sizeof score);
        vc_str_putn(&tokens, vc_str_get(&g->tokens) + 4 * begin, 4 * (size_t)length);
        vc_str_put(&row->concepts, row->concepts.len == 0 ? "[" : ", ");
        vc_str_putn(&row->concepts, vc_str_get(&g->json) + quoted, g->json_end[id] - quoted);
    }
    vc_stmt_reset(g->concepts);
    vc_str_put(&row->concepts, row->concepts.len == 0 ? "[]" : "]");
    if (ok && ids.len == 0 && g->options.max_concepts > 0 && row->state == GATHER_OK)
        row->state = GATHER_NO_CONCEPTS;
    mds_put_array(&row->concept_ids, MDS_I32, ids.data, ids.len / 4);
    mds_put_array(&row->concept_lens, MDS_I32, lens.data, lens.len / 4);
    mds_put_array(&row->concept_scores, MDS_F32, scores.data, scores.len / 4);
    mds_put_array(&row->concept_tokens, MDS_I32, tokens.data, tokens.len / 4);
    vc_str_finish(&ids);
    vc_str_finish(&lens);
    vc_str_finish(&scores);
    vc_str_finish(&tokens);
    return ok;
}

static void set_unreadable(GatherRow *row, const VcErr *why)
{
    row->state = GATHER_UNREADABLE;
    snprintf(row->reason, sizeof row->reason, "index: %.290s", why->text);
}

static void row_strings(GatherRow *row, VcStr *out[10])
{
    VcStr *all[10] = {&row->caption,     &row->captions,     &row->caption_ids,    &row->caption_lens,
                      &row->concept_ids, &row->concept_lens, &row->concept_scores, &row->concept_tokens,
                      &row->concepts,    &row->image_z};
    memcpy(out, all, sizeof all);
}

bool gather_row(Gather *g, int64_t image_id, int64_t width, int64_t height, GatherRow *row, VcErr *err)
{
    VcStr *strings[10];
    row_strings(row, strings);
    for (size_t i = 0; i < 10; i++)
        vc_str_clear(strings[i]);
    free(row->image);
    row->image = NULL;
    row->image_bytes = 0;
    row->image_id = image_id;
    row->state = GATHER_OK;
    row->tokens = row->cut = 0;
    row->size[0] = (int32_t)(width > 0 && width <= INT32_MAX ? width : 0);
    row->size[1] = (int32_t)(height > 0 && height <= INT32_MAX ? height : 0);
    if (!read_captions(g, row, err) || !read_concepts(g, row, err))
        return false;
    VcErr why;
    if (row->state == GATHER_OK && !extract_reader_read(g->images, image_id, &row->image, &row->image_bytes, &why)) {
        row->image = NULL;
        set_unreadable(row, &why);
    }
    return true;
}

static void pack_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    GatherRow *rows = ctx;
    for (size_t i = begin; i < end; i++) {
        GatherRow *row = &rows[i];
        ExtractImage image = {0}, rgb = {0};
        VcErr why;
        if (row->state != GATHER_OK)
            continue;
        if (!extract_image_decode(&image, row->image, row->image_bytes, &why)) {
            set_unreadable(row, &why);
            continue;
        }
        extract_image_drop(&rgb, &image);
        if (!index_image_z_put(&row->image_z, rgb.pixels, (uint32_t)rgb.width, (uint32_t)rgb.height, 3, ZLIB_LEVEL,
                               &why))
            set_unreadable(row, &why);
        extract_image_finish(&rgb);
        extract_image_finish(&image);
    }
}

void gather_pack_images(const Gather *g, VcPool *pool, GatherRow *rows, size_t n)
{
    if (g->options.zlib)
        vc_parallel_for(pool, n, 4, pack_chunk, rows);
}

static MdsField view(const VcStr *s)
{
    return (MdsField){(const uint8_t *)vc_str_get(s), s->len};
}

void gather_fields(const Gather *g, const GatherRow *row, MdsField fields[GATHER_MAX_COLUMNS])
{
    size_t n = 0;
    fields[n++] = view(&row->caption);
    fields[n++] = view(&row->caption_ids);
    fields[n++] = view(&row->caption_lens);
    if (g->options.captions)
        fields[n++] = view(&row->captions);
    fields[n++] = view(&row->concept_ids);
    fields[n++] = view(&row->concept_lens);
    fields[n++] = view(&row->concept_scores);
    fields[n++] = view(&row->concept_tokens);
    fields[n++] = view(&row->concepts);
    if (!g->options.zlib)
        fields[n++] = (MdsField){row->image, row->image_bytes};
    fields[n++] = (MdsField){(const uint8_t *)&row->image_id, sizeof row->image_id};
    fields[n++] = (MdsField){(const uint8_t *)row->size, sizeof row->size};
    if (g->options.zlib)
        fields[n++] = view(&row->image_z);
}

void gather_row_finish(GatherRow *row)
{
    VcStr *strings[10];
    row_strings(row, strings);
    for (size_t i = 0; i < 10; i++)
        vc_str_finish(strings[i]);
    free(row->image);
    *row = (GatherRow){0};
}
