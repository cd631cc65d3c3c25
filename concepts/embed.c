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
#include "concepts/embed_images.h"
#include "concepts/embed_precision.h"
#include "concepts/index_vectors.h"
#include "concepts/store.h"
#include "concepts/vectors.h"
#include "extract/extract.h"
#include "nn/nn.h"

#include <math.h>

enum { TEXTS = 512 }; // concepts encoded at once

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
              concepts_put_rows(s->ws, &s->row, "concept", rows, err) && vc_db_commit(s->ws->db, err);
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
    if (!concepts_open_writer(s->ws, &s->row, "concept", &w, &rows, err))
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
    if (!nn_blas_check(err) || !extract_image_init(err) || !clip_open(&s.model, options->model, err))
        return false;
    s.dim = clip_info(s.model)->dim;
    bool ok = choose_model(&s, err) && prepare(&s, err) && embed_concepts(&s, err) &&
              concepts_embed_images(ws, s.model, &s.row, options, report, err);
    // What was embedded is kept whatever becomes of the derived file.
    if (ok && report->images_total > 0)
        ok = concepts_index_bytes(ws, options->pool, err);
    concepts_model_finish(&s.row);
    clip_close(&s.model);
    return ok;
}
