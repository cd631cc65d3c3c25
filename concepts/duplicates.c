// SPDX-License-Identifier: MIT
#include "concepts/duplicates.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "concepts/duplicates_private.h"

#include <stdlib.h>
#include <string.h>

bool duplicates_looks_alike(const DuplicateImage *a, const DuplicateImage *b)
{
    const double x = (double)a->width * (double)b->height, y = (double)b->width * (double)a->height;
    return x <= 1.03 * y && y <= 1.03 * x;
}

static int by_preference(const void *a, const void *b)
{
    const DuplicateImage *x = a, *y = b;
    const int64_t px = x->width * x->height, py = y->width * y->height;
    if (px != py)
        return px > py ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool read_images(VcWorkspace *ws, DuplicateImages *set, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0;
    bool row, ok = vc_db_prepare(ws->db, &stmt,
                                 "SELECT image_id, width, height, i.bytes, sha256, phash, row FROM image i JOIN"
                                 " image_file USING(image_id) WHERE status >= 0 ORDER BY image_id",
                                 err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        set->images = vc_grow(set->images, &cap, set->count + 1, sizeof *set->images);
        DuplicateImage *i = &set->images[set->count++];
        size_t n;
        const void *sha = vc_column_blob(stmt, 4, &n);
        *i = (DuplicateImage){.id = vc_column_int(stmt, 0),
                              .width = vc_column_int(stmt, 1),
                              .height = vc_column_int(stmt, 2),
                              .bytes = vc_column_int(stmt, 3),
                              .sha = sha && n ? vc_xxh3(sha, n) : 0,
                              .has_sha = sha && n,
                              .phash = (uint64_t)vc_column_int(stmt, 5),
                              .row = vc_column_is_null(stmt, 6) ? -1 : vc_column_int(stmt, 6),
                              .has_phash = !vc_column_is_null(stmt, 5)};
    }
    vc_stmt_finish(&stmt);
    if (ok && set->count)
        qsort(set->images, set->count, sizeof *set->images, by_preference);
    return ok && (set->count > 0 || vc_fail(err, VC_ERR_USAGE, "the workspace '%s' holds no image", ws->dir));
}

void duplicates_put(DuplicateImages *set, size_t kept, size_t image, DuplicateWay way, double distance)
{
    DuplicateImage *i = &set->images[image];
    i->marked = true;
    i->kept = kept;
    i->way = way;
    i->distance = distance;
}

// --- the same bytes: XXH3 of the SHA-256 stands for it

typedef struct {
    uint64_t sha;
    size_t place;
} Sha;

static int by_sha(const void *a, const void *b)
{
    const Sha *x = a, *y = b;
    if (x->sha != y->sha)
        return x->sha < y->sha ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void find_exact(DuplicateImages *set)
{
    Sha *all = vc_alloc(set->count, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->images[i].has_sha)
            all[n++] = (Sha){set->images[i].sha, i};
    }
    qsort(all, n, sizeof *all, by_sha);
    for (size_t i = 1, first = 0; i < n; i++) {
        first = all[i].sha == all[first].sha ? first : i;
        if (i != first)
            duplicates_put(set, all[first].place, all[i].place, DUPLICATE_EXACT, 0);
    }
    free(all);
}

// --- perceptual hashes: two that differ in at most b bits agree in one of b + 1 bands

typedef struct {
    uint64_t hash;
    uint32_t place;
} Entry;

typedef struct {
    unsigned shift, bits;
    Entry *entries; // sorted by band, then by place
    uint32_t *starts;
} Band;

static uint32_t band_of(const Band *b, uint64_t hash)
{
    return (uint32_t)(hash >> b->shift & ((1u << b->bits) - 1));
}

static void fill_band(Band *b, const Entry *all, size_t n)
{
    const size_t buckets = (size_t)1 << b->bits;
    b->starts = vc_calloc(buckets + 1, sizeof *b->starts);
    b->entries = vc_alloc(n, sizeof *b->entries);
    for (size_t i = 0; i < n; i++)
        b->starts[band_of(b, all[i].hash) + 1]++;
    for (size_t i = 0; i < buckets; i++)
        b->starts[i + 1] += b->starts[i];
    uint32_t *at = vc_alloc(buckets, sizeof *at);
    memcpy(at, b->starts, buckets * sizeof *at);
    for (size_t i = 0; i < n; i++)
        b->entries[at[band_of(b, all[i].hash)]++] = all[i];
    free(at);
}

// Bits of the hash are dealt out to `count` bands of at most 16 bits.
static void make_bands(Band *bands, unsigned count, const Entry *all, size_t n)
{
    unsigned at = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned width = (64 - at) / (count - i);
        bands[i] = (Band){.shift = at, .bits = width < 16 ? width : 16};
        at += width;
        fill_band(&bands[i], all, n);
    }
}

static void mark_like(DuplicateImages *set, const Band *band, size_t keeper, int bits)
{
    const DuplicateImage *k = &set->images[keeper];
    const uint32_t bucket = band_of(band, k->phash);
    for (uint32_t i = band->starts[bucket]; i < band->starts[bucket + 1]; i++) {
        const Entry *e = &band->entries[i];
        const int distance = __builtin_popcountll(e->hash ^ k->phash);
        if (distance <= bits && e->place > keeper && !set->images[e->place].marked &&
            duplicates_looks_alike(k, &set->images[e->place]))
            duplicates_put(set, keeper, e->place, DUPLICATE_PERCEPTUAL, distance);
    }
}

static bool find_perceptual(DuplicateImages *set, int bits, Duplicates *out, VcErr *err)
{
    enum { MOST_BANDS = 33 };
    Band bands[MOST_BANDS];
    Entry *all = vc_alloc(set->count, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++) {
        const DuplicateImage *image = &set->images[i];
        out->without_hash += !image->has_phash;
        // 0 is the hash of pictures without structure, which say nothing of each other.
        if (image->has_phash && image->phash != 0 && !image->marked)
            all[n++] = (Entry){image->phash, (uint32_t)i};
    }
    bool ok = out->without_hash < (int64_t)set->count ||
              vc_fail(err, VC_ERR_USAGE,
                      "no image has a perceptual hash: they were extracted by an older version; extract them again, or"
                      " use --by exact or --by embedding");
    const unsigned count = (unsigned)bits + 1;
    if (ok && n) {
        make_bands(bands, count, all, n);
        VcProgress *progress = vc_progress_begin("dedup", "hashes", n);
        for (size_t i = 0; i < n && ok; i++) {
            if (!set->images[all[i].place].marked) {
                for (unsigned b = 0; b < count; b++)
                    mark_like(set, &bands[b], all[i].place, bits);
            }
            vc_progress_add(progress, 1, 0);
            ok = !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted; nothing was marked");
        }
        vc_progress_end(&progress);
        for (unsigned b = 0; b < count; b++) {
            free(bands[b].entries);
            free(bands[b].starts);
        }
    }
    free(all);
    return ok;
}

// --- the result

static int by_kept(const void *a, const void *b)
{
    const Duplicate *x = a, *y = b;
    if (x->kept != y->kept)
        return x->kept < y->kept ? -1 : 1;
    return x->image_id < y->image_id ? -1 : x->image_id > y->image_id;
}

static void collect(const DuplicateImages *set, Duplicates *out)
{
    size_t cap = 0;
    for (size_t i = 0; i < set->count; i++) {
        const DuplicateImage *image = &set->images[i];
        if (!image->marked)
            continue;
        size_t kept = image->kept; // a later way may have marked the one it was marked for
        while (set->images[kept].marked)
            kept = set->images[kept].kept;
        out->items = vc_grow(out->items, &cap, out->count + 1, sizeof *out->items);
        out->items[out->count++] = (Duplicate){image->id, set->images[kept].id, image->way, image->distance};
        out->by_way[image->way]++;
    }
    if (out->count)
        qsort(out->items, out->count, sizeof *out->items, by_kept);
    out->images = (int64_t)set->count;
    out->kept = out->images - (int64_t)out->count;
}

bool duplicates_find(VcWorkspace *ws, const DuplicatesOptions *o, Duplicates *out, VcErr *err)
{
    DuplicateImages set = {0};
    *out = (Duplicates){0};
    bool ok = read_images(ws, &set, err);
    if (ok && o->ways[DUPLICATE_EXACT])
        find_exact(&set);
    ok = ok && (!o->ways[DUPLICATE_PERCEPTUAL] || find_perceptual(&set, o->bits, out, err)) &&
         (!o->ways[DUPLICATE_EMBEDDING] || duplicates_by_embedding(ws, o, &set, &out->without_vector, err));
    if (ok)
        collect(&set, out);
    free(set.images);
    return ok;
}

void duplicates_finish(Duplicates *duplicates)
{
    free(duplicates->items);
    *duplicates = (Duplicates){0};
}

// --- marks

static const char *const way_names[DUPLICATE_WAYS] = {"exact", "perceptual", "embedding"};

static bool insert_marks(VcWorkspace *ws, const Duplicate *items, size_t count, VcSha256 *sha, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool ok = vc_db_prepare(ws->db, &stmt, "INSERT INTO duplicate VALUES(?1, ?2, ?3, ?4)", err);
    for (size_t i = 0; ok && i < count; i++) {
        vc_sha256_add(sha, &items[i].image_id, sizeof items[i].image_id);
        vc_bind_int(stmt, 1, items[i].image_id);
        vc_bind_int(stmt, 2, items[i].kept);
        vc_bind_text(stmt, 3, way_names[items[i].way]);
        vc_bind_double(stmt, 4, items[i].distance);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// meta.dedup_state names what is marked, so that records made with other marks are not gone on with. None: ''.
bool duplicates_mark(VcWorkspace *ws, const Duplicate *items, size_t count, VcErr *err)
{
    VcSha256 *sha = vc_sha256_begin();
    bool ok = vc_db_begin(ws->db, err) &&
              vc_db_exec(ws->db,
                         "CREATE TABLE IF NOT EXISTS duplicate(image_id INTEGER PRIMARY KEY REFERENCES image ON DELETE"
                         " CASCADE, kept INTEGER NOT NULL REFERENCES image, way TEXT NOT NULL, distance REAL NOT NULL)"
                         " STRICT; DELETE FROM duplicate; DELETE FROM tag WHERE name = 'duplicate'",
                         err) &&
              insert_marks(ws, items, count, sha, err) &&
              vc_db_exec(ws->db, "INSERT INTO tag(image_id, name) SELECT image_id, 'duplicate' FROM duplicate", err);
    uint8_t digest[32];
    char hex[65];
    vc_sha256_end(&sha, digest);
    vc_hex(digest, 32, hex);
    ok = ok && vc_meta_set(ws, "dedup_state", count ? hex : "", err) && vc_db_commit(ws->db, err);
    if (!ok)
        vc_db_rollback(ws->db);
    return ok;
}

bool duplicates_marked(VcWorkspace *ws, int64_t *count, VcErr *err)
{
    int64_t tables;
    *count = 0;
    return vc_db_int(ws->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'duplicate'", 0, &tables, err) &&
           (tables == 0 || vc_db_int(ws->db, "SELECT count(*) FROM duplicate", 0, count, err));
}
