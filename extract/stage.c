// SPDX-License-Identifier: MIT
#include "extract/stage.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/str.h"
#include "extract/job.h"

#include <inttypes.h>
#include <unistd.h>

enum {
    PAGE = 512,      // pending images read from the database at a time
    BATCH_JOBS = 64, // images in a transaction, at most so many bytes of them, at most so long apart
    BATCH_BYTES = 8 << 20,
    WAITING_JOBS = 2048, // finished images that wait for an earlier one, and their bytes
    WAITING_BYTES = 48 << 20,
};
static const double batch_seconds = 1;

void extract_options_init(ExtractOptions *options)
{
    *options =
        (ExtractOptions){.jobs = vc_cpu_count(), .shard_count = 1, .shard_images = 10000, .shard_bytes = 1u << 30};
    extract_fetch_options_init(&options->fetch);
    extract_thumbnail_options_init(&options->thumbnail);
}

typedef struct {
    VcWorkspace *ws;
    const ExtractOptions *options;
    ExtractReport *report;
    ExtractInputs inputs;
    ExtractListed *sources; // in the order of source_id
    size_t source_count;
    char *filter; // SQL: "source_id IN (1, 2) AND image_id % 1 = 0"
    // pending images, a page at a time
    ExtractJob *page; // not started yet
    int64_t last_id;
    bool exhausted;
    // started, in the order of image_id
    ExtractJob *head, **tail;
    size_t inside, capacity;       // jobs in the pipeline
    size_t waiting, waiting_bytes; // done, not committed
    double last_commit;
    ExtractPipeline *pipeline;
    ExtractCommitter *committer;
    VcProgress *progress;
} Stage;

// --- pending images

static int by_source_id(const void *a, const void *b)
{
    const ExtractListed *x = a, *y = b;
    return x->source_id < y->source_id ? -1 : x->source_id > y->source_id;
}

static const ExtractListed *source_of(const Stage *s, int64_t source_id)
{
    const ExtractListed wanted = {.source_id = source_id};
    const ExtractListed *found = bsearch(&wanted, s->sources, s->source_count, sizeof wanted, by_source_id);
    VC_ASSERT(found);
    return found;
}

static const char pending[] = "FROM image i LEFT JOIN image_file f USING(image_id)"
                              " WHERE f.image_id IS NULL AND i.status = 0 AND ";

static bool read_page(Stage *s, VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(
        &sql,
        "SELECT i.image_id, i.source_id, i.key, (SELECT offset FROM image_origin o WHERE o.image_id = i.image_id)"
        " %s %s AND i.image_id > %" PRId64 " ORDER BY i.image_id LIMIT %d",
        pending, s->filter, s->last_id, PAGE);
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_prepare(s->ws->db, &stmt, sql.data, err);
    ExtractJob **end = &s->page;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        ExtractJob *job = vc_calloc(1, sizeof *job);
        job->image_id = s->last_id = vc_column_int(stmt, 0);
        job->source = source_of(s, vc_column_int(stmt, 1));
        job->key = vc_strdup(vc_column_text(stmt, 2));
        job->offset = vc_column_is_null(stmt, 3) ? -1 : vc_column_int(stmt, 3);
        *end = job;
        end = &job->next;
    }
    s->exhausted = ok && s->page == NULL;
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

// Puts work into the pipeline while there is room.
static bool start_jobs(Stage *s, VcErr *err)
{
    while (s->inside < s->capacity && s->waiting < WAITING_JOBS && s->waiting_bytes < WAITING_BYTES && !s->exhausted) {
        if (!s->page && !read_page(s, err))
            return false;
        ExtractJob *job = s->page;
        if (!job)
            break;
        s->page = job->next;
        job->next = NULL;
        *s->tail = job;
        s->tail = &job->next;
        s->inside++;
        extract_pipeline_add(s->pipeline, job);
    }
    return true;
}

// --- finished images

static void count_job(Stage *s, const ExtractJob *job)
{
    ExtractReport *r = s->report;
    r->stored += job->cause == EXTRACT_OK;
    r->rejected += job->cause != EXTRACT_OK;
    r->retries += job->attempts > 1 ? job->attempts - 1 : 0;
    r->bytes_read += job->n;
    vc_progress_add(s->progress, 1, job->cause != EXTRACT_OK);
    if (job->cause != EXTRACT_OK)
        vc_debug("image %" PRId64 " '%.300s': %s: %s", job->image_id, job->key, extract_cause_name(job->cause),
                 job->err.text);
}

static bool commit_batch(Stage *s, ExtractJob **jobs, size_t count, VcErr *err)
{
    const bool ok = count == 0 || extract_commit(s->committer, jobs, count, err);
    for (size_t i = 0; i < count; i++) {
        if (ok)
            count_job(s, jobs[i]);
        s->waiting--;
        s->waiting_bytes -= jobs[i]->thumbnail.bytes;
        extract_job_destroy(&jobs[i]);
    }
    s->last_commit = vc_now();
    return ok;
}

// Commits from the front of the line while it is done; `all`: also what is done behind one that is not, so that a slow
// server does not hold up the others.
static bool commit_done(Stage *s, bool all, VcErr *err)
{
    ExtractJob *batch[BATCH_JOBS];
    size_t count = 0, bytes = 0;
    bool ok = true;
    for (ExtractJob **at = &s->head; ok && *at;) {
        ExtractJob *job = *at;
        if (!job->done && !all)
            break;
        if (!job->done) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        if (s->tail == &job->next)
            s->tail = at;
        batch[count++] = job;
        bytes += job->thumbnail.bytes;
        if (count == BATCH_JOBS || bytes >= BATCH_BYTES) {
            ok = commit_batch(s, batch, count, err);
            count = bytes = 0;
        }
    }
    if (ok)
        return commit_batch(s, batch, count, err);
    VC_ASSERT(count == 0);
    return false;
}

// Done images at the front of the line, enough for a transaction?
static bool batch_is_due(const Stage *s)
{
    size_t count = 0, bytes = 0;
    for (const ExtractJob *job = s->head; job && job->done; job = job->next) {
        bytes += job->thumbnail.bytes;
        if (++count >= BATCH_JOBS || bytes >= BATCH_BYTES)
            return true;
    }
    return count > 0 && (s->inside == 0 || vc_now() - s->last_commit > batch_seconds);
}

// Takes one finished job out of the pipeline; false when none came for a while. A cancelled one leaves the line as if
// it had never been in it.
static bool take_job(Stage *s)
{
    ExtractJob *job = extract_pipeline_take(s->pipeline, batch_seconds / 2);
    if (!job)
        return false;
    s->inside--;
    if (!job->cancelled) {
        job->done = true;
        s->waiting++;
        s->waiting_bytes += job->thumbnail.bytes;
        return true;
    }
    ExtractJob **at = &s->head;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (s->tail == &job->next)
        s->tail = at;
    extract_job_destroy(&job);
    return true;
}

// With dedup the line is strict: which of two equal images is the first must not depend on who was faster.
static bool may_overtake(const Stage *s)
{
    return s->options->dedup == EXTRACT_DEDUP_OFF;
}

static bool process(Stage *s, VcErr *err)
{
    bool ok = true;
    while (ok && !vc_interrupted()) {
        ok = start_jobs(s, err);
        if (ok && s->inside == 0 && s->exhausted)
            break;
        const bool idle = ok && s->inside && !take_job(s);
        if (ok && (idle || batch_is_due(s)))
            ok = commit_done(s, false, err);
        // Nothing must hang on one slow server: neither memory nor what a kill would cost.
        const bool crowded = s->waiting >= WAITING_JOBS || s->waiting_bytes >= WAITING_BYTES;
        if (ok && (crowded || (idle && s->waiting)) && may_overtake(s))
            ok = commit_done(s, true, err);
    }
    // What is under way comes back before anything is torn down; after an error it is not wanted any more.
    if (!ok)
        extract_pipeline_cancel(s->pipeline);
    bool gap = false;
    while (s->inside) {
        const size_t before = s->waiting;
        if (take_job(s))
            gap = gap || s->waiting == before;
    }
    if (!ok)
        return false;
    if (vc_interrupted()) {
        // A cancelled image left a gap in the line: with dedup nothing behind it may be decided now.
        if (!gap || may_overtake(s))
            ok = commit_done(s, true, err);
        return ok && vc_fail(err, VC_ERR_CANCELLED,
                             "interrupted; everything finished is kept, run the same command to go on");
    }
    return commit_done(s, true, err) && extract_committer_finish(s->committer, err);
}

// --- the stage

static bool list_sources(Stage *s, VcErr *err)
{
    const double start = vc_now();
    uint64_t before = 0;
    bool ok = extract_list_prepare(s->ws, err) && extract_inputs_open(&s->inputs, s->ws, s->options, err);
    s->sources = vc_calloc(s->inputs.count + 1, sizeof *s->sources);
    for (size_t i = 0; ok && i < s->inputs.count; i++) {
        uint64_t images = 0;
        ok = extract_list(s->ws, &s->inputs.items[i], s->options, before, &s->sources[s->source_count], &images,
                          s->report, err);
        s->source_count += ok;
        before += images;
    }
    if (s->source_count)
        qsort(s->sources, s->source_count, sizeof *s->sources, by_source_id);
    s->report->listing_seconds = vc_now() - start;
    return ok;
}

// The full-text index follows the captions; the meta row makes a rebuild that a kill prevented happen later.
static bool index_captions(Stage *s, VcErr *err)
{
    int64_t last;
    char *known = NULL, text[32];
    if (!vc_db_int(s->ws->db, "SELECT max(caption_id) FROM caption", 0, &last, err) ||
        !vc_meta_get(s->ws, "captions_indexed", &known, err))
        return false;
    snprintf(text, sizeof text, "%" PRId64, last);
    const bool same = known ? strcmp(known, text) == 0 : last == 0;
    free(known);
    return same || (vc_workspace_rebuild_fts(s->ws, err) && vc_meta_set(s->ws, "captions_indexed", text, err));
}

// The members of a compressed tar are read from an unpacked copy, which lives as long as some of them are pending.
static bool unpack_sources(Stage *s, VcErr *err)
{
    char *folder = vc_workspace_path(s->ws, "inputs");
    bool ok = true;
    for (size_t i = 0; ok && i < s->source_count; i++) {
        ExtractListed *source = &s->sources[i];
        if (!source->packed)
            continue;
        VcStr sql = {0}, path = {0};
        int64_t count;
        vc_str_putf(&sql, "SELECT count(*) %s +i.source_id = %" PRId64, pending, source->source_id);
        vc_str_putf(&path, "%s/source-%" PRId64 ".tar", folder, source->source_id);
        ok = vc_db_int(s->ws->db, sql.data, 0, &count, err);
        if (ok && count > 0) {
            ok = vc_make_dirs(folder, err) && extract_unpack_tar(source->root, path.data, err);
            free(source->root);
            source->root = vc_strdup(path.data);
            source->unpacked = true;
        }
        vc_str_finish(&sql);
        vc_str_finish(&path);
    }
    free(folder);
    return ok;
}

static void remove_unpacked(const Stage *s)
{
    for (size_t i = 0; i < s->source_count; i++)
        if (s->sources[i].unpacked)
            unlink(s->sources[i].root);
}

static void make_filter(Stage *s)
{
    VcStr filter = {0};
    // The plus keeps SQLite from the index on source_id: pages come in the order of image_id without a sort.
    vc_str_put(&filter, "+i.source_id IN (");
    for (size_t i = 0; i < s->source_count; i++)
        vc_str_putf(&filter, "%s%" PRId64, i ? ", " : "", s->sources[i].source_id);
    vc_str_putf(&filter, ") AND i.image_id %% %u = %u", s->options->shard_count, s->options->shard_index);
    s->filter = filter.data;
}

static bool count_pending(Stage *s, int64_t *count, VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(&sql, "SELECT count(*) %s %s", pending, s->filter);
    const bool ok = vc_db_int(s->ws->db, sql.data, 0, count, err);
    vc_str_finish(&sql);
    return ok;
}

static bool fill_totals(Stage *s, VcErr *err)
{
    ExtractReport *r = s->report;
    VcStr sql = {0};
    vc_str_putf(&sql,
                "SELECT min(i.status, 0), f.image_id IS NOT NULL, count(*) FROM image i LEFT JOIN image_file f"
                " USING(image_id) WHERE %s GROUP BY 1, 2",
                s->filter);
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_prepare(s->ws->db, &stmt, sql.data, err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const int64_t status = vc_column_int(stmt, 0);
        const uint64_t count = (uint64_t)vc_column_int(stmt, 2);
        if (status < 0) {
            r->total_rejected += count;
            if (status > -EXTRACT_CAUSES_MAX)
                r->total_cause[-status] += count;
        } else if (vc_column_int(stmt, 1)) {
            r->total_stored += count;
        } else {
            r->total_waiting += count;
        }
    }
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

// The statuses that options->retry_failed speaks of, as an SQL list.
static bool list_causes(const char *wanted, VcStr *out, VcErr *err)
{
    for (unsigned i = 0; !*wanted && extract_cause_at(i) != EXTRACT_OK; i++)
        if (extract_cause_may_heal(extract_cause_at(i)))
            vc_str_putf(out, "%s%d", out->len ? ", " : "", extract_cause_at(i));
    while (*wanted) {
        const size_t n = strcspn(wanted, ",");
        char *name = vc_strndup(wanted, n);
        const ExtractCause cause = extract_cause_of(name);
        // An entry that names no image has nothing to try again, and twins are found anew each time anyway.
        const bool known = cause != EXTRACT_OK && cause != EXTRACT_BAD_ENTRY;
        if (known)
            vc_str_putf(out, "%s%d", out->len ? ", " : "", cause);
        else
            vc_fail(err, VC_ERR_USAGE, "--retry-failed: '%.60s' is no cause that can be tried again; see 'vicha stats'",
                    name);
        free(name);
        if (!known)
            return false;
        wanted += n + (wanted[n] == ',');
    }
    return true;
}

// Rejected images become pending ones; a run that is stopped has not lost them.
static bool reset_failed(const Stage *s, VcErr *err)
{
    if (!s->options->retry_failed)
        return true;
    VcStr causes = {0}, sql = {0};
    bool ok = list_causes(s->options->retry_failed, &causes, err);
    if (ok) {
        vc_str_putf(&sql,
                    "UPDATE image AS i SET status = 0, error = NULL, sha256 = NULL, mime = NULL, bytes = NULL"
                    " WHERE i.status IN (%s) AND %s",
                    vc_str_get(&causes), s->filter);
        ok = vc_db_exec(s->ws->db, sql.data, err);
    }
    vc_str_finish(&causes);
    vc_str_finish(&sql);
    return ok;
}

static bool process_pending(Stage *s, VcErr *err)
{
    int64_t count;
    if (!reset_failed(s, err) || !count_pending(s, &count, err))
        return false;
    // Also with nothing to do: a killed run may have left an unfinished shard.
    const double start = vc_now();
    bool ok = extract_committer_open(&s->committer, s->ws, s->options, err);
    if (ok && count == 0)
        ok = extract_committer_finish(s->committer, err);
    if (ok && count > 0) {
        s->capacity = 2 * s->options->fetch.connections + 8 * s->options->jobs;
        s->progress = vc_progress_begin("extract", "images", (uint64_t)count);
        ok = extract_pipeline_start(&s->pipeline, s->options, s->capacity, err) && process(s, err);
        vc_progress_end(&s->progress);
        s->report->seconds = vc_now() - start;
    }
    extract_pipeline_stop(&s->pipeline);
    extract_committer_close(&s->committer);
    return ok;
}

static void destroy_line(ExtractJob *job)
{
    while (job) {
        ExtractJob *next = job->next;
        extract_job_destroy(&job);
        job = next;
    }
}

bool extract_run(VcWorkspace *ws, const ExtractOptions *options, ExtractReport *report, VcErr *err)
{
    VC_ASSERT(options->shard_count > 0 && options->shard_index < options->shard_count && options->jobs > 0);
    *report = (ExtractReport){0};
    Stage s = {.ws = ws, .options = options, .report = report, .tail = NULL};
    s.tail = &s.head;
    bool ok = list_sources(&s, err) && index_captions(&s, err);
    make_filter(&s);
    if (ok)
        ok = unpack_sources(&s, err) && process_pending(&s, err);
    remove_unpacked(&s);
    VcErr second; // the first failure is the one to tell
    const bool counted = fill_totals(&s, ok ? err : &second);
    destroy_line(s.head);
    destroy_line(s.page);
    for (size_t i = 0; i < s.source_count; i++)
        free(s.sources[i].root);
    free(s.sources);
    extract_inputs_finish(&s.inputs);
    free(s.filter);
    return ok && counted;
}
