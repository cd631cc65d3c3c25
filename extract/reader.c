// SPDX-License-Identifier: MIT
#include "extract/reader.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

enum {
    OPEN_SHARDS = 8,
    MAX_STORED = 256 << 20, // bytes; a row that says more is damaged
};

typedef struct {
    int64_t shard;
    int fd; // -1: free
    uint64_t used;
} OpenShard;

struct ExtractReader {
    VcWorkspace ws;
    VcStmt *find;
    OpenShard open[OPEN_SHARDS];
    uint64_t clock;
};

bool extract_reader_open(ExtractReader **out, const VcWorkspace *ws, VcErr *err)
{
    ExtractReader *r = vc_calloc(1, sizeof *r);
    for (size_t i = 0; i < OPEN_SHARDS; i++)
        r->open[i].fd = -1;
    const bool ok =
        vc_workspace_open(&r->ws, ws->dir, VC_DB_READ, err) &&
        vc_db_prepare(r->ws.db, &r->find, "SELECT shard, offset, bytes FROM image_file WHERE image_id = ?", err);
    if (ok) {
        *out = r;
    } else {
        extract_reader_close(&r);
    }
    return ok;
}

// Its descriptor, opened when needed; the least recently used one makes room.
static bool shard_fd(ExtractReader *r, int64_t shard, int *fd, VcErr *err)
{
    OpenShard *slot = &r->open[0];
    for (size_t i = 0; i < OPEN_SHARDS; i++) {
        OpenShard *s = &r->open[i];
        if (s->fd >= 0 && s->shard == shard) {
            s->used = ++r->clock;
            *fd = s->fd;
            return true;
        }
        if (s->fd < 0 || (slot->fd >= 0 && s->used < slot->used))
            slot = s;
    }
    char name[64], part_name[64];
    snprintf(name, sizeof name, "images/%05" PRId64 ".tar", shard);
    snprintf(part_name, sizeof part_name, "images/%05" PRId64 ".tar.part", shard);
    char *final = vc_workspace_path(&r->ws, name), *part = vc_workspace_path(&r->ws, part_name);
    // Finished while we look: final, part, final once more.
    int opened = open(final, O_RDONLY | O_CLOEXEC);
    if (opened < 0 && errno == ENOENT)
        opened = open(part, O_RDONLY | O_CLOEXEC);
    if (opened < 0 && errno == ENOENT)
        opened = open(final, O_RDONLY | O_CLOEXEC);
    if (opened < 0)
        vc_fail_errno(err, "cannot open the image shard '%s'", final);
    free(final);
    free(part);
    if (opened < 0)
        return false;
    if (slot->fd >= 0)
        close(slot->fd);
    *slot = (OpenShard){.shard = shard, .fd = opened, .used = ++r->clock};
    *fd = opened;
    return true;
}

static bool read_at(int fd, uint8_t *out, size_t n, off_t offset, int64_t shard, VcErr *err)
{
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(fd, out + done, n - done, offset + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return vc_fail_errno(err, "cannot read image shard %05" PRId64, shard);
        if (got == 0)
            return vc_fail(err, VC_ERR_IO, "image shard %05" PRId64 " is shorter than the database says", shard);
        done += (size_t)got;
    }
    return true;
}

bool extract_reader_read(ExtractReader *r, int64_t image_id, uint8_t **bytes, size_t *n, VcErr *err)
{
    bool row;
    vc_bind_int(r->find, 1, image_id);
    if (!vc_stmt_step(r->find, &row, err))
        return false;
    if (!row)
        return vc_fail(err, VC_ERR_FORMAT, "no image is stored under number %" PRId64, image_id);
    const int64_t shard = vc_column_int(r->find, 0), offset = vc_column_int(r->find, 1),
                  size = vc_column_int(r->find, 2);
    vc_stmt_reset(r->find);
    if (shard < 0 || offset < 0 || size <= 0 || size > MAX_STORED)
        return vc_fail(err, VC_ERR_FORMAT, "the row of image %" PRId64 " in image_file is damaged", image_id);
    int fd;
    if (!shard_fd(r, shard, &fd, err))
        return false;
    uint8_t *data = vc_alloc((size_t)size, 1);
    bool ok = read_at(fd, data, (size_t)size, offset, shard, err);
    if (ok && (size < 2 || data[0] != 0xFF || data[1] != 0xD8)) {
        ok = vc_fail(err, VC_ERR_FORMAT, "image %" PRId64 " in shard %05" PRId64 " is no JPEG: the shard was changed",
                     image_id, shard);
    }
    if (!ok) {
        free(data);
        return false;
    }
    *bytes = data;
    *n = (size_t)size;
    return true;
}

void extract_reader_close(ExtractReader **reader)
{
    if (!reader || !*reader)
        return;
    ExtractReader *r = *reader;
    for (size_t i = 0; i < OPEN_SHARDS; i++) {
        if (r->open[i].fd >= 0)
            close(r->open[i].fd);
    }
    vc_stmt_finish(&r->find);
    vc_workspace_close(&r->ws);
    free(r);
    *reader = NULL;
}
