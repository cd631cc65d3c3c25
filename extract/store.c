// SPDX-License-Identifier: MIT
// Tar headers are written here, three a record, all of one simple kind (POSIX ustar, short names, small files);
// libarchive, which reads them back in the tests, has no way to append at a byte we choose.
#include "extract/store.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

enum { BLOCK = 512 };

struct ExtractStore {
    VcWorkspace *ws;
    ExtractStoreOptions options;
    VcStmt *add_file, *add_shard;
    int fd;                     // of the open part, or -1
    int64_t shard;              // its number
    uint64_t committed, images; // bytes and images of it that are committed
    VcStr batch;                // bytes behind `committed` that wait for the next sync
    uint64_t batch_images;
    char *part, *final; // its names
};

static char *shard_path(const VcWorkspace *ws, int64_t shard, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "images/%05" PRId64 ".tar%s", shard, suffix);
    return vc_workspace_path(ws, name);
}

// --- tar

static void put_octal(char *field, size_t width, uint64_t value)
{
    field[width - 1] = 0;
    for (size_t i = width - 1; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

void extract_tar_put(VcStr *out, int64_t image_id, const char *suffix, const void *data, size_t n)
{
    static const char zeros[BLOCK];
    char h[BLOCK] = {0};
    snprintf(h, 100, "%09" PRId64 "%s", image_id, suffix);
    put_octal(h + 100, 8, 0644);
    put_octal(h + 108, 8, 0);
    put_octal(h + 116, 8, 0);
    put_octal(h + 124, 12, n);
    put_octal(h + 136, 12, 0);
    memset(h + 148, ' ', 8);
    h[156] = '0';
    memcpy(h + 257, "ustar", 6);
    memcpy(h + 263, "00", 2); // NOLINT(bugprone-not-null-terminated-result): the field has no room for one
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    put_octal(h + 148, 7, sum);
    vc_str_putn(out, h, BLOCK);
    vc_str_putn(out, data, n);
    vc_str_putn(out, zeros, (BLOCK - n % BLOCK) % BLOCK);
}

// --- opening and repair

static bool run_int(VcDb *db, const char *sql, int64_t a, int64_t b, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, sql, err))
        return false;
    vc_bind_int(stmt, 1, a);
    if (b >= 0)
        vc_bind_int(stmt, 2, b);
    const bool ok = vc_stmt_run(stmt, err);
    vc_stmt_finish(&stmt);
    return ok;
}

static void set_open_shard(ExtractStore *s, int64_t shard, uint64_t bytes, uint64_t images)
{
    free(s->part);
    free(s->final);
    s->shard = shard;
    s->part = shard_path(s->ws, shard, ".part");
    s->final = shard_path(s->ws, shard, "");
    s->committed = bytes;
    s->images = images;
}

static bool open_part(ExtractStore *s, int flags, VcErr *err)
{
    s->fd = open(s->part, O_WRONLY | O_CLOEXEC | flags, 0666);
    return s->fd >= 0 || vc_fail_errno(err, "cannot write '%s'", s->part);
}

// The part is shorter than the database says (a file system that lost synced bytes): its last images are made again.
static bool drop_lost(ExtractStore *s, uint64_t size, VcErr *err)
{
    VcDb *db = s->ws->db;
    VcStmt *stmt;
    // The last image that begins inside may have lost its KEY.txt or KEY.json, so it goes too.
    if (!vc_db_prepare(db, &stmt,
                       "SELECT coalesce(max(offset), 512) FROM image_file WHERE shard = ?1 AND offset + bytes <= ?2",
                       err))
        return false;
    vc_bind_int(stmt, 1, s->shard);
    vc_bind_int(stmt, 2, (int64_t)size);
    bool row;
    const bool ok = vc_stmt_step(stmt, &row, err);
    const int64_t first_lost = ok && row ? vc_column_int(stmt, 0) : BLOCK;
    vc_stmt_finish(&stmt);
    if (!ok || !vc_db_begin(db, err))
        return false;
    vc_warn("'%s' is shorter than the database says; its last images are made again", s->part);
    int64_t left = 0;
    char count[128];
    snprintf(count, sizeof count, "SELECT count(*) FROM image_file WHERE shard = %" PRId64, s->shard);
    if (!run_int(db, "DELETE FROM image_file WHERE shard = ?1 AND offset >= ?2", s->shard, first_lost, err) ||
        !vc_db_int(db, count, 0, &left, err) ||
        !run_int(db, "UPDATE shard SET bytes = ?2 WHERE shard = ?1", s->shard, first_lost - BLOCK, err) ||
        !run_int(db, "UPDATE shard SET images = ?2 WHERE shard = ?1", s->shard, left, err) || !vc_db_commit(db, err)) {
        vc_db_rollback(db);
        return false;
    }
    s->committed = (uint64_t)(first_lost - BLOCK);
    s->images = (uint64_t)left;
    return true;
}

static bool mark_finished(ExtractStore *s, VcErr *err)
{
    return run_int(s->ws->db, "UPDATE shard SET finished = 1 WHERE shard = ?1", s->shard, -1, err);
}

// The shard that the last run left open, in whatever state.
static bool recover(ExtractStore *s, VcErr *err)
{
    uint64_t size;
    if (!vc_exists(s->part)) {
        if (vc_exists(s->final)) // killed between the rename and its row
            return mark_finished(s, err);
        vc_warn("'%s' is gone; its %" PRIu64 " images are made again", s->part, s->images);
        return run_int(s->ws->db, "DELETE FROM image_file WHERE shard = ?1", s->shard, -1, err) &&
               run_int(s->ws->db, "DELETE FROM shard WHERE shard = ?1", s->shard, -1, err);
    }
    if (!vc_file_size(s->part, &size, err) || (size < s->committed && !drop_lost(s, size, err)) ||
        !open_part(s, 0, err))
        return false;
    if (ftruncate(s->fd, (off_t)s->committed) != 0)
        return vc_fail_errno(err, "cannot cut '%s' to its committed length", s->part);
    // Left by a run with another --shard: not ours to go on with.
    if (s->shard % s->options.shard_count != s->options.shard_index)
        return extract_store_finish(s, err);
    return true;
}

bool extract_store_open(ExtractStore **out, VcWorkspace *ws, const ExtractStoreOptions *options, VcErr *err)
{
    ExtractStore *s = vc_calloc(1, sizeof *s);
    s->ws = ws;
    s->options = *options;
    s->fd = -1;
    char *folder = vc_workspace_path(ws, "images");
    bool ok = vc_make_dirs(folder, err);
    free(folder);
    VcStmt *open_shard = NULL;
    bool row = false;
    ok = ok &&
         vc_db_prepare(ws->db, &s->add_file,
                       "INSERT INTO image_file(image_id, shard, offset, bytes) VALUES(?, ?, ?, ?)", err) &&
         vc_db_prepare(ws->db, &s->add_shard,
                       "INSERT INTO shard(shard, images, bytes, finished) VALUES(?1, ?2, ?3, 0)"
                       " ON CONFLICT(shard) DO UPDATE SET images = ?2, bytes = ?3",
                       err) &&
         vc_db_prepare(ws->db, &open_shard, "SELECT shard, bytes, images FROM shard WHERE finished = 0", err) &&
         vc_stmt_step(open_shard, &row, err);
    if (ok && row) {
        set_open_shard(s, vc_column_int(open_shard, 0), (uint64_t)vc_column_int(open_shard, 1),
                       (uint64_t)vc_column_int(open_shard, 2));
    }
    vc_stmt_finish(&open_shard);
    if (ok && row)
        ok = recover(s, err);
    if (ok) {
        *out = s;
    } else {
        extract_store_close(&s);
    }
    return ok;
}

static bool begin_shard(ExtractStore *s, VcErr *err)
{
    int64_t number;
    if (!vc_db_int(s->ws->db, "SELECT max(shard) + 1 FROM shard", 0, &number, err))
        return false;
    while (number % s->options.shard_count != s->options.shard_index)
        number++;
    set_open_shard(s, number, 0, 0);
    return open_part(s, O_CREAT | O_TRUNC, err) && vc_sync_parent(s->part, err);
}

// --- writing

bool extract_store_add(ExtractStore *s, const ExtractRecord *r, VcErr *err)
{
    if (s->fd < 0 && !begin_shard(s, err))
        return false;
    const uint64_t offset = s->committed + s->batch.len + BLOCK;
    extract_tar_put(&s->batch, r->image_id, ".jpg", r->jpeg, r->jpeg_bytes);
    extract_tar_put(&s->batch, r->image_id, ".txt", r->text, r->text_bytes);
    extract_tar_put(&s->batch, r->image_id, ".json", r->json, r->json_bytes);
    s->batch_images++;
    vc_bind_int(s->add_file, 1, r->image_id);
    vc_bind_int(s->add_file, 2, s->shard);
    vc_bind_int(s->add_file, 3, (int64_t)offset);
    vc_bind_int(s->add_file, 4, (int64_t)r->jpeg_bytes);
    return vc_stmt_run(s->add_file, err);
}

bool extract_store_full(const ExtractStore *s)
{
    return s->fd >= 0 && (s->images + s->batch_images >= s->options.shard_images ||
                          s->committed + s->batch.len >= s->options.shard_bytes);
}

bool extract_store_sync(ExtractStore *s, VcErr *err)
{
    if (s->batch_images == 0)
        return true;
    if (lseek(s->fd, (off_t)s->committed, SEEK_SET) < 0)
        return vc_fail_errno(err, "cannot write '%s'", s->part);
    if (!vc_full_write(s->fd, s->batch.data, s->batch.len, s->part, err) || !vc_sync_file(s->fd, s->part, err))
        return vc_prefix(err, "everything stored so far is kept; make room and run the same command again");
    vc_bind_int(s->add_shard, 1, s->shard);
    vc_bind_int(s->add_shard, 2, (int64_t)(s->images + s->batch_images));
    vc_bind_int(s->add_shard, 3, (int64_t)(s->committed + s->batch.len));
    return vc_stmt_run(s->add_shard, err);
}

void extract_store_rolled_back(ExtractStore *s)
{
    vc_str_clear(&s->batch);
    s->batch_images = 0;
    // Half a batch on a full disk would stay until the next run.
    if (s->fd >= 0 && ftruncate(s->fd, (off_t)s->committed) != 0)
        vc_debug("cannot cut '%s': %s", s->part, strerror(errno));
}

bool extract_store_committed(ExtractStore *s, VcErr *err)
{
    s->committed += s->batch.len;
    s->images += s->batch_images;
    vc_str_clear(&s->batch);
    s->batch_images = 0;
    return !extract_store_full(s) || extract_store_finish(s, err);
}

bool extract_store_finish(ExtractStore *s, VcErr *err)
{
    static const char trailer[2 * BLOCK];
    VC_ASSERT(s->batch_images == 0);
    if (s->fd < 0)
        return true;
    if (s->images == 0) { // nothing ever came: no empty shard
        close(s->fd);
        s->fd = -1;
        unlink(s->part);
        return run_int(s->ws->db, "DELETE FROM shard WHERE shard = ?1", s->shard, -1, err);
    }
    if (lseek(s->fd, (off_t)s->committed, SEEK_SET) < 0)
        return vc_fail_errno(err, "cannot write '%s'", s->part);
    if (!vc_full_write(s->fd, trailer, sizeof trailer, s->part, err) || !vc_sync_file(s->fd, s->part, err))
        return false;
    if (rename(s->part, s->final) != 0)
        return vc_fail_errno(err, "cannot rename '%s' to '%s'", s->part, s->final);
    close(s->fd);
    s->fd = -1;
    s->committed = s->images = 0; // the next shard begins with the next image
    return vc_sync_parent(s->final, err) && mark_finished(s, err);
}

void extract_store_close(ExtractStore **store)
{
    if (!store || !*store)
        return;
    ExtractStore *s = *store;
    if (s->fd >= 0)
        close(s->fd);
    vc_stmt_finish(&s->add_file);
    vc_stmt_finish(&s->add_shard);
    vc_str_finish(&s->batch);
    free(s->part);
    free(s->final);
    free(s);
    *store = NULL;
}
