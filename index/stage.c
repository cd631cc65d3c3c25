// SPDX-License-Identifier: MIT
#include "index/stage.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "index/caption.h"
#include "index/gather.h"
#include "index/writer.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

enum { PAGE = 256 };

// What the sets of one run share.
typedef struct {
    VcWorkspace *ws;
    const IndexStageOptions *options;
    IndexStageReport *report;
    Wordpiece *wp;
} Stage;

// One set: a split or everything.
typedef struct {
    const Stage *stage;
    const char *split; // NULL: no splits in this workspace
    char *dir;
    GatherOptions gather;
    Gather *rows;
    IndexWriter *writer;
    VcStmt *page, *mark;
    GatherRow row[PAGE];
    bool marked[PAGE]; // the image carries a cause of an earlier run
    VcProgress *progress;
    uint64_t no_caption, no_concepts, unreadable, not_mined;
} Set;

// ---- settings -------------------------------------------------------------------------------------------------

static bool put_query_text(VcStr *out, Stage *s, const char *sql, VcErr *err)
{
    VcStmt *stmt;
    bool row, ok = vc_db_prepare(s->ws->db, &stmt, sql, err);
    if (!ok)
        return false;
    ok = vc_stmt_step(stmt, &row, err);
    const char *text = ok && row ? vc_column_text(stmt, 0) : NULL;
    if (text != NULL) {
        vc_str_put_json(out, text, strlen(text), true);
    } else {
        vc_str_put(out, "null");
    }
    vc_stmt_finish(&stmt);
    return ok;
}

#define ACTIVE_RUN                                                                                 \
    " FROM run JOIN model USING(model_id) WHERE run_id = (SELECT CAST(value AS INTEGER) FROM meta" \
    " WHERE key = 'active_run')"

// The same for a fact about the concepts, which means nothing in a set without them.
static bool put_concept_text(VcStr *out, Stage *s, const char *sql, VcErr *err)
{
    if (s->options->max_concepts > 0)
        return put_query_text(out, s, sql, err);
    vc_str_put(out, "null");
    return true;
}

// What must be the same to go on with a set.
static bool put_settings(VcStr *out, Set *set, VcErr *err)
{
    Stage s = *set->stage;
    const IndexStageOptions *o = s.options;
    char *filter = NULL; // as 'vicha filter' left it; sets of workspaces that were never filtered know nothing of it
    bool ok = vc_meta_get(s.ws, "filter_state", &filter, err);
    vc_str_put(out, "{");
    if (filter != NULL && *filter != '\0')
        vc_str_putf(out, "\"caption_filter\": \"%s\", ", filter);
    free(filter);
    vc_str_put(out, "\"clip_model\": ");
    ok = ok && put_concept_text(out, &s, "SELECT name" ACTIVE_RUN, err);
    vc_str_put(out, ", \"clip_sha256\": ");
    ok = ok && put_concept_text(out, &s, "SELECT lower(hex(weights_sha256))" ACTIVE_RUN, err);
    vc_str_putf(out, ", \"compression\": \"%s\", \"concept_vocabulary_sha256\": ", o->zlib ? "zlib" : "none");
    ok = ok && put_concept_text(out, &s, "SELECT value FROM meta WHERE key = 'vocabulary_sha256'", err);
    char *marks = NULL; // the same of 'vicha dedup'
    ok = ok && vc_meta_get(s.ws, "dedup_state", &marks, err);
    if (marks != NULL && *marks != '\0')
        vc_str_putf(out, ", \"dedup\": \"%s\"", marks);
    free(marks);
    vc_str_putf(out, ", \"max_concepts\": %lld, \"mined_k\": ", (long long)o->max_concepts);
    ok = ok && put_concept_text(out, &s, "SELECT k" ACTIVE_RUN, err);
    vc_str_putf(out, ", \"several_captions\": %s, \"shard_size\": %llu, \"split\": ",
                set->gather.captions ? "true" : "false", (unsigned long long)o->shard_size);
    if (set->split != NULL) {
        vc_str_put_json(out, set->split, strlen(set->split), true);
    } else {
        vc_str_put(out, "null");
    }
    vc_str_putf(out, ", \"tokenizer\": \"wordpiece\", \"tokenizer_sha256\": \"%s\"}", wordpiece_sha256(s.wp));
    return ok;
}

// Facts for people that do not decide anything.
static bool put_provenance(VcStr *out, const Set *set, VcErr *err)
{
    Stage s = *set->stage;
    vc_str_put(out, "\"tool\": \"vicha " VICHA_VERSION "\", \"database_created\": ");
    bool ok = put_query_text(out, &s, "SELECT value FROM meta WHERE key = 'created'", err);
    vc_str_put(out, ",\n \"extract_settings\": ");
    ok = ok && put_query_text(out, &s, "SELECT settings FROM extract_progress ORDER BY source_id LIMIT 1", err);
    vc_str_putf(out,
                ",\n \"caption_words\": %d, \"caption_max_tokens\": %d, \"vocabulary_size\": %zu, \"mask_id\": %d,\n "
                "\"skipped\": "
                "{\"no_caption\": %llu, \"no_concepts\": %llu, \"not_mined\": %llu, \"unreadable\": %llu}",
                (int)INDEX_CAPTION_WORDS, (int)INDEX_MAX_TOKENS, wordpiece_size(s.wp),
                (int)wordpiece_special(s.wp, WORDPIECE_MASK), (unsigned long long)set->no_caption,
                (unsigned long long)set->no_concepts, (unsigned long long)set->not_mined,
                (unsigned long long)set->unreadable);
    return ok;
}

// ---- one set --------------------------------------------------------------------------------------------------

// SQL for "image i is of this set"; ?1 is the name of the split. Images in no split belong to "train".
static const char *condition(const Set *set)
{
    if (set->split == NULL)
        return "1";
    if (strcmp(set->split, "train") == 0)
        return "coalesce((SELECT name FROM split s WHERE s.image_id = i.image_id), 'train') = ?1";
    return "(SELECT name FROM split s WHERE s.image_id = i.image_id) = ?1";
}

// SQL for "image i can be packed": it has been mined (without concepts, it has been stored), and is not marked by
// dedup.
#define UNMARKED " AND NOT EXISTS(SELECT 1 FROM tag t WHERE t.name = 'duplicate' AND t.image_id = i.image_id)"
static const char *ready(const IndexStageOptions *options)
{
    return options->max_concepts > 0
               ? "i.status = 2" UNMARKED
               : "i.status >= 0 AND EXISTS(SELECT 1 FROM image_file f WHERE f.image_id = i.image_id)" UNMARKED;
}

static bool count_images(const Set *set, const char *filter, uint64_t *out, VcErr *err)
{
    VcStr sql = {0};
    VcStmt *stmt;
    vc_str_putf(&sql, "SELECT count(*) FROM image i WHERE %s AND %s", condition(set), filter);
    bool row = false, ok = vc_db_prepare(set->stage->ws->db, &stmt, vc_str_get(&sql), err);
    if (ok) {
        if (set->split != NULL)
            vc_bind_text(stmt, 1, set->split);
        ok = vc_stmt_step(stmt, &row, err);
        *out = ok && row ? (uint64_t)vc_column_int(stmt, 0) : 0;
        vc_stmt_finish(&stmt);
    }
    vc_str_finish(&sql);
    return ok;
}

static bool open_set(Set *set, VcErr *err)
{
    const Stage *s = set->stage;
    const char *names[GATHER_MAX_COLUMNS], *encodings[GATHER_MAX_COLUMNS];
    uint64_t several = 0, total = 0;
    VcStr settings = {0}, sql = {0};
    vc_str_putf(&sql, "%s AND (SELECT count(*) FROM caption c WHERE c.image_id = i.image_id) > 1", ready(s->options));
    bool ok = count_images(set, vc_str_get(&sql), &several, err) && count_images(set, ready(s->options), &total, err) &&
              (s->options->max_concepts == 0 || count_images(set, "i.status IN (0, 1)", &set->not_mined, err));
    vc_str_clear(&sql);
    set->gather = (GatherOptions){several > 0, s->options->zlib, s->options->max_concepts};
    ok = ok && put_settings(&settings, set, err);
    const IndexWriterOptions w = {.dir = set->dir,
                                  .names = names,
                                  .encodings = encodings,
                                  .columns = gather_columns(&set->gather, names, encodings),
                                  .size_limit = s->options->shard_size,
                                  .settings = vc_str_get(&settings)};
    ok = ok && index_writer_open(&set->writer, &w, err) && gather_open(&set->rows, s->ws, s->wp, &set->gather, err);
    vc_str_putf(&sql,
                "SELECT image_id, width, height, error FROM image i WHERE %s AND i.image_id > ?2 AND %s "
                "ORDER BY i.image_id LIMIT %d",
                ready(s->options), condition(set), (int)PAGE);
    ok = ok && vc_db_prepare(s->ws->db, &set->page, vc_str_get(&sql), err) &&
         vc_db_prepare(s->ws->db, &set->mark, "UPDATE image SET error = ?2 WHERE image_id = ?1", err);
    vc_str_finish(&sql);
    vc_str_finish(&settings);
    if (ok)
        set->progress = vc_progress_begin("index", "images", total);
    return ok;
}

static void close_set(Set *set)
{
    vc_progress_end(&set->progress);
    vc_stmt_finish(&set->page);
    vc_stmt_finish(&set->mark);
    gather_close(&set->rows);
    index_writer_close(&set->writer);
    for (size_t i = 0; i < PAGE; i++)
        gather_row_finish(&set->row[i]);
    free(set->dir);
}

// Gathers the next page after *last. *n: rows to write, *seen: images looked at.
static bool read_page(Set *set, int64_t *last, size_t *n, size_t *seen, VcErr *err)
{
    bool more, ok;
    *n = *seen = 0;
    if (set->split != NULL)
        vc_bind_text(set->page, 1, set->split);
    vc_bind_int(set->page, 2, *last);
    while ((ok = vc_stmt_step(set->page, &more, err)) && more) {
        *last = vc_column_int(set->page, 0);
        ++*seen;
        if (index_writer_has(set->writer, *last))
            continue;
        const char *error = vc_column_text(set->page, 3);
        set->marked[*n] = error != NULL && vc_has_prefix(error, "index: ");
        if (!gather_row(set->rows, *last, vc_column_int(set->page, 1), vc_column_int(set->page, 2), &set->row[*n],
                        err)) {
            ok = false;
            break;
        }
        ++*n;
    }
    vc_stmt_reset(set->page);
    return ok;
}

// The cause goes to the image's row; one from an earlier run that no longer holds is taken away.
static bool mark_row(Set *set, const GatherRow *row, bool marked, VcErr *err)
{
    static const char *const causes[] = {
        [GATHER_NO_CAPTION] = "index: no caption with a word in it",
        [GATHER_NO_CONCEPTS] = "index: no concepts",
    };
    if (row->state == GATHER_OK && !marked)
        return true;
    vc_bind_int(set->mark, 1, row->image_id);
    if (row->state == GATHER_OK) {
        vc_bind_null(set->mark, 2);
    } else {
        vc_bind_text(set->mark, 2, row->state == GATHER_UNREADABLE ? row->reason : causes[row->state]);
    }
    return vc_stmt_run(set->mark, err);
}

static bool write_page(Set *set, size_t n, VcErr *err)
{
    IndexStageReport *report = set->stage->report;
    uint64_t failed = 0;
    for (size_t i = 0; i < n; i++) {
        const GatherRow *row = &set->row[i];
        MdsField fields[GATHER_MAX_COLUMNS];
        if (!mark_row(set, row, set->marked[i], err))
            return false;
        set->no_caption += row->state == GATHER_NO_CAPTION;
        set->no_concepts += row->state == GATHER_NO_CONCEPTS;
        set->unreadable += row->state == GATHER_UNREADABLE;
        failed += row->state != GATHER_OK;
        if (row->state != GATHER_OK)
            continue;
        gather_fields(set->rows, row, fields);
        if (!index_writer_add(set->writer, row->image_id, fields, err))
            return false;
        report->added++;
        report->tokens += row->tokens;
        report->cut += row->cut;
    }
    vc_progress_add(set->progress, 0, failed);
    return true;
}

static bool write_rows(Set *set, VcErr *err)
{
    int64_t last = INT64_MIN;
    size_t n, seen;
    do {
        if (vc_interrupted())
            return vc_fail(err, VC_ERR_CANCELLED, "interrupted; finished shards are kept");
        if (!read_page(set, &last, &n, &seen, err))
            return false;
        gather_pack_images(set->rows, set->stage->options->pool, set->row, n);
        VcDb *db = set->stage->ws->db;
        bool ok = vc_db_begin(db, err) && write_page(set, n, err) && vc_db_commit(db, err);
        if (!ok) {
            vc_db_rollback(db);
            return false;
        }
        vc_progress_add(set->progress, seen, 0);
    } while (seen == PAGE);
    return true;
}

static bool finish_set(Set *set, uint64_t added_before, VcErr *err)
{
    IndexStageReport *report = set->stage->report;
    uint64_t skipped = set->no_caption + set->no_concepts + set->unreadable;
    bool ok = true;
    if (index_writer_records(set->writer) == 0) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "nothing to write to '%s': all %llu mined images were left out (%llu without a caption, %llu "
                       "without concepts, %llu unreadable)",
                       set->dir, (unsigned long long)skipped, (unsigned long long)set->no_caption,
                       (unsigned long long)set->no_concepts, (unsigned long long)set->unreadable);
    }
    if (report->added > added_before || index_writer_state(set->writer) != INDEX_SET_COMPLETE) {
        VcStr provenance = {0};
        ok = put_provenance(&provenance, set, err) && index_writer_commit(set->writer, vc_str_get(&provenance), err);
        vc_str_finish(&provenance);
    }
    report->sets++;
    report->records += index_writer_records(set->writer);
    report->shards += index_writer_shards(set->writer);
    report->bytes += index_writer_bytes(set->writer);
    report->no_caption += set->no_caption;
    report->no_concepts += set->no_concepts;
    report->unreadable += set->unreadable;
    report->not_mined += set->not_mined;
    return ok;
}

static bool run_set(const Stage *stage, const char *split, VcErr *err)
{
    Set *set = vc_calloc(1, sizeof *set);
    VcStr name = {0};
    vc_str_putf(&name, split != NULL ? "records/%s" : "records", split);
    set->stage = stage;
    set->split = split;
    set->dir = vc_workspace_path(stage->ws, vc_str_get(&name));
    vc_str_finish(&name);
    uint64_t before = stage->report->added;
    bool ok = open_set(set, err) && write_rows(set, err) && finish_set(set, before, err);
    close_set(set);
    free(set);
    return ok;
}

// ---- all sets -------------------------------------------------------------------------------------------------

typedef struct {
    char **names;
    size_t count, cap;
} Names;

static void names_finish(Names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->names[i]);
    free(n->names);
}

// Splits that have an image to pack; none when the table is empty.
static bool list_splits(VcWorkspace *ws, const IndexStageOptions *options, Names *out, VcErr *err)
{
    VcStmt *stmt;
    VcStr sql = {0};
    vc_str_putf(&sql,
                "SELECT DISTINCT coalesce(s.name, 'train') FROM image i LEFT JOIN split s USING(image_id) "
                "WHERE %s AND EXISTS(SELECT 1 FROM split) ORDER BY 1",
                ready(options));
    bool prepared = vc_db_prepare(ws->db, &stmt, vc_str_get(&sql), err);
    vc_str_finish(&sql);
    if (!prepared)
        return false;
    bool row, ok;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        const char *name = vc_column_text(stmt, 0);
        if (*name == 0 || *name == '.' || strchr(name, '/') != NULL || strlen(name) > 200) {
            ok = vc_fail(err, VC_ERR_FORMAT, "split '%.60s' cannot be the name of a folder", name);
            break;
        }
        out->names = vc_grow(out->names, &out->cap, out->count + 1, sizeof *out->names);
        out->names[out->count++] = vc_strdup(name);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static bool is_ours(const char *name)
{
    return strcmp(name, "index.json") == 0 || strcmp(name, "records.json") == 0 ||
           strcmp(name, "progress.jsonl") == 0 || (vc_has_prefix(name, "shard.") && strstr(name, ".mds") != NULL) ||
           vc_has_suffix(name, ".tmp");
}

// Removes the files of a set: index.json first, so that a set half removed is none. A folder that is not there is fine.
static bool remove_set(const char *dir, VcErr *err)
{
    char *index = vc_path_join(dir, "index.json");
    bool ok =
        unlink(index) == 0 || errno == ENOENT || errno == ENOTDIR || vc_fail_errno(err, "cannot remove '%s'", index);
    free(index);
    DIR *d = ok ? opendir(dir) : NULL;
    for (struct dirent *e; d != NULL && ok && (e = readdir(d)) != NULL;) {
        if (!is_ours(e->d_name))
            continue;
        char *path = vc_path_join(dir, e->d_name);
        ok = unlink(path) == 0 || errno == ENOENT || vc_fail_errno(err, "cannot remove '%s'", path);
        free(path);
    }
    if (d != NULL)
        closedir(d);
    return ok;
}

static bool has_set(const char *dir)
{
    char *index = vc_path_join(dir, "index.json"), *progress = vc_path_join(dir, "progress.jsonl");
    bool has = vc_exists(index) || vc_exists(progress);
    free(index);
    free(progress);
    return has;
}

bool index_find_sets(const char *dir, char ***out, size_t *count, VcErr *err)
{
    VcFileList files = {0};
    Names sets = {0};
    *out = NULL;
    *count = 0;
    char *own = vc_path_join(dir, "index.json");
    bool ok = vc_exists(own);
    free(own);
    if (ok) {
        *out = vc_alloc(1, sizeof **out);
        (*out)[(*count)++] = vc_strdup(dir);
        return true;
    }
    if (!vc_is_directory(dir))
        return vc_fail(err, VC_ERR_IO, "'%s' is not a folder with records", dir);
    if (!vc_list_files(&files, dir, err))
        return false;
    for (size_t i = 0; i < files.count; i++) {
        const char *slash = strchr(files.paths[i], '/');
        if (slash == NULL || strcmp(slash, "/index.json") != 0)
            continue;
        VcStr path = {0};
        vc_str_putf(&path, "%s/%.*s", dir, (int)(slash - files.paths[i]), files.paths[i]);
        sets.names = vc_grow(sets.names, &sets.cap, sets.count + 1, sizeof *sets.names);
        sets.names[sets.count++] = vc_strdup(vc_str_get(&path));
        vc_str_finish(&path);
    }
    vc_file_list_finish(&files);
    *out = sets.names;
    *count = sets.count;
    return sets.count > 0 ||
           vc_fail(err, VC_ERR_IO, "there is no record set in '%s': no index.json there or one folder below", dir);
}

// A workspace without splits keeps one set in records/, one with splits a set a folder: never both.
static bool check_layout(Stage *s, const Names *splits, VcErr *err)
{
    char *dir = vc_workspace_path(s->ws, "records");
    bool ok = true;
    if (s->options->rebuild) {
        ok = s->options->split != NULL || remove_set(dir, err);
        for (size_t i = 0; i < splits->count && ok; i++) {
            char *sub = vc_path_join(dir, splits->names[i]);
            if (s->options->split == NULL || strcmp(s->options->split, splits->names[i]) == 0)
                ok = remove_set(sub, err);
            free(sub);
        }
    } else if (splits->count > 0 && has_set(dir)) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     "'%s' holds one set, but the workspace has splits now; make the records anew with --rebuild", dir);
    }
    free(dir);
    return ok;
}

static bool run_sets(Stage *s, const Names *splits, VcErr *err)
{
    if (splits->count == 0) {
        if (s->options->split != NULL) {
            return vc_fail(err, VC_ERR_USAGE, "there is no split '%s': this workspace has no splits",
                           s->options->split);
        }
        return run_set(s, NULL, err);
    }
    bool found = false;
    for (size_t i = 0; i < splits->count; i++) {
        if (s->options->split != NULL && strcmp(s->options->split, splits->names[i]) != 0)
            continue;
        found = true;
        if (!run_set(s, splits->names[i], err))
            return false;
    }
    return found || vc_fail(err, VC_ERR_USAGE, "there is no split '%s' with images to pack", s->options->split);
}

bool index_stage_run(VcWorkspace *ws, const IndexStageOptions *options, IndexStageReport *report, VcErr *err)
{
    *report = (IndexStageReport){0};
    Stage s = {ws, options, report, NULL};
    Names splits = {0};
    int64_t usable, images;
    VcStr sql = {0};
    vc_str_putf(&sql, "SELECT count(*) FROM image i WHERE %s", ready(options));
    bool ok = vc_db_int(ws->db, vc_str_get(&sql), 0, &usable, err) &&
              vc_db_int(ws->db, "SELECT count(*) FROM image WHERE status >= 0", 0, &images, err);
    vc_str_finish(&sql);
    if (ok && usable == 0) {
        ok = vc_fail(err, VC_ERR_USAGE,
                     images == 0 || options->max_concepts == 0
                         ? "there is no image in '%s': run 'vicha extract SOURCE' first"
                         : "no image in '%s' has concepts: run 'vicha concepts --clip MODEL' first",
                     ws->dir);
    }
    ok = ok && wordpiece_open(&s.wp, options->vocabulary, err) && list_splits(ws, options, &splits, err) &&
         check_layout(&s, &splits, err) && run_sets(&s, &splits, err);
    names_finish(&splits);
    wordpiece_close(&s.wp);
    return ok;
}
