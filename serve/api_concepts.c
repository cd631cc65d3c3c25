// SPDX-License-Identifier: MIT
// /api/concepts (completion and the list) and /api/concept.
#include "serve/internal.h"

#include "concepts/concepts.h"

#include <math.h>

enum { BINS = 24, PAIRS = 40, PAIR_SAMPLE = 20000 };

// ?prefix=: completion. Else the list, by number of images or by text.
bool serve_get_concepts(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                        VcErr *err)
{
    (void)ctx;
    int64_t limit, offset;
    const char *prefix = serve_arg(request, "prefix"), *sort = serve_arg(request, "sort");
    if (!serve_arg_int(request, "limit", 1, SERVE_MAX_PAGE, 20, &limit, err) ||
        !serve_arg_int(request, "offset", 0, INT32_MAX, 0, &offset, err))
        return false;
    VcStr *out = &reply->body;
    vc_str_put(out, "{\"concepts\": [");
    bool ok = true;
    if (prefix && *prefix) {
        QueryPage page = {0};
        ok = query_complete(worker->engine, prefix, (size_t)limit, &page, err);
        for (size_t i = 0; ok && i < page.hits[0].concept_count; i++) {
            serve_json_key(out, NULL);
            vc_str_putc(out, '{');
            serve_json_text(out, "text", page.hits[0].concepts[i].text);
            serve_json_int(out, "images", (int64_t)page.hits[0].concepts[i].score);
            vc_str_putc(out, '}');
        }
        query_page_finish(&page);
    } else {
        const char *sql = sort && strcmp(sort, "text") == 0
                              ? "SELECT text, freq, images, score_mean, score_max FROM v_concept WHERE NOT removed"
                                " ORDER BY text LIMIT ?1 OFFSET ?2"
                              : "SELECT text, freq, images, score_mean, score_max FROM v_concept WHERE NOT removed"
                                " ORDER BY images DESC, freq DESC, text LIMIT ?1 OFFSET ?2";
        VcStmt *stmt = NULL;
        bool row = true;
        ok = vc_db_prepare(query_engine_workspace(worker->engine)->db, &stmt, sql, err);
        if (ok) {
            vc_bind_int(stmt, 1, limit);
            vc_bind_int(stmt, 2, offset);
        }
        while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
            serve_json_key(out, NULL);
            vc_str_putc(out, '{');
            serve_json_text(out, "text", vc_column_text(stmt, 0));
            serve_json_int(out, "in_captions", vc_column_int(stmt, 1));
            serve_json_int(out, "images", vc_column_int(stmt, 2));
            serve_json_real(out, "score_mean", vc_column_is_null(stmt, 3) ? NAN : vc_column_double(stmt, 3));
            serve_json_real(out, "score_max", vc_column_is_null(stmt, 4) ? NAN : vc_column_double(stmt, 4));
            vc_str_putc(out, '}');
        }
        vc_stmt_finish(&stmt);
    }
    vc_str_put(out, "]}\n");
    return ok;
}

// Scores of one concept in BINS equal steps between its lowest and highest.
static bool put_histogram(VcStr *out, QueryEngine *engine, int64_t id, VcErr *err)
{
    double low, high;
    int64_t bins[BINS];
    if (!query_concept_scores(engine, id, &low, &high, bins, BINS, err))
        return false;
    serve_json_real(out, "score_low", low);
    serve_json_real(out, "score_high", high);
    serve_json_key(out, "histogram");
    vc_str_putc(out, '[');
    for (size_t i = 0; i < BINS; i++)
        serve_json_int(out, NULL, bins[i]);
    vc_str_putc(out, ']');
    return true;
}

// Where concept_pair has the concept: all of its images are counted there. Else its PAIR_SAMPLE best ones.
static const char kept_pairs[] =
    "SELECT c.text, p.images, t.images FROM concept_pair p JOIN concept c ON c.concept_id = p.b"
    " LEFT JOIN concept_stat t ON t.concept_id = p.b WHERE p.a = ?1 ORDER BY p.images DESC, c.text LIMIT ?3";
static const char counted_pairs[] =
    "WITH a AS (SELECT image_id FROM image_concept WHERE concept_id = ?1 ORDER BY score DESC"
    " LIMIT ?2) SELECT c.text, count(*) AS n, t.images FROM a CROSS JOIN image_concept b"
    " ON b.image_id = a.image_id JOIN concept c ON c.concept_id = b.concept_id"
    " LEFT JOIN concept_stat t ON t.concept_id = b.concept_id WHERE b.concept_id <> ?1"
    " GROUP BY b.concept_id ORDER BY n DESC, c.text LIMIT ?3";

// Concepts of the same images: how many, and the pointwise mutual information log2(p(a, b) / (p(a) p(b))), with p(b |
// a) from the images that were counted and p(b) from all mined ones.
static bool put_pairs(VcStr *out, VcDb *db, int64_t id, VcErr *err)
{
    int64_t images, mined, kept;
    if (!serve_db_int(db, "SELECT images FROM concept_stat WHERE concept_id = ?1", id, 0, &images, err) ||
        !vc_db_int(db, "SELECT sum(as_rank0) FROM concept_stat", 0, &mined, err) ||
        !serve_db_int(db, "SELECT 1 FROM concept_pair WHERE a = ?1 LIMIT 1", id, 0, &kept, err))
        return false;
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, kept ? kept_pairs : counted_pairs, err))
        return false;
    vc_bind_int(stmt, 1, id);
    vc_bind_int(stmt, 2, PAIR_SAMPLE);
    vc_bind_int(stmt, 3, PAIRS);
    double sample = (double)(kept || images < PAIR_SAMPLE ? images : PAIR_SAMPLE);
    bool row = true, ok = true;
    serve_json_key(out, "together");
    vc_str_putc(out, '[');
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        double n = (double)vc_column_int(stmt, 1), other = (double)vc_column_int(stmt, 2);
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, "text", vc_column_text(stmt, 0));
        serve_json_int(out, "images", (int64_t)n);
        serve_json_real(out, "share", sample > 0 ? n / sample : NAN);
        serve_json_real(out, "pmi", log2(n / sample * (double)mined / other));
        vc_str_putc(out, '}');
    }
    vc_str_putc(out, ']');
    vc_stmt_finish(&stmt);
    serve_json_int(out, "together_sample", (int64_t)sample);
    return ok;
}

static bool put_numbers(VcStr *out, VcDb *db, int64_t id, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt,
                       "SELECT text, freq, pos, images, score_mean, score_max, as_rank0 FROM v_concept"
                       " WHERE concept_id = ?1",
                       err))
        return false;
    vc_bind_int(stmt, 1, id);
    bool row, ok = vc_stmt_step(stmt, &row, err);
    if (ok && row) {
        serve_json_text(out, "text", vc_column_text(stmt, 0));
        serve_json_int(out, "in_captions", vc_column_int(stmt, 1));
        serve_json_text(out, "pos", vc_column_text(stmt, 2));
        serve_json_int(out, "images", vc_column_int(stmt, 3));
        serve_json_real(out, "score_mean", vc_column_double(stmt, 4));
        serve_json_real(out, "score_max", vc_column_double(stmt, 5));
        serve_json_int(out, "as_first", vc_column_int(stmt, 6));
    }
    vc_stmt_finish(&stmt);
    return ok;
}

bool serve_get_concept(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                       VcErr *err)
{
    (void)ctx;
    const char *text = serve_arg(request, "text");
    VcWorkspace *ws = query_engine_workspace(worker->engine);
    int64_t id;
    if (!text || !*text)
        return vc_fail(err, VC_ERR_USAGE, "say which concept: /api/concept?text=WORDS");
    if (!search_find_concept(ws, text, &id, err)) {
        reply->status = err->code == VC_ERR_USAGE ? 404 : 500;
        return false;
    }
    VcStr *out = &reply->body;
    vc_str_putc(out, '{');
    bool ok = put_numbers(out, ws->db, id, err) && put_histogram(out, worker->engine, id, err) &&
              put_pairs(out, ws->db, id, err);
    vc_str_put(out, "}\n");
    return ok;
}
