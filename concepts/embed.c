// SPDX-License-Identifier: MIT
#include "concepts/embed.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "concepts/clip.h"
#include "concepts/embed_precision.h"
#include "concepts/index_vectors.h"
#include "concepts/store.h"
#include "concepts/vectors.h"
#include "extract/extract.h"
#include "nn/nn.h"

#include <math.h>

enum {
    TEXTS = 512,      // concepts encoded at once
    COMMIT_ROWS = 128 // images between two commits, or COMMIT_SECONDS
};
static const double COMMIT_SECONDS = 5;

typedef struct {
    VcWorkspace *ws;
    const ConceptsEmbedOptions *options;
    ConceptsEmbedReport *report;
    ClipModel *model;
    ConceptsModel row; // of table model
    size_t dim, cut;   // cut: concepts longer than the model's context
} Stage;

// --- the model -------------------------------------------------------------------------------------------------------

static bool hash_file(VcSha256 *sha, const char *path, VcErr *err)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return vc_fail_errno(err, "cannot open '%s'", path);
    size_t n, cap = 1 << 20;
    uint8_t *buffer = vc_alloc(cap, 1);
    while ((n = fread(buffer, 1, cap, f)) > 0)
        vc_sha256_add(sha, buffer, n);
    bool ok = !ferror(f) || vc_fail_errno(err, "cannot read '%s'", path);
    fclose(f);
    free(buffer);
    return ok;
}

bool concepts_hash_model(const char *dir, uint8_t out[32], VcErr *err)
{
    VcFileList files;
    if (!vc_list_files(&files, dir, err))
        return false;
    VcSha256 *sha = vc_sha256_begin();
    bool ok = true, any = false;
    const char *wanted[] = {"model.safetensors", "open_clip_model.safetensors"};
    for (int w = 0; w < 2 && !any; w++) {
        char *path = vc_path_join(dir, wanted[w]);
        any = vc_exists(path);
        ok = !any || hash_file(sha, path, err);
        free(path);
    }
    for (size_t i = 0; !any && ok && i < files.count; i++) {
        if (vc_has_suffix(files.paths[i], ".safetensors") && !strchr(files.paths[i], '/')) {
            char *path = vc_path_join(dir, files.paths[i]);
            ok = hash_file(sha, path, err);
            free(path);
        }
    }
    vc_sha256_end(&sha, out);
    vc_file_list_finish(&files);
    return ok;
}

// "openai/clip-vit-base-patch16" and "/models/b16/" become a file name: letters, digits, '.', '_', '-'.
static char *model_name(const char *given)
{
    char *name = vc_is_directory(given) ? realpath(given, NULL) : vc_strdup(given);
    char *base = vc_strdup(vc_is_directory(given) && name ? vc_path_base(name) : given);
    free(name);
    for (char *p = base; *p; p++) {
        if (!((*p | 32) >= 'a' && (*p | 32) <= 'z') && !(*p >= '0' && *p <= '9') && *p != '.' && *p != '_')
            *p = '-';
    }
    return base;
}

static bool insert_model(Stage *s, const char *name, const uint8_t sha[32], VcErr *err)
{
    VcStmt *stmt = NULL;
    VcStr how = {0};
    const ClipInfo *info = clip_info(s->model);
    vc_str_putf(&how, "{\"layout\": \"%s\", \"image_size\": %zu, \"resize\": \"bicubic\"}",
                info->layout == CLIP_LAYOUT_HF ? "hf" : "openclip", info->image_size);
    bool ok = vc_db_prepare(s->ws->db, &stmt,
                            "INSERT INTO model(name, dim, weights_sha256, preprocess) VALUES(?1, ?2, ?3, ?4)"
                            " ON CONFLICT DO NOTHING",
                            err);
    if (ok) {
        vc_bind_text(stmt, 1, name);
        vc_bind_int(stmt, 2, (int64_t)s->dim);
        vc_bind_blob(stmt, 3, sha, 32);
        vc_bind_text(stmt, 4, how.data);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&how);
    return ok;
}

static bool forget_vectors(VcWorkspace *ws, VcErr *err)
{
    return vc_db_begin(ws->db, err) &&
           vc_db_exec(
               ws->db,
               "DELETE FROM image_concept; DELETE FROM concept_stat; DELETE FROM concept_pair;"
               "DELETE FROM vector_file; UPDATE image SET row = NULL; UPDATE image SET status = 0 WHERE status > 0;"
               "DELETE FROM meta WHERE key IN ('active_run', 'active_model', 'active_model_path', 'embed_precision')",
               err) &&
           vc_db_commit(ws->db, err);
}

// The active model stays one: its row, its path for later text queries. Another one is refused or takes over.
static bool choose_model(Stage *s, VcErr *err)
{
    char *dir = NULL, *name = model_name(s->options->model);
    uint8_t sha[32];
    ConceptsModel active = {0};
    bool ok = clip_find(&dir, s->options->model, err) && concepts_hash_model(dir, sha, err) &&
              concepts_active_model(s->ws, &active, err);
    bool other = false; // --replace with the same model: another precision
    if (ok && active.model_id >= 0 && s->options->replace)
        ok = concepts_other_precision(s->ws, s->options, &other, err);
    if (ok && active.model_id >= 0 && (other || memcmp(active.sha256, sha, 32) != 0)) {
        if (s->options->replace) {
            ok = forget_vectors(s->ws, err);
        } else {
            ok = vc_fail(err, VC_ERR_USAGE,
                         "the vectors of this workspace were made by model '%s'; '%s' has other weights. One workspace "
                         "has one model: use another workspace, or embed everything again with --replace",
                         active.name, s->options->model);
        }
    } else if (ok && active.model_id >= 0) {
        free(name); // the files keep the name they were made under
        name = vc_strdup(active.name);
    }
    char *path = ok ? realpath(dir, NULL) : NULL;
    ok = ok && insert_model(s, name, sha, err) && concepts_find_model(s->ws, name, sha, &s->row, err);
    if (ok) {
        char id[32];
        snprintf(id, sizeof id, "%lld", (long long)s->row.model_id);
        ok = vc_meta_set(s->ws, "active_model", id, err) &&
             vc_meta_set(s->ws, "active_model_path", path ? path : dir, err);
    }
    concepts_model_finish(&active);
    free(path);
    free(name);
    free(dir);
    return ok;
}

// --- vector files ----------------------------------------------------------------------------------------------------

static bool open_writer(Stage *s, const char *kind, VectorsWriter **out, int64_t *rows, VcErr *err)
{
    char *path = concepts_vector_path(s->ws, kind, s->row.name);
    char *folder = vc_workspace_path(s->ws, "vectors");
    bool ok = vc_make_dirs(folder, err) && concepts_vector_rows(s->ws, s->row.model_id, kind, rows, err) &&
              vectors_writer_open(out, path, s->dim, s->row.sha256, (uint64_t)*rows, err);
    free(folder);
    free(path);
    return ok;
}

static bool put_vector_rows(Stage *s, const char *kind, uint64_t rows, VcErr *err)
{
    VcStr file = {0};
    vc_str_putf(&file, "vectors/%s-%s.f16", kind, s->row.name);
    VcStmt *stmt = NULL;
    bool ok = vc_db_prepare(s->ws->db, &stmt,
                            "INSERT INTO vector_file(model_id, kind, file, rows) VALUES(?1, ?2, ?3, ?4)"
                            " ON CONFLICT(model_id, kind) DO UPDATE SET rows = ?4, file = ?3",
                            err);
    if (ok) {
        vc_bind_int(stmt, 1, s->row.model_id);
        vc_bind_text(stmt, 2, kind);
        vc_bind_text(stmt, 3, file.data);
        vc_bind_int(stmt, 4, (int64_t)rows);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&file);
    return ok;
}

// --- concepts --------------------------------------------------------------------------------------------------------

// The next texts by concept_id; their strings belong to the caller.
static bool read_texts(VcWorkspace *ws, int64_t from, char **texts, size_t *n, VcErr *err)
{
    VcStmt *stmt = NULL;
    *n = 0;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt,
                                        "SELECT concept_id, text FROM concept WHERE concept_id >= ?1"
                                        " ORDER BY concept_id LIMIT ?2",
                                        err);
    if (ok) {
        vc_bind_int(stmt, 1, from);
        vc_bind_int(stmt, 2, TEXTS);
    }
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (vc_column_int(stmt, 0) != from + (int64_t)*n) {
            ok = vc_fail(err, VC_ERR_DB, "table concept lacks number %lld; run 'vicha concepts parse' again",
                         (long long)from + (long long)*n);
        } else {
            texts[(*n)++] = vc_strdup(vc_column_text(stmt, 1));
        }
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static bool commit_concepts(Stage *s, VectorsWriter *w, VcErr *err)
{
    uint64_t rows;
    bool ok = vectors_writer_sync(w, &rows, err) && vc_db_begin(s->ws->db, err) &&
              put_vector_rows(s, "concept", rows, err) && vc_db_commit(s->ws->db, err);
    if (!ok)
        vc_db_rollback(s->ws->db);
    return ok;
}

// The original fails on a concept of more tokens than the model's context; here it is cut, and said once.
static size_t count_cut(const ClipModel *model, char **texts, size_t n)
{
    size_t cut = 0, context = clip_info(model)->context, cap = 0;
    int32_t *ids = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(texts[i]);
        if (length + 2 <= context)
            continue; // a token has at least one byte
        cut += bpe_encode_all(clip_tokenizer(model), NULL, clip_info(model)->clean, texts[i], length, &ids, &cap) + 2 >
               context;
    }
    free(ids);
    return cut;
}

static bool encode_texts(Stage *s, VectorsWriter *w, char **texts, size_t n, float *out, VcErr *err)
{
    s->cut += count_cut(s->model, texts, n);
    if (!clip_encode_texts(s->model, s->options->pool, (const char *const *)texts, n, out, err))
        return false;
    if (!vectors_writer_append(w, out, n, err))
        return vc_prefix(err, "concepts '%s' to '%s'", texts[0], texts[n - 1]);
    return true;
}

static bool embed_concepts(Stage *s, VcErr *err)
{
    double start = vc_now();
    int64_t total, rows = 0;
    VectorsWriter *w = NULL;
    if (!vc_db_int(s->ws->db, "SELECT count(*) FROM concept", 0, &total, err))
        return false;
    if (total == 0)
        return vc_fail(err, VC_ERR_USAGE, "this workspace has no vocabulary yet; run 'vicha concepts parse' first");
    if (!open_writer(s, "concept", &w, &rows, err))
        return false;
    char **texts = vc_alloc(TEXTS, sizeof *texts);
    float *out = vc_alloc((size_t)TEXTS * s->dim, sizeof *out);
    VcProgress *progress = rows < total ? vc_progress_begin("embed", "concepts", (uint64_t)(total - rows)) : NULL;
    bool ok = true;
    for (int64_t at = rows; ok && at < total;) {
        size_t n;
        ok = read_texts(s->ws, at, texts, &n, err) && encode_texts(s, w, texts, n, out, err) &&
             commit_concepts(s, w, err);
        for (size_t i = 0; i < n; i++)
            free(texts[i]);
        at += (int64_t)n;
        if (ok) {
            s->report->concepts += (int64_t)n;
            vc_progress_add(progress, n, 0);
        }
        if (ok && vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    vc_progress_end(&progress);
    free(texts);
    free(out);
    vectors_writer_close(&w);
    s->report->concept_seconds = vc_now() - start;
    if (s->cut) {
        vc_warn("%zu concepts have more tokens than the model's context of %zu; their beginning was embedded", s->cut,
                clip_info(s->model)->context);
    }
    return ok;
}

// --- images ----------------------------------------------------------------------------------------------------------

typedef struct {
    int64_t id;
    bool good;
    VcErr err;
} Item;

typedef struct {
    Stage *s;
    ExtractReader **readers; // one a thread
    Item *items;             // [batch]
    float *pixels;           // [batch, 3, size, size]
    size_t pixels_each;
    float *out; // [batch, dim]
    VectorsWriter *writer;
    // Done since the last commit.
    Item *done;
    size_t done_count, done_cap;
    double last_commit;
} Images;

static void preprocess_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Images *x = ctx;
    for (size_t i = begin; i < end; i++) {
        Item *item = &x->items[i];
        uint8_t *bytes = NULL;
        size_t n;
        item->good = extract_reader_read(x->readers[worker], item->id, &bytes, &n, &item->err) &&
                     clip_preprocess(x->s->model, bytes, n, x->pixels + i * x->pixels_each, &item->err);
        free(bytes);
    }
}

static bool next_batch(Images *x, int64_t after, size_t *n, VcErr *err)
{
    VcStmt *stmt = NULL;
    *n = 0;
    bool row = true, ok = vc_db_prepare(x->s->ws->db, &stmt,
                                        "SELECT f.image_id FROM image_file f CROSS JOIN image i USING(image_id)"
                                        " WHERE f.image_id > ?1 AND i.row IS NULL AND i.status >= 0"
                                        " ORDER BY f.image_id LIMIT ?2",
                                        err);
    if (ok) {
        vc_bind_int(stmt, 1, after);
        vc_bind_int(stmt, 2, (int64_t)x->s->options->batch);
    }
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        x->items[(*n)++] = (Item){.id = vc_column_int(stmt, 0)};
    vc_stmt_finish(&stmt);
    return ok;
}

// Vectors first and safe, then the rows that speak of them, in one transaction.
static bool commit_images(Images *x, VcErr *err)
{
    Stage *s = x->s;
    const double start = vc_now();
    uint64_t rows;
    VcStmt *good = NULL, *bad = NULL;
    int64_t first;
    bool ok = concepts_vector_rows(s->ws, s->row.model_id, "image", &first, err) &&
              vectors_writer_sync(x->writer, &rows, err) && vc_db_begin(s->ws->db, err) &&
              vc_db_prepare(s->ws->db, &good, "UPDATE image SET row = ?2, status = 1 WHERE image_id = ?1", err) &&
              vc_db_prepare(s->ws->db, &bad, "UPDATE image SET status = ?2, error = ?3 WHERE image_id = ?1", err);
    for (size_t i = 0; ok && i < x->done_count; i++) {
        const Item *item = &x->done[i];
        VcStmt *stmt = item->good ? good : bad;
        vc_bind_int(stmt, 1, item->id);
        vc_bind_int(stmt, 2, item->good ? first++ : EXTRACT_CORRUPT);
        if (!item->good)
            vc_bind_text(stmt, 3, item->err.text);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&good);
    vc_stmt_finish(&bad);
    ok = ok && put_vector_rows(s, "image", rows, err) && vc_db_commit(s->ws->db, err);
    if (!ok)
        vc_db_rollback(s->ws->db);
    for (size_t i = 0; ok && i < x->done_count; i++) {
        s->report->images += x->done[i].good;
        s->report->rejected += !x->done[i].good;
    }
    x->done_count = 0;
    x->last_commit = vc_now();
    s->report->commit_seconds += x->last_commit - start;
    return ok;
}

// A damaged image is data: it is marked. A shard that cannot be read stops the stage.
static bool encode_batch(Images *x, size_t n, size_t *failed, VcErr *err)
{
    Stage *s = x->s;
    size_t good = 0;
    double start = vc_now();
    vc_parallel_for(s->options->pool, n, 1, preprocess_chunk, x);
    s->report->read_seconds += vc_now() - start;
    for (size_t i = 0; i < n; i++) {
        if (!x->items[i].good && x->items[i].err.code != VC_ERR_FORMAT && x->items[i].err.code != VC_ERR_LIMIT) {
            *err = x->items[i].err;
            return vc_prefix(err, "image %lld", (long long)x->items[i].id);
        }
        if (x->items[i].good && good++ != i) {
            memmove(x->pixels + (good - 1) * x->pixels_each, x->pixels + i * x->pixels_each,
                    x->pixels_each * sizeof(float));
        }
    }
    start = vc_now();
    if (good)
        clip_encode_images(s->model, s->options->pool, x->pixels, good, x->out);
    s->report->encode_seconds += vc_now() - start;
    if (vc_interrupted())
        return vc_fail(err, VC_ERR_CANCELLED, "interrupted"); // the batch may be half done
    size_t at = 0, wild = 0;
    for (size_t i = 0; i < n; i++) {
        Item *item = &x->items[i];
        if (item->good && !vectors_writer_append(x->writer, x->out + at++ * s->dim, 1, &item->err)) {
            if (item->err.code != VC_ERR_FORMAT) {
                *err = item->err;
                return false;
            }
            item->good = false;
            wild++;
        }
        *failed += !item->good;
    }
    if (good > 1 && wild == good) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "model '%s' gives no finite vector for any image of a batch: its weights are damaged",
                       s->options->model);
    }
    x->done = vc_grow(x->done, &x->done_cap, x->done_count + n, sizeof *x->done);
    memcpy(x->done + x->done_count, x->items, n * sizeof *x->items);
    x->done_count += n;
    return true;
}

static bool run_images(Images *x, VcProgress *progress, VcErr *err)
{
    size_t n = 0;
    bool ok = true;
    x->last_commit = vc_now();
    for (int64_t after = INT64_MIN; ok && (ok = next_batch(x, after, &n, err)) && n > 0;) {
        size_t failed = 0;
        after = x->items[n - 1].id;
        ok = encode_batch(x, n, &failed, err);
        if (ok)
            vc_progress_add(progress, n, failed);
        if (ok && (x->done_count >= COMMIT_ROWS || vc_now() - x->last_commit > COMMIT_SECONDS))
            ok = commit_images(x, err);
    }
    // What was finished is kept, also after Ctrl-C.
    if (x->done_count && (ok || err->code == VC_ERR_CANCELLED)) {
        VcErr second = {0};
        if (!commit_images(x, &second) && ok) {
            *err = second;
            ok = false;
        }
    }
    return ok;
}

static bool embed_images(Stage *s, VcErr *err)
{
    double start = vc_now();
    int64_t total, rows;
    if (!vc_db_int(s->ws->db,
                   "SELECT count(*) FROM image_file JOIN image USING(image_id) WHERE row IS NULL AND status >= 0", 0,
                   &total, err))
        return false;
    size_t threads = vc_pool_threads(s->options->pool), side = clip_info(s->model)->image_size;
    Images x = {.s = s, .pixels_each = 3 * side * side};
    bool ok = true;
    if (total > 0) {
        x.readers = vc_calloc(threads, sizeof(ExtractReader *));
        x.items = vc_calloc(s->options->batch, sizeof *x.items);
        x.pixels = vc_alloc_aligned(s->options->batch * x.pixels_each, sizeof *x.pixels);
        x.out = vc_alloc(s->options->batch * s->dim, sizeof *x.out);
        ok = open_writer(s, "image", &x.writer, &rows, err);
        for (size_t i = 0; ok && i < threads; i++)
            ok = extract_reader_open(&x.readers[i], s->ws, err);
        VcProgress *progress = vc_progress_begin("embed", "images", (uint64_t)total);
        ok = ok && run_images(&x, progress, err);
        vc_progress_end(&progress);
        for (size_t i = 0; i < threads; i++)
            extract_reader_close(&x.readers[i]);
        vectors_writer_close(&x.writer);
    }
    free(x.readers);
    free(x.items);
    free(x.pixels);
    free(x.out);
    free(x.done);
    s->report->image_seconds = vc_now() - start;
    return ok &&
           vc_db_int(s->ws->db, "SELECT count(*) FROM image WHERE row IS NOT NULL", 0, &s->report->images_total, err);
}

// With the weights packed; nothing to do where everything has its vector already.
static bool prepare(Stage *s, VcErr *err)
{
    int64_t images, concepts, rows[2];
    VcWorkspace *ws = s->ws;
    bool ok = vc_db_int(ws->db,
                        "SELECT count(*) FROM image_file JOIN image USING(image_id) WHERE row IS NULL AND status >= 0",
                        0, &images, err) &&
              vc_db_int(ws->db, "SELECT count(*) FROM concept", 0, &concepts, err) &&
              concepts_vector_rows(ws, s->row.model_id, "image", &rows[0], err) &&
              concepts_vector_rows(ws, s->row.model_id, "concept", &rows[1], err);
    if (!ok || concepts == 0 || (images == 0 && concepts <= rows[1]))
        return ok;
    return concepts_prepare_precision(ws, s->model, s->row.sha256, s->options, rows[0] + rows[1] > 0, s->report, err);
}

bool concepts_embed(VcWorkspace *ws, const ConceptsEmbedOptions *options, ConceptsEmbedReport *report, VcErr *err)
{
    VcErr own = {0};
    err = err ? err : &own; // its code decides what is kept
    *report = (ConceptsEmbedReport){0};
    Stage s = {.ws = ws, .options = options, .report = report};
    VC_ASSERT(options->batch > 0);
    if (!nn_blas_check(err) || !extract_image_init(err) || !clip_open(&s.model, options->model, err))
        return false;
    s.dim = clip_info(s.model)->dim;
    bool ok = choose_model(&s, err) && prepare(&s, err) && embed_concepts(&s, err) && embed_images(&s, err);
    // What was embedded is kept whatever becomes of the derived file.
    if (ok && report->images_total > 0)
        ok = concepts_index_bytes(ws, options->pool, err);
    concepts_model_finish(&s.row);
    clip_close(&s.model);
    return ok;
}
