// SPDX-License-Identifier: MIT
#include "query/picture.h"

#include "base/mem.h"
#include "extract/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { MOST_BYTES = 256 << 20 }; // of a stored JPEG

static bool find_file(VcWorkspace *ws, int64_t image_id, int64_t *shard, int64_t *offset, int64_t *bytes, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = false,
         ok = vc_db_prepare(ws->db, &stmt, "SELECT shard, offset, bytes FROM image_file WHERE image_id = ?1", err);
    if (ok) {
        vc_bind_int(stmt, 1, image_id);
        ok = vc_stmt_step(stmt, &row, err);
    }
    if (ok && row) {
        *shard = vc_column_int(stmt, 0);
        *offset = vc_column_int(stmt, 1);
        *bytes = vc_column_int(stmt, 2);
    }
    vc_stmt_finish(&stmt);
    if (ok && !row)
        return vc_fail(err, VC_ERR_USAGE, "the workspace has no picture of image %lld", (long long)image_id);
    if (ok && (*offset < 0 || *bytes < 1 || *bytes > MOST_BYTES || *shard < 0)) {
        return vc_fail(err, VC_ERR_DB, "table image_file has a place of image %lld that cannot be",
                       (long long)image_id);
    }
    return ok;
}

// The shard under its final name, or the one that is still being written.
static int open_shard(VcWorkspace *ws, int64_t shard, VcErr *err)
{
    char name[64];
    snprintf(name, sizeof name, "images/%05lld.tar", (long long)shard);
    char *path = vc_workspace_path(ws, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (fd >= 0)
        return fd;
    snprintf(name, sizeof name, "images/%05lld.tar.part", (long long)shard);
    path = vc_workspace_path(ws, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        vc_fail_errno(err, "cannot open '%s'", path);
    free(path);
    return fd;
}

bool query_picture_read(VcWorkspace *ws, int64_t image_id, uint8_t **bytes, size_t *n, VcErr *err)
{
    int64_t shard = 0, offset = 0, size = 0;
    if (!find_file(ws, image_id, &shard, &offset, &size, err))
        return false;
    int fd = open_shard(ws, shard, err);
    if (fd < 0)
        return false;
    uint8_t *data = vc_alloc((size_t)size, 1);
    size_t have = 0;
    ssize_t got = 1;
    while (have < (size_t)size && (got > 0 || (got < 0 && errno == EINTR))) {
        got = pread(fd, data + have, (size_t)size - have, (off_t)(offset + (int64_t)have));
        have += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (have < (size_t)size) {
        free(data);
        return got < 0
                   ? vc_fail_errno(err, "cannot read image %lld from shard %lld", (long long)image_id, (long long)shard)
                   : vc_fail(err, VC_ERR_IO, "shard %lld ends before image %lld", (long long)shard,
                             (long long)image_id);
    }
    *bytes = data;
    *n = (size_t)size;
    return true;
}

bool query_picture_pixels(VcWorkspace *ws, int64_t image_id, int side, uint8_t **rgb, int *width, int *height,
                          VcErr *err)
{
    uint8_t *bytes = NULL;
    size_t n = 0;
    ExtractImage image = {0}, flat = {0};
    if (!query_picture_read(ws, image_id, &bytes, &n, err))
        return false;
    bool ok = extract_image_decode(&image, bytes, n, err) || vc_prefix(err, "image %lld", (long long)image_id);
    free(bytes);
    if (!ok)
        return false;
    extract_image_flatten(&flat, &image);
    extract_image_finish(&image);
    int w = flat.width, h = flat.height, longest = w > h ? w : h;
    if (longest > side) {
        w = (int)(((int64_t)w * side + longest / 2) / longest);
        h = (int)(((int64_t)h * side + longest / 2) / longest);
        w = w < 1 ? 1 : w;
        h = h < 1 ? 1 : h;
        uint8_t *small = vc_alloc((size_t)w * (size_t)h, 3);
        extract_resample(small, flat.pixels, flat.width, flat.height, 3, (ExtractBox){0, 0, flat.width, flat.height}, w,
                         h, (ExtractWindow){0, 0, w, h});
        free(flat.pixels);
        flat.pixels = small;
    }
    *rgb = flat.pixels;
    *width = w;
    *height = h;
    return true;
}

bool query_picture_thumbnail(VcWorkspace *ws, int64_t image_id, int side, uint8_t **jpeg, size_t *n, VcErr *err)
{
    ExtractImage image = {.channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
    if (!query_picture_pixels(ws, image_id, side, &image.pixels, &image.width, &image.height, err))
        return false;
    bool ok = extract_image_encode_jpeg(&image, 85, jpeg, n, err);
    extract_image_finish(&image);
    return ok;
}
