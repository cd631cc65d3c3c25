// SPDX-License-Identifier: MIT
#include "extract/twins.h"

#include "base/mem.h"

#include <inttypes.h>
#include <string.h>

enum { PARTS = 4, PART_BITS = 16, FLAT = PARTS }; // slot = part << 16 | value; FLAT: by colour

struct ExtractTwins {
    VcDb *db;
    ExtractDedup dedup;
    VcStmt *measure, *phash; // written for every image
    VcStmt *twin;            // exact, pixel
    VcStmt *near, *looks, *slot;
};

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS image_measure(image_id INTEGER PRIMARY KEY REFERENCES image ON DELETE CASCADE,"
    " pixel_hash BLOB NOT NULL, blurriness REAL NOT NULL, darkness REAL NOT NULL, grey REAL NOT NULL,"
    " colours BLOB NOT NULL) STRICT;";
static const char near_table[] =
    "CREATE TABLE IF NOT EXISTS image_near(slot INTEGER NOT NULL, image_id INTEGER NOT NULL, phash INTEGER NOT NULL,"
    " PRIMARY KEY(slot, image_id)) STRICT, WITHOUT ROWID;";

static int flat_slot(const uint8_t *colours)
{
    return FLAT << PART_BITS | (colours[0] >> 3) << 10 | (colours[1] >> 3) << 5 | colours[2] >> 3;
}

static bool put_slot(ExtractTwins *t, int64_t image_id, int slot, uint64_t phash, VcErr *err)
{
    vc_bind_int(t->slot, 1, slot);
    vc_bind_int(t->slot, 2, image_id);
    vc_bind_int(t->slot, 3, (int64_t)phash);
    return vc_stmt_run(t->slot, err);
}

static bool put_slots(ExtractTwins *t, int64_t image_id, uint64_t phash, const uint8_t *colours, VcErr *err)
{
    if (phash == 0)
        return put_slot(t, image_id, flat_slot(colours), phash, err);
    bool ok = true;
    for (int p = 0; ok && p < PARTS; p++)
        ok = put_slot(t, image_id, p << PART_BITS | (int)(phash >> (p * PART_BITS) & 0xFFFF), phash, err);
    return ok;
}

// What runs without perceptual deduplication stored since the last one with it.
static bool catch_up(ExtractTwins *t, VcWorkspace *ws, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row, ok = vc_db_begin(ws->db, err) &&
                   vc_db_prepare(ws->db, &stmt,
                                 "SELECT image_id, phash, colours FROM image_measure JOIN image USING(image_id)"
                                 " WHERE phash IS NOT NULL AND image_id NOT IN (SELECT image_id FROM image_near)",
                                 err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        size_t n;
        const uint8_t *colours = vc_column_blob(stmt, 2, &n);
        if (n == sizeof((ExtractMeasures *)0)->colours)
            ok = put_slots(t, vc_column_int(stmt, 0), (uint64_t)vc_column_int(stmt, 1), colours, err);
    }
    vc_stmt_finish(&stmt);
    if (ok && vc_db_commit(ws->db, err))
        return true;
    vc_db_rollback(ws->db);
    return false;
}

static bool prepare_near(ExtractTwins *t, VcWorkspace *ws, VcErr *err)
{
    return vc_db_exec(t->db, near_table, err) &&
           vc_db_prepare(t->db, &t->slot, "INSERT OR REPLACE INTO image_near VALUES(?, ?, ?)", err) &&
           catch_up(t, ws, err) &&
           vc_db_prepare(t->db, &t->near, "SELECT image_id, phash FROM image_near WHERE slot = ?", err) &&
           vc_db_prepare(t->db, &t->looks,
                         "SELECT width, height, colours, key FROM image JOIN image_measure USING(image_id)"
                         " JOIN image_file USING(image_id) WHERE image_id = ?",
                         err);
}

static bool prepare_dedup(ExtractTwins *t, VcWorkspace *ws, VcErr *err)
{
    static const char by_bytes[] = "SELECT image_id, key FROM image JOIN image_file USING(image_id)"
                                   " WHERE sha256 = ? AND image_id <> ? ORDER BY image_id LIMIT 1";
    static const char by_pixels[] = "SELECT image_id, key FROM image_measure JOIN image USING(image_id)"
                                    " JOIN image_file USING(image_id) WHERE pixel_hash = ? AND image_id <> ?"
                                    " ORDER BY image_id LIMIT 1";
    switch (t->dedup) {
    case EXTRACT_DEDUP_OFF:
        return true;
    case EXTRACT_DEDUP_EXACT: // the look-up needs the index on sha256
        return vc_workspace_build_indexes(ws, err) && vc_db_prepare(t->db, &t->twin, by_bytes, err);
    case EXTRACT_DEDUP_PIXEL:
        return vc_db_exec(t->db, "CREATE INDEX IF NOT EXISTS image_measure_pixel ON image_measure(pixel_hash)", err) &&
               vc_db_prepare(t->db, &t->twin, by_pixels, err);
    case EXTRACT_DEDUP_PERCEPTUAL:
        return prepare_near(t, ws, err);
    }
    return false;
}

bool extract_twins_open(ExtractTwins **out, VcWorkspace *ws, ExtractDedup dedup, VcErr *err)
{
    ExtractTwins *t = vc_calloc(1, sizeof *t);
    t->db = ws->db;
    t->dedup = dedup;
    const bool ok =
        vc_db_exec(t->db, tables, err) && prepare_dedup(t, ws, err) &&
        vc_db_prepare(t->db, &t->measure, "INSERT OR REPLACE INTO image_measure VALUES(?, ?, ?, ?, ?, ?)", err) &&
        vc_db_prepare(t->db, &t->phash, "UPDATE image SET phash = ?2 WHERE image_id = ?1", err);
    if (ok) {
        *out = t;
    } else {
        extract_twins_close(&t);
    }
    return ok;
}

void extract_twins_close(ExtractTwins **twins)
{
    if (!twins || !*twins)
        return;
    ExtractTwins *t = *twins;
    vc_stmt_finish(&t->measure);
    vc_stmt_finish(&t->phash);
    vc_stmt_finish(&t->twin);
    vc_stmt_finish(&t->near);
    vc_stmt_finish(&t->looks);
    vc_stmt_finish(&t->slot);
    free(t);
    *twins = NULL;
}

// --- look-up

static void same_as(ExtractJob *job, const char *how, int64_t twin, const char *key)
{
    job->cause = EXTRACT_DUPLICATE;
    vc_fail(&job->err, VC_ERR_FORMAT, "%s as image %" PRId64 " ('%s')", how, twin, key);
}

static bool find_equal(ExtractTwins *t, ExtractJob *job, int64_t *twin, VcErr *err)
{
    const bool pixels = t->dedup == EXTRACT_DEDUP_PIXEL;
    bool row;
    vc_bind_blob(t->twin, 1, pixels ? job->thumbnail.pixel_hash : job->sha256, pixels ? 16 : 32);
    vc_bind_int(t->twin, 2, job->image_id);
    if (!vc_stmt_step(t->twin, &row, err))
        return false;
    if (row) {
        *twin = vc_column_int(t->twin, 0);
        same_as(job, pixels ? "the same pixels" : "the same bytes", *twin, vc_column_text(t->twin, 1));
    }
    vc_stmt_reset(t->twin);
    return true;
}

// Does image `other`, with a hash near enough, look like the job's? *twin is then its number.
static bool compare(ExtractTwins *t, ExtractJob *job, int64_t other, uint64_t phash, int64_t *twin, VcErr *err)
{
    bool row;
    vc_bind_int(t->looks, 1, other);
    if (!vc_stmt_step(t->looks, &row, err))
        return false;
    if (row) {
        ExtractMeasures m = {.phash = phash};
        size_t n;
        const void *colours = vc_column_blob(t->looks, 2, &n);
        if (n == sizeof m.colours) {
            memcpy(m.colours, colours, n);
            const ExtractThumbnail *mine = &job->thumbnail;
            if (extract_looks_same(&mine->measures, mine->original_width, mine->original_height, &m,
                                   (int)vc_column_int(t->looks, 0), (int)vc_column_int(t->looks, 1))) {
                *twin = other;
                same_as(job, "looks the same", other, vc_column_text(t->looks, 3));
            }
        }
    }
    vc_stmt_reset(t->looks);
    return true;
}

static bool probe(ExtractTwins *t, ExtractJob *job, int slot, int64_t *twin, VcErr *err)
{
    bool row, ok;
    vc_bind_int(t->near, 1, slot);
    while ((ok = vc_stmt_step(t->near, &row, err)) && row) {
        const int64_t other = vc_column_int(t->near, 0);
        const uint64_t phash = (uint64_t)vc_column_int(t->near, 1);
        // The lowest number is the one to name: what the look-ups find does not depend on their order.
        if (other != job->image_id && (*twin == 0 || other < *twin) &&
            extract_hamming(phash, job->thumbnail.measures.phash) <= EXTRACT_NEAR_BITS)
            ok = compare(t, job, other, phash, twin, err);
        if (!ok)
            break;
    }
    vc_stmt_reset(t->near);
    return ok;
}

static bool find_near(ExtractTwins *t, ExtractJob *job, int64_t *twin, VcErr *err)
{
    const ExtractMeasures *m = &job->thumbnail.measures;
    if (m->phash == 0)
        return probe(t, job, flat_slot(m->colours), twin, err);
    bool ok = true;
    for (int p = 0; ok && p < PARTS; p++) {
        const int value = (int)(m->phash >> (p * PART_BITS) & 0xFFFF);
        ok = probe(t, job, p << PART_BITS | value, twin, err);
        for (int bit = 0; ok && bit < PART_BITS; bit++)
            ok = probe(t, job, p << PART_BITS | (value ^ 1 << bit), twin, err);
    }
    return ok;
}

bool extract_twins_find(ExtractTwins *t, ExtractJob *job, int64_t *twin, VcErr *err)
{
    *twin = 0;
    if (t->dedup == EXTRACT_DEDUP_OFF)
        return true;
    return t->dedup == EXTRACT_DEDUP_PERCEPTUAL ? find_near(t, job, twin, err) : find_equal(t, job, twin, err);
}

// --- storing

bool extract_twins_add(ExtractTwins *t, const ExtractJob *job, VcErr *err)
{
    const ExtractThumbnail *thumbnail = &job->thumbnail;
    const ExtractMeasures *m = &thumbnail->measures;
    vc_bind_int(t->measure, 1, job->image_id);
    vc_bind_blob(t->measure, 2, thumbnail->pixel_hash, sizeof thumbnail->pixel_hash);
    vc_bind_double(t->measure, 3, (double)m->blurriness);
    vc_bind_double(t->measure, 4, (double)m->darkness);
    vc_bind_double(t->measure, 5, (double)m->grey);
    vc_bind_blob(t->measure, 6, m->colours, sizeof m->colours);
    vc_bind_int(t->phash, 1, job->image_id);
    vc_bind_int(t->phash, 2, (int64_t)m->phash);
    if (!vc_stmt_run(t->measure, err) || !vc_stmt_run(t->phash, err))
        return false;
    return t->dedup != EXTRACT_DEDUP_PERCEPTUAL || put_slots(t, job->image_id, m->phash, m->colours, err);
}
