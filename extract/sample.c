// SPDX-License-Identifier: MIT
#include "extract/sample.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <inttypes.h>
#include <unistd.h>

enum { SAMPLES_A_STEP = 600 }; // then the interval doubles

struct ExtractSampler {
    VcWorkspace *ws;
    VcStmt *add, *end;
    int64_t run;
    double start, next, interval;
    unsigned taken;
};

// Bytes of this process that are in memory now.
static int64_t resident(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    char line[128];
    int64_t pages = 0;
    if (f && fgets(line, sizeof line, f)) {
        char *second = strchr(line, ' ');
        pages = second ? strtoll(second, NULL, 10) : 0;
    }
    if (f)
        fclose(f);
    return pages * (int64_t)sysconf(_SC_PAGESIZE);
}

bool extract_sampler_open(ExtractSampler **out, VcWorkspace *ws, VcErr *err)
{
    ExtractSampler *s = vc_calloc(1, sizeof *s);
    VcStmt *begin = NULL;
    s->ws = ws;
    s->start = vc_now();
    s->interval = 1;
    bool ok = vc_db_exec(ws->db,
                         "CREATE TABLE IF NOT EXISTS extract_run(run INTEGER PRIMARY KEY, started INTEGER NOT NULL,"
                         "  finished INTEGER) STRICT;"
                         "CREATE TABLE IF NOT EXISTS extract_sample(run INTEGER NOT NULL REFERENCES extract_run,"
                         "  at REAL NOT NULL, stored INTEGER NOT NULL, rejected INTEGER NOT NULL,"
                         "  retries INTEGER NOT NULL, bytes_read INTEGER NOT NULL, memory INTEGER NOT NULL,"
                         "  PRIMARY KEY(run, at)) STRICT, WITHOUT ROWID",
                         err) &&
              vc_db_prepare(ws->db, &begin, "INSERT INTO extract_run(started) VALUES(?)", err);
    if (ok)
        vc_bind_int(begin, 1, vc_unix_time());
    ok = ok && vc_stmt_run(begin, err);
    vc_stmt_finish(&begin);
    s->run = ok ? vc_db_last_id(ws->db) : 0;
    ok = ok &&
         vc_db_prepare(ws->db, &s->add, "INSERT OR REPLACE INTO extract_sample VALUES(?, ?, ?, ?, ?, ?, ?)", err) &&
         vc_db_prepare(ws->db, &s->end, "UPDATE extract_run SET finished = ?2 WHERE run = ?1", err);
    if (ok) {
        *out = s;
    } else {
        extract_sampler_close(&s);
    }
    return ok;
}

bool extract_sampler_tick(ExtractSampler *s, const ExtractReport *r, bool last, VcErr *err)
{
    const double at = s ? vc_now() - s->start : 0;
    if (!s || (at < s->next && !last))
        return true;
    s->next = at + s->interval;
    if (++s->taken % SAMPLES_A_STEP == 0)
        s->interval *= 2;
    vc_bind_int(s->add, 1, s->run);
    vc_bind_double(s->add, 2, at);
    vc_bind_int(s->add, 3, (int64_t)r->stored);
    vc_bind_int(s->add, 4, (int64_t)r->rejected);
    vc_bind_int(s->add, 5, (int64_t)r->retries);
    vc_bind_int(s->add, 6, (int64_t)r->bytes_read);
    vc_bind_int(s->add, 7, resident());
    if (!vc_stmt_run(s->add, err))
        return false;
    if (!last)
        return true;
    vc_bind_int(s->end, 1, s->run);
    vc_bind_int(s->end, 2, vc_unix_time());
    return vc_stmt_run(s->end, err);
}

void extract_sampler_close(ExtractSampler **sampler)
{
    if (!sampler || !*sampler)
        return;
    vc_stmt_finish(&(*sampler)->add);
    vc_stmt_finish(&(*sampler)->end);
    free(*sampler);
    *sampler = NULL;
}

void extract_report_json(VcStr *out, const ExtractReport *r, bool all_causes)
{
    vc_str_putf(
        out,
        "{\"stored\": %" PRIu64 ", \"rejected\": %" PRIu64 ", \"waiting\": %" PRIu64 ", \"stored_now\": %" PRIu64
        ", \"rejected_now\": %" PRIu64 ", \"images_listed\": %" PRIu64 ", \"captions_listed\": %" PRIu64
        ", \"captions_repaired\": %" PRIu64 ", \"retries\": %" PRIu64 ", \"bytes_read\": %" PRIu64
        ", \"listing_seconds\": %.3f, \"seconds\": %.3f, \"images_per_s\": %.1f, \"peak_rss_mib\": %.1f, \"causes\": {",
        r->total_stored, r->total_rejected, r->total_waiting, r->stored, r->rejected, r->images_listed,
        r->captions_listed, r->captions_repaired, r->retries, r->bytes_read, r->listing_seconds, r->seconds,
        r->seconds > 0 ? (double)(r->stored + r->rejected) / r->seconds : 0, (double)vc_peak_rss() / (1 << 20));
    const char *between = "";
    for (unsigned i = 0; extract_cause_at(i) != EXTRACT_OK; i++) {
        const uint64_t count = r->total_cause[-extract_cause_at(i)];
        if (count == 0 && !all_causes)
            continue;
        vc_str_putf(out, "%s\"%s\": %" PRIu64, between, extract_cause_name(extract_cause_at(i)), count);
        between = ", ";
    }
    vc_str_put(out, "}}");
}

bool extract_write_stats(const VcWorkspace *ws, const ExtractReport *report, VcErr *err)
{
    VcStr text = {0};
    extract_report_json(&text, report, true);
    vc_str_putc(&text, '\n');
    char *path = vc_workspace_path(ws, "stats.json");
    const bool ok = vc_write_file(path, text.data, text.len, err);
    free(path);
    vc_str_finish(&text);
    return ok;
}
