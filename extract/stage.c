// SPDX-License-Identifier: MIT
#include "extract/stage.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/str.h"
#include "extract/line.h"
#include "extract/sample.h"

#include <inttypes.h>
#include <unistd.h>

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
} Stage;

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
    extract_work_sort(s->sources, s->source_count);
    s->report->listing_seconds = vc_now() - start;
    return ok;
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
        vc_str_putf(&sql, "SELECT count(*) %s +i.source_id = %" PRId64, extract_pending_sql, source->source_id);
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
    for (size_t i = 0; i < s->source_count; i++) {
        if (s->sources[i].unpacked)
            unlink(s->sources[i].root);
    }
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
    vc_str_putf(&sql, "SELECT count(*) %s %s", extract_pending_sql, s->filter);
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
    for (unsigned i = 0; !*wanted && extract_cause_at(i) != EXTRACT_OK; i++) {
        if (extract_cause_may_heal(extract_cause_at(i)))
            vc_str_putf(out, "%s%d", out->len ? ", " : "", extract_cause_at(i));
    }
    while (*wanted) {
        const size_t n = strcspn(wanted, ",");
        char *name = vc_strndup(wanted, n);
        const ExtractCause cause = extract_cause_of(name);
        // An entry that names no image has nothing to try again, and twins are found anew each time anyway.
        const bool known = cause != EXTRACT_OK && cause != EXTRACT_BAD_ENTRY;
        if (known) {
            vc_str_putf(out, "%s%d", out->len ? ", " : "", cause);
        } else {
            vc_fail(err, VC_ERR_USAGE, "--retry-failed: '%.60s' is no cause that can be tried again; see 'vicha stats'",
                    name);
        }
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
    const ExtractWork work = {.ws = s->ws,
                              .options = s->options,
                              .report = s->report,
                              .sources = s->sources,
                              .source_count = s->source_count,
                              .filter = s->filter};
    return reset_failed(s, err) && count_pending(s, &count, err) && extract_line_run(&work, (uint64_t)count, err);
}

bool extract_run(VcWorkspace *ws, const ExtractOptions *options, ExtractReport *report, VcErr *err)
{
    VC_ASSERT(options->shard_count > 0 && options->shard_index < options->shard_count && options->jobs > 0);
    *report = (ExtractReport){0};
    Stage s = {.ws = ws, .options = options, .report = report};
    // What is reported as done must survive a loss of power. Rows are read and written in order, so little has to be
    // kept of a database of any size.
    bool ok = vc_db_exec(ws->db, "PRAGMA synchronous = FULL; PRAGMA cache_size = -16384; PRAGMA mmap_size = 0", err) &&
              list_sources(&s, err) && extract_index_captions(ws, err);
    make_filter(&s);
    if (ok)
        ok = unpack_sources(&s, err) && process_pending(&s, err);
    remove_unpacked(&s);
    VcErr second; // the first failure is the one to tell
    const bool counted = fill_totals(&s, ok ? err : &second);
    if (counted)
        ok = extract_write_stats(ws, report, ok ? err : &second) && ok;
    for (size_t i = 0; i < s.source_count; i++)
        free(s.sources[i].root);
    free(s.sources);
    extract_inputs_finish(&s.inputs);
    free(s.filter);
    return ok && counted;
}
