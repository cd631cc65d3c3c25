// SPDX-License-Identifier: MIT
#include "extract/line.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/sample.h"

#include <inttypes.h>

enum {
    PAGE = 512,      // pending images read from the database at a time
    BATCH_JOBS = 64, // images in a transaction, at most so many bytes of them, at most so long apart
    BATCH_BYTES = 8 << 20,
    WINDOW = 1 << 16,        // images in the line: so far may the fastest be ahead of the slowest
    MEMORY_BYTES = 16 << 20, // finished ones in memory, their number and bytes
    MEMORY_JOBS = 1024,
};
static const uint64_t journal_limit = (uint64_t)4 << 30; // bytes of finished images that wait on the disk
static const double batch_seconds = 1;

const char extract_pending_sql[] = "FROM image i LEFT JOIN image_file f USING(image_id)"
                                   " WHERE f.image_id IS NULL AND i.status = 0 AND ";

// A place in the line. `job` is the pipeline's until `done`; then it is here, or its result is in the journal.
typedef struct Slot {
    struct Slot *next;
    ExtractJob *job; // NULL: at `place` in the journal
    uint64_t place;
    uint32_t bytes; // of the stored JPEG
    bool done;
} Slot;

typedef struct {
    const ExtractWork *work;
    ExtractJob *page; // read, not started yet
    int64_t last_id;
    bool exhausted;
    Slot *head, **tail;
    size_t length;             // slots
    size_t inside, capacity;   // jobs in the pipeline
    size_t ready, ready_bytes; // done and in memory
    size_t spilled;            // done and in the journal
    double last_commit, head_since, last_spill;
    ExtractPipeline *pipeline;
    ExtractCommitter *committer;
    ExtractJournal *journal;
    ExtractSampler *sampler;
    VcProgress *progress;
} Line;

// --- pending images

static int by_source_id(const void *a, const void *b)
{
    const ExtractListed *x = a, *y = b;
    return x->source_id < y->source_id ? -1 : x->source_id > y->source_id;
}

void extract_work_sort(ExtractListed *sources, size_t count)
{
    if (count)
        qsort(sources, count, sizeof *sources, by_source_id);
}

const ExtractListed *extract_work_source(const ExtractWork *work, int64_t source_id)
{
    const ExtractListed wanted = {.source_id = source_id};
    const ExtractListed *found =
        work->source_count ? bsearch(&wanted, work->sources, work->source_count, sizeof wanted, by_source_id) : NULL;
    VC_ASSERT(found); // the filter names the sources of the work alone
    return found;
}

static bool read_page(Line *l, VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(
        &sql,
        "SELECT i.image_id, i.source_id, i.key, (SELECT offset FROM image_origin o WHERE o.image_id = i.image_id)"
        " %s %s AND i.image_id > %" PRId64 " ORDER BY i.image_id LIMIT %d",
        extract_pending_sql, l->work->filter, l->last_id, PAGE);
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_prepare(l->work->ws->db, &stmt, sql.data, err);
    ExtractJob **end = &l->page;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        ExtractJob *job = vc_calloc(1, sizeof *job);
        job->image_id = l->last_id = vc_column_int(stmt, 0);
        job->source = extract_work_source(l->work, vc_column_int(stmt, 1));
        job->key = vc_strdup(vc_column_text(stmt, 2));
        job->offset = vc_column_is_null(stmt, 3) ? -1 : vc_column_int(stmt, 3);
        *end = job;
        end = &job->next;
    }
    l->exhausted = ok && l->page == NULL;
    vc_stmt_finish(&stmt);
    vc_str_finish(&sql);
    return ok;
}

static void enter(Line *l, ExtractJob *job)
{
    Slot *slot = vc_calloc(1, sizeof *slot);
    if (!l->head)
        l->head_since = vc_now();
    *l->tail = slot;
    l->tail = &slot->next;
    l->length++;
    if (extract_journal_find(l->journal, job->image_id, &slot->place)) {
        slot->done = true; // by an earlier run
        l->spilled++;
        extract_job_destroy(&job);
        return;
    }
    slot->job = job;
    job->slot = slot;
    l->inside++;
    extract_pipeline_add(l->pipeline, job);
}

// Puts work into the pipeline while there is room.
static bool start_jobs(Line *l, VcErr *err)
{
    while (l->inside < l->capacity && l->length < WINDOW && l->ready_bytes < 2 * MEMORY_BYTES &&
           extract_journal_bytes(l->journal) < journal_limit && !l->exhausted) {
        if (!l->page && !read_page(l, err))
            return false;
        ExtractJob *job = l->page;
        if (!job)
            break;
        l->page = job->next;
        job->next = NULL;
        enter(l, job);
    }
    return true;
}

// --- finished images

static void count_job(Line *l, const ExtractJob *job)
{
    ExtractReport *r = l->work->report;
    r->stored += job->cause == EXTRACT_OK;
    r->rejected += job->cause != EXTRACT_OK;
    r->retries += job->attempts > 1 ? job->attempts - 1 : 0;
    r->bytes_read += job->n;
    vc_progress_add(l->progress, 1, job->cause != EXTRACT_OK);
    if (job->cause != EXTRACT_OK) {
        vc_debug("image %" PRId64 " '%.300s': %s: %s", job->image_id, job->key, extract_cause_name(job->cause),
                 job->err.text);
    }
}

// A done slot's result, from memory or from the journal.
static bool result(Line *l, Slot *slot, VcErr *err)
{
    if (slot->job) {
        l->ready--;
        l->ready_bytes -= slot->bytes;
        return true;
    }
    if (!extract_journal_get(l->journal, slot->place, &slot->job, err))
        return false;
    slot->job->slot = slot;
    return true;
}

static bool commit_batch(Line *l, ExtractJob **jobs, size_t count, VcErr *err)
{
    bool ok = count == 0 || extract_commit(l->committer, jobs, count, err);
    for (size_t i = 0; i < count; i++) {
        Slot *slot = jobs[i]->slot;
        if (ok)
            count_job(l, jobs[i]);
        if (ok && slot->place) {
            extract_journal_drop(l->journal, slot->place);
            l->spilled--;
        }
        extract_job_destroy(&jobs[i]);
        free(slot);
    }
    l->last_commit = l->head_since = vc_now();
    if (ok && count)
        vc_debug("committed: %" PRIu64 " images of this run", l->work->report->stored + l->work->report->rejected);
    return ok && extract_sampler_tick(l->sampler, l->work->report, false, err);
}

// Commits from the front of the line as far as it is done.
static bool commit_front(Line *l, VcErr *err)
{
    ExtractJob *batch[BATCH_JOBS];
    bool ok = true;
    while (ok && l->head && l->head->done) {
        size_t count = 0, bytes = 0;
        while (ok && l->head && l->head->done && count < BATCH_JOBS && bytes < BATCH_BYTES) {
            Slot *slot = l->head;
            ok = result(l, slot, err);
            if (!ok)
                break;
            l->head = slot->next;
            if (!l->head)
                l->tail = &l->head;
            l->length--;
            bytes += slot->job->thumbnail.bytes;
            batch[count++] = slot->job;
        }
        ok = commit_batch(l, batch, count, ok ? err : NULL) && ok;
    }
    return ok;
}

// Done images at the front of the line, enough for a transaction?
static bool batch_is_due(const Line *l)
{
    size_t count = 0, bytes = 0;
    for (const Slot *slot = l->head; slot && slot->done; slot = slot->next) {
        bytes += slot->bytes;
        if (++count >= BATCH_JOBS || bytes >= BATCH_BYTES)
            return true;
    }
    return count > 0 && (l->inside == 0 || vc_now() - l->last_commit > batch_seconds);
}

// What is done behind the first that is not goes to the journal.
static bool spill(Line *l, VcErr *err)
{
    Slot *slot = l->head;
    while (slot && slot->done)
        slot = slot->next;
    bool ok = true, any = false;
    for (; ok && slot; slot = slot->next) {
        if (!slot->done || !slot->job)
            continue;
        ok = extract_journal_put(l->journal, slot->job, &slot->place, err);
        if (!ok)
            break;
        l->ready--;
        l->ready_bytes -= slot->bytes;
        extract_job_destroy(&slot->job);
        l->spilled++;
        any = true;
    }
    l->last_spill = vc_now();
    ok = ok && (!any || extract_journal_sync(l->journal, err));
    if (ok && any)
        vc_debug("in the journal: %zu images that wait for an earlier one", l->spilled);
    return ok;
}

static bool spill_is_due(const Line *l)
{
    const double now = vc_now();
    return l->ready >= MEMORY_JOBS || l->ready_bytes >= MEMORY_BYTES ||
           (l->ready && now - l->head_since > batch_seconds && now - l->last_spill > batch_seconds);
}

// Takes one finished job out of the pipeline; false when none came for a while. A cancelled one leaves its slot undone.
static bool take_job(Line *l)
{
    ExtractJob *job = extract_pipeline_take(l->pipeline, batch_seconds / 2);
    if (!job)
        return false;
    l->inside--;
    Slot *slot = job->slot;
    if (job->cancelled) {
        extract_job_destroy(&slot->job);
        return true;
    }
    job->done = slot->done = true;
    slot->bytes = (uint32_t)job->thumbnail.bytes;
    l->ready++;
    l->ready_bytes += slot->bytes;
    return true;
}

static bool process(Line *l, VcErr *err)
{
    bool ok = true;
    while (ok && !vc_interrupted()) {
        ok = start_jobs(l, err);
        if (ok && l->inside == 0 && l->exhausted)
            break;
        const bool idle = ok && l->inside && !take_job(l);
        if (ok && (idle || batch_is_due(l)))
            ok = commit_front(l, err);
        if (ok && spill_is_due(l))
            ok = spill(l, err);
        ok = ok && extract_sampler_tick(l->sampler, l->work->report, false, err);
    }
    // What is under way comes back before anything is torn down; after an error it is not wanted any more.
    if (!ok)
        extract_pipeline_cancel(l->pipeline);
    while (l->inside)
        take_job(l);
    ok = ok && commit_front(l, err);
    if (ok && vc_interrupted()) {
        ok = spill(l, err) &&
             vc_fail(err, VC_ERR_CANCELLED, "interrupted; everything finished is kept, run the same command to go on");
    }
    return ok && extract_committer_finish(l->committer, err);
}

// What a stored picture depends on besides its bytes: a journal made with other settings is not used.
static void put_settings(VcStr *out, const ExtractThumbnailOptions *o)
{
    vc_str_putf(out, "%d %d %d %d %.9g %" PRIu64 " %" PRIu64 " %" PRIu64 " %d", o->size, (int)o->fit, o->quality,
                o->min_size, o->max_aspect, o->max_bytes, o->max_pixels, o->max_memory, o->full_pixels);
}

static void destroy(Line *l, bool ok)
{
    vc_progress_end(&l->progress);
    extract_pipeline_stop(&l->pipeline);
    extract_committer_close(&l->committer);
    extract_journal_close(&l->journal, ok);
    extract_sampler_close(&l->sampler);
    while (l->head) {
        Slot *next = l->head->next;
        extract_job_destroy(&l->head->job);
        free(l->head);
        l->head = next;
    }
    while (l->page) {
        ExtractJob *next = l->page->next;
        extract_job_destroy(&l->page);
        l->page = next;
    }
}

bool extract_line_run(const ExtractWork *work, uint64_t count, VcErr *err)
{
    const ExtractOptions *o = work->options;
    Line l = {.work = work, .capacity = 2 * o->fetch.connections + 8 * o->jobs};
    l.tail = &l.head;
    VcStr settings = {0};
    put_settings(&settings, &o->thumbnail);
    // Also with nothing to do: a killed run may have left an unfinished shard.
    const double start = vc_now();
    bool ok = extract_committer_open(&l.committer, work->ws, o, err) &&
              extract_journal_open(&l.journal, work->ws, settings.data, o->retry_failed != NULL, err);
    vc_str_finish(&settings);
    if (ok && count == 0)
        ok = extract_committer_finish(l.committer, err);
    if (ok && count > 0) {
        l.progress = vc_progress_begin("extract", "images", count);
        ok = extract_sampler_open(&l.sampler, work->ws, err) &&
             extract_pipeline_start(&l.pipeline, o, l.capacity, err) && process(&l, err);
        VcErr second; // the first failure is the one to tell
        ok = extract_sampler_tick(l.sampler, work->report, true, ok ? err : &second) && ok;
        work->report->seconds = vc_now() - start;
    }
    destroy(&l, ok);
    return ok;
}
