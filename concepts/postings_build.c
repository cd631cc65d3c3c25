// SPDX-License-Identifier: MIT
// image_concept to vectors/postings.bin: one pass over the table in its own order, each row to its list's next place in
// a file that is mapped under its temporary name.
#include "base/crc32.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "concepts/postings.h"
#include "concepts/postings_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

// A list that covers a quarter of the rows is stored dense: at most a third larger there, smaller from a third on, and
// read without a search.
enum { DENSE_SHARE = 4 };

typedef struct {
    VcWorkspace *ws;
    int64_t *ids, *rows; // of every image with a vector, by rising image_id
    size_t count, cap;
    size_t concepts;
    PostingsEntry *entries; // [concepts]; count: rows so far
    uint32_t *room;         // [concepts] rows that the statistics promise
    PostingsHeader header;
    uint8_t *map;
} Build;

static bool read_images(Build *b, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(b->ws->db, &stmt,
                                        "SELECT image_id, row FROM image WHERE row IS NOT NULL ORDER BY image_id", err);
    b->header.flags = POSTINGS_RISING;
    size_t rows_cap = 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t r = vc_column_int(stmt, 1);
        if (r < 0 || r > UINT32_MAX - 1) {
            ok = vc_fail(err, VC_ERR_DB, "image %lld has vector row %lld; posting lists hold rows below 2^32",
                         (long long)vc_column_int(stmt, 0), (long long)r);
            break;
        }
        b->ids = vc_grow(b->ids, &b->cap, b->count + 1, sizeof *b->ids);
        b->rows = vc_grow(b->rows, &rows_cap, b->count + 1, sizeof *b->rows);
        if (b->count > 0 && r <= b->rows[b->count - 1])
            b->header.flags = 0;
        b->ids[b->count] = vc_column_int(stmt, 0);
        b->rows[b->count++] = r;
        if ((uint64_t)r >= b->header.rows)
            b->header.rows = (uint64_t)r + 1;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static bool read_counts(Build *b, VcErr *err)
{
    int64_t last = -1;
    if (!vc_db_int(b->ws->db, "SELECT max(concept_id) FROM concept_stat", -1, &last, err))
        return false;
    if (last >= POSTINGS_MAX_CONCEPTS)
        return vc_fail(err, VC_ERR_LIMIT, "concept number %lld is too large for posting lists", (long long)last);
    b->concepts = (size_t)(last + 1);
    b->entries = vc_calloc(b->concepts + 1, sizeof *b->entries);
    b->room = vc_calloc(b->concepts + 1, sizeof *b->room);
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(b->ws->db, &stmt, "SELECT concept_id, images FROM concept_stat", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t id = vc_column_int(stmt, 0), n = vc_column_int(stmt, 1);
        if (id < 0 || n < 0 || (uint64_t)n > b->header.rows) {
            ok = vc_fail(err, VC_ERR_DB, "table concept_stat has %lld images of concept %lld", (long long)n,
                         (long long)id);
            break;
        }
        b->room[id] = (uint32_t)n;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static uint64_t round_up(uint64_t n)
{
    return (n + POSTINGS_ALIGN - 1) / POSTINGS_ALIGN * POSTINGS_ALIGN;
}

static void lay_out(Build *b)
{
    PostingsHeader *h = &b->header;
    memcpy(h->magic, POSTINGS_MAGIC, sizeof h->magic);
    h->concepts = (uint32_t)b->concepts;
    h->ids_at = POSTINGS_HEADER;
    h->directory_at = round_up(h->ids_at + 8 * h->rows);
    h->bytes = round_up(h->directory_at + sizeof(PostingsEntry) * b->concepts);
    for (size_t c = 0; c < b->concepts; c++) {
        PostingsEntry *e = &b->entries[c];
        *e = (PostingsEntry){.at = h->bytes, .best = POSTINGS_ABSENT, .dense = b->room[c] > h->rows / DENSE_SHARE};
        h->bytes += round_up(e->dense ? 2 * h->rows : 6 * (uint64_t)b->room[c]);
    }
}

static void add(Build *b, size_t concept, int64_t row, int16_t score)
{
    PostingsEntry *e = &b->entries[concept];
    void *at = b->map + e->at;
    if (e->dense) {
        ((int16_t *)at)[row] = score;
    } else {
        uint32_t *rows = at;
        rows[e->count] = (uint32_t)row;
        ((int16_t *)(void *)(rows + b->room[concept]))[e->count] = score;
    }
    e->count++;
    if (score > e->best)
        e->best = score;
}

static bool fill(Build *b, VcErr *err)
{
    for (size_t c = 0; c < b->concepts; c++) {
        int16_t *scores = (int16_t *)(void *)(b->map + b->entries[c].at);
        for (uint64_t i = 0; b->entries[c].dense && i < b->header.rows; i++)
            scores[i] = POSTINGS_ABSENT;
    }
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(b->ws->db, &stmt,
                                        "SELECT image_id, concept_id, score FROM image_concept"
                                        " ORDER BY image_id, rank",
                                        err);
    for (size_t at = 0; ok && (ok = vc_stmt_step(stmt, &row, err)) && row;) {
        int64_t image = vc_column_int(stmt, 0), concept = vc_column_int(stmt, 1), score = vc_column_int(stmt, 2);
        while (at < b->count && b->ids[at] < image)
            at++;
        if (at == b->count || b->ids[at] != image) // the image is gone, or waits for its vector
            continue;
        if (concept < 0 || concept >= (int64_t)b->concepts || b->entries[concept].count >= b->room[concept] ||
            score < -INT16_MAX || score > INT16_MAX) {
            ok = vc_fail(err, VC_ERR_DB,
                         "image %lld has concept %lld with score %lld, which concept_stat does not count; run "
                         "'vicha concepts mine' again",
                         (long long)image, (long long)concept, (long long)score);
            break;
        }
        add(b, (size_t) concept, b->rows[at], (int16_t)score);
        b->header.entries++;
    }
    vc_stmt_finish(&stmt);
    return ok;
}

typedef struct {
    uint32_t row;
    int16_t score;
} Pair;

static int by_row(const void *a, const void *b)
{
    uint32_t x = ((const Pair *)a)->row, y = ((const Pair *)b)->row;
    return x < y ? -1 : x > y;
}

// Lists came in the order of image_id: sorted by row where that is another one, and closed up where images were gone.
static void finish_list(Build *b, size_t concept)
{
    PostingsEntry *e = &b->entries[concept];
    if (e->dense || e->count == 0)
        return;
    uint32_t *rows = (uint32_t *)(void *)(b->map + e->at);
    const int16_t *scores = (const int16_t *)(const void *)(rows + b->room[concept]);
    int16_t *closed = (int16_t *)(void *)(rows + e->count);
    if (b->header.flags & POSTINGS_RISING) {
        memmove(closed, scores, e->count * sizeof *closed);
        return;
    }
    Pair *pairs = vc_alloc(e->count, sizeof *pairs);
    for (size_t i = 0; i < e->count; i++)
        pairs[i] = (Pair){rows[i], scores[i]};
    qsort(pairs, e->count, sizeof *pairs, by_row);
    for (size_t i = 0; i < e->count; i++) {
        rows[i] = pairs[i].row;
        closed[i] = pairs[i].score;
    }
    free(pairs);
}

static bool build_map(Build *b, VcErr *err)
{
    PostingsHeader *h = &b->header;
    if (!fill(b, err))
        return false;
    for (size_t c = 0; c < b->concepts; c++)
        finish_list(b, c);
    int64_t *ids = (int64_t *)(void *)(b->map + h->ids_at);
    for (uint64_t i = 0; i < h->rows; i++)
        ids[i] = -1;
    for (size_t i = 0; i < b->count; i++)
        ids[b->rows[i]] = b->ids[i];
    if (b->concepts > 0)
        memcpy(b->map + h->directory_at, b->entries, b->concepts * sizeof *b->entries);
    h->body_hash = vc_xxh3(b->map + POSTINGS_HEADER, h->bytes - POSTINGS_HEADER);
    h->crc = vc_crc32(h, offsetof(PostingsHeader, crc));
    memcpy(b->map, h, sizeof *h);
    return true;
}

static bool write_file(Build *b, const char *path, VcErr *err)
{
    VcAtomicFile f;
    if (!vc_atomic_begin(&f, path, err))
        return false;
    size_t bytes = b->header.bytes;
    int fd = open(f.tmp, O_RDWR | O_CLOEXEC);
    // Space is taken before the map is written: a full disk is an error here and not a signal there.
    int full = fd < 0 ? 0 : posix_fallocate(fd, 0, (off_t)bytes);
    b->map = fd < 0 || full ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bool ok = b->map != MAP_FAILED;
    if (!ok) {
        errno = full ? full : errno;
        vc_fail_errno(err, "cannot write %zu bytes to '%s'", bytes, f.tmp);
    } else {
        ok = build_map(b, err);
        munmap(b->map, bytes);
    }
    if (fd >= 0)
        close(fd);
    if (!ok) {
        vc_atomic_discard(&f);
        return false;
    }
    return vc_atomic_commit(&f, err);
}

bool postings_build(VcWorkspace *ws, VcErr *err)
{
    Build b = {.ws = ws};
    PostingsReader *old = NULL;
    char *path = vc_workspace_path(ws, "vectors/postings.bin"), *dir = vc_workspace_path(ws, "vectors");
    bool ok = postings_stamp(ws, &b.header.stamp, err);
    if (ok && b.header.stamp == 0) {
        unlink(path);
        goto out;
    }
    // A damaged file is no reason to stop: it is written anew.
    if (ok && postings_open(&old, ws, b.header.stamp, NULL) && old)
        goto out;
    ok = ok && vc_make_dirs(dir, err) && read_images(&b, err) && read_counts(&b, err);
    if (ok) {
        lay_out(&b);
        ok = write_file(&b, path, err);
    }
out:
    postings_close(&old);
    free(path);
    free(dir);
    free(b.ids);
    free(b.rows);
    free(b.entries);
    free(b.room);
    return ok;
}
