// SPDX-License-Identifier: MIT
#include "concepts/embed_images.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "concepts/clip_stream.h"
#include "concepts/vectors.h"
#include "extract/extract.h"

enum {
    IDS = 1024,       // read from the database at once
    COMMIT_ROWS = 128 // images between two commits, or COMMIT_SECONDS
};
static const double COMMIT_SECONDS = 5;

// An image that is done: its state is committed with the vectors.
typedef struct {
    int64_t id;
    bool good;
    VcErr err; // of a bad one
} Done;

typedef struct {
    VcWorkspace *ws;
    const ConceptsModel *model;
    const ConceptsEmbedOptions *options;
    ConceptsEmbedReport *report;
    ExtractReader **readers; // one a thread
    ClipStream *stream;
    ClipStreamItem *items; // [piece]
    VectorsWriter *writer;
    // Ids that wait for room in the stream: ids[at..n) of table image_file, which is read through to `last`.
    int64_t ids[IDS], last;
    size_t at, n;
    bool all_read;
    Done *done; // since the last commit
    size_t done_count, done_cap;
    double last_commit;
    size_t good, wild; // encoded, without a finite vector
} Images;

static bool read_bytes(void *ctx, size_t worker, int64_t id, uint8_t **bytes, size_t *n, VcErr *err)
{
    const Images *x = ctx;
    return extract_reader_read(x->readers[worker], id, bytes, n, err);
}

static bool read_ids(Images *x, VcErr *err)
{
    VcStmt *stmt = NULL;
    x->at = x->n = 0;
    bool row = true, ok = vc_db_prepare(x->ws->db, &stmt,
                                        "SELECT f.image_id FROM image_file f CROSS JOIN image i USING(image_id)"
                                        " WHERE f.image_id > ?1 AND i.row IS NULL AND i.status >= 0"
                                        " ORDER BY f.image_id LIMIT ?2",
                                        err);
    if (ok) {
        vc_bind_int(stmt, 1, x->last);
        vc_bind_int(stmt, 2, IDS);
    }
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        x->ids[x->n++] = vc_column_int(stmt, 0);
    vc_stmt_finish(&stmt);
    x->all_read = ok && x->n == 0;
    if (x->n > 0)
        x->last = x->ids[x->n - 1];
    return ok;
}

// Puts pictures into the stream as long as there is room for them.
static bool feed(Images *x, VcErr *err)
{
    for (;;) {
        if (x->at == x->n && !x->all_read && !read_ids(x, err))
            return false;
        const size_t left = x->n - x->at, piece = clip_stream_piece(x->stream), n = left < piece ? left : piece;
        if (n == 0 || !clip_stream_put(x->stream, x->ids + x->at, n))
            return true;
        x->at += n;
    }
}

// Vectors first and safe, then the rows that speak of them, in one transaction.
static bool commit(Images *x, VcErr *err)
{
    const double start = vc_now();
    uint64_t rows;
    VcStmt *good = NULL, *bad = NULL;
    int64_t first;
    VcDb *db = x->ws->db;
    bool ok = concepts_vector_rows(x->ws, x->model->model_id, "image", &first, err) &&
              vectors_writer_sync(x->writer, &rows, err) && vc_db_begin(db, err) &&
              vc_db_prepare(db, &good, "UPDATE image SET row = ?2, status = 1 WHERE image_id = ?1", err) &&
              vc_db_prepare(db, &bad, "UPDATE image SET status = ?2, error = ?3 WHERE image_id = ?1", err);
    for (size_t i = 0; ok && i < x->done_count; i++) {
        const Done *done = &x->done[i];
        VcStmt *stmt = done->good ? good : bad;
        vc_bind_int(stmt, 1, done->id);
        vc_bind_int(stmt, 2, done->good ? first++ : EXTRACT_CORRUPT);
        if (!done->good)
            vc_bind_text(stmt, 3, done->err.text);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&good);
    vc_stmt_finish(&bad);
    ok = ok && concepts_put_rows(x->ws, x->model, "image", rows, err) && vc_db_commit(db, err);
    if (!ok)
        vc_db_rollback(db);
    for (size_t i = 0; ok && i < x->done_count; i++) {
        x->report->images += x->done[i].good;
        x->report->rejected += !x->done[i].good;
    }
    x->done_count = 0;
    x->last_commit = vc_now();
    x->report->commit_seconds += x->last_commit - start;
    return ok;
}

// A damaged image is data: it is marked. A shard that cannot be read, a full disk, a damaged model stop the stage.
static bool keep(Images *x, const ClipStreamItem *item, VcErr *err)
{
    x->done = vc_grow(x->done, &x->done_cap, x->done_count + 1, sizeof *x->done);
    Done *done = &x->done[x->done_count];
    *done = (Done){.id = item->id, .good = item->vector != NULL};
    if (!done->good) {
        done->err = *item->err;
    } else {
        x->good++;
        done->good = vectors_writer_append(x->writer, item->vector, 1, &done->err);
        x->wild += !done->good;
    }
    if (!done->good && done->err.code != VC_ERR_FORMAT && done->err.code != VC_ERR_LIMIT) {
        *err = done->err;
        return vc_prefix(err, "image %lld", (long long)item->id);
    }
    x->done_count++;
    return true;
}

// A model all of whose first vectors are no numbers: the images are not to blame.
static bool check_model(const Images *x, VcErr *err)
{
    return x->good < 2 || x->wild < x->good ||
           vc_fail(err, VC_ERR_FORMAT,
                   "model '%s' gives no finite vector for any of the first %zu images: its weights are damaged",
                   x->options->model, x->good);
}

static bool run(Images *x, VcProgress *progress, VcErr *err)
{
    bool ok = true;
    x->last_commit = vc_now();
    x->last = INT64_MIN;
    for (size_t n = 1; ok && n > 0;) {
        ok = feed(x, err);
        n = ok ? clip_stream_next(x->stream, x->items) : 0;
        const size_t before = x->done_count;
        size_t failed = 0;
        for (size_t i = 0; ok && i < n; i++)
            ok = keep(x, &x->items[i], err);
        for (size_t i = before; ok && i < x->done_count; i++)
            failed += !x->done[i].good;
        if (ok)
            vc_progress_add(progress, n, failed);
        if (ok && (x->done_count >= COMMIT_ROWS || vc_now() - x->last_commit > COMMIT_SECONDS))
            ok = check_model(x, err) && commit(x, err);
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    ok = ok && check_model(x, err);
    // What was finished is kept, also after Ctrl-C.
    if (x->done_count && (ok || err->code == VC_ERR_CANCELLED)) {
        VcErr second = {0};
        if (!commit(x, &second) && ok) {
            *err = second;
            ok = false;
        }
    }
    return ok;
}

static bool embed(Images *x, const ClipModel *clip, int64_t total, VcErr *err)
{
    const size_t threads = vc_pool_threads(x->options->pool);
    int64_t rows;
    x->readers = vc_calloc(threads, sizeof(ExtractReader *));
    bool ok = concepts_open_writer(x->ws, x->model, "image", &x->writer, &rows, err);
    for (size_t i = 0; ok && i < threads; i++)
        ok = extract_reader_open(&x->readers[i], x->ws, err);
    const ClipStreamOptions how = {.model = clip,
                                   .how = x->options->exact
                                              ? clip_preprocess_of(clip)
                                              : clip_preprocess_at(clip, clip_precision(clip, CLIP_IMAGES)),
                                   .threads = threads,
                                   .batch = x->options->batch,
                                   .expected = (uint64_t)total,
                                   .read = read_bytes,
                                   .ctx = x};
    ok = ok && clip_stream_open(&x->stream, &how, err);
    if (ok) {
        x->items = vc_calloc(clip_stream_piece(x->stream), sizeof *x->items);
        VcProgress *progress = vc_progress_begin("embed", "images", (uint64_t)total);
        ok = run(x, progress, err);
        vc_progress_end(&progress);
        const ClipStreamTimes times = clip_stream_times(x->stream);
        x->report->read_seconds = times.read_seconds / (double)threads;
        x->report->encode_seconds = times.encode_seconds / (double)threads;
    }
    clip_stream_close(&x->stream);
    for (size_t i = 0; i < threads; i++)
        extract_reader_close(&x->readers[i]);
    vectors_writer_close(&x->writer);
    free(x->readers);
    free(x->items);
    free(x->done);
    return ok;
}

bool concepts_embed_images(VcWorkspace *ws, const ClipModel *clip, const ConceptsModel *model,
                           const ConceptsEmbedOptions *options, ConceptsEmbedReport *report, VcErr *err)
{
    const double start = vc_now();
    int64_t total;
    if (!vc_db_int(ws->db,
                   "SELECT count(*) FROM image_file JOIN image USING(image_id) WHERE row IS NULL AND status >= 0", 0,
                   &total, err))
        return false;
    Images x = {.ws = ws, .model = model, .options = options, .report = report};
    const bool ok = total == 0 || embed(&x, clip, total, err);
    report->image_seconds = vc_now() - start;
    return ok && vc_db_int(ws->db, "SELECT count(*) FROM image WHERE row IS NOT NULL", 0, &report->images_total, err);
}
