// SPDX-License-Identifier: MIT
#include "concepts/postings.h"

#include "base/crc32.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "concepts/postings_private.h"

struct PostingsReader {
    VcMap map;
    PostingsHeader header;
    const PostingsEntry *entries;
    const int64_t *ids;
};

bool postings_stamp(VcWorkspace *ws, uint64_t *stamp, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = false;
    int64_t numbers[5] = {0};
    *stamp = 0;
    bool ok = vc_db_prepare(ws->db, &stmt,
                            "SELECT run_id, k, finished FROM run WHERE finished IS NOT NULL AND"
                            " run_id = (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'active_run')",
                            err) &&
              vc_stmt_step(stmt, &row, err);
    if (!ok || !row) {
        vc_stmt_finish(&stmt);
        return ok;
    }
    for (int i = 0; i < 3; i++)
        numbers[i] = vc_column_int(stmt, i);
    vc_stmt_finish(&stmt);
    uint64_t sum = vc_xxh64(numbers, sizeof numbers);
    ok = vc_db_prepare(ws->db, &stmt,
                       "SELECT concept_id, images, score_sum, score_max, as_rank0 FROM concept_stat"
                       " ORDER BY concept_id",
                       err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        for (int i = 0; i < 5; i++)
            numbers[i] = vc_column_int(stmt, i);
        sum = vc_mix_seed(sum, vc_xxh64(numbers, sizeof numbers));
    }
    vc_stmt_finish(&stmt);
    *stamp = ok ? sum | (sum == 0) : 0;
    return ok;
}

// --- reading ---------------------------------------------------------------------------------------------------------

// Space of a list; 0 where it does not fit into 64 bits.
static uint64_t list_bytes(const PostingsHeader *h, const PostingsEntry *e)
{
    return e->dense ? h->rows * 2 : (uint64_t)e->count * 6;
}

static bool check_file(PostingsReader *r, const char *path, VcErr *err)
{
    const PostingsHeader *h = &r->header;
    uint64_t size = r->map.size;
    if (size < POSTINGS_HEADER || memcmp(h->magic, POSTINGS_MAGIC, sizeof h->magic) != 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is no file of posting lists of this version", path);
    if (h->crc != vc_crc32(h, offsetof(PostingsHeader, crc)))
        return vc_fail(err, VC_ERR_FORMAT, "'%s' has a damaged header", path);
    if (h->bytes != size || h->rows > UINT32_MAX || h->concepts > POSTINGS_MAX_CONCEPTS || h->ids_at % POSTINGS_ALIGN ||
        h->directory_at % POSTINGS_ALIGN || h->ids_at < POSTINGS_HEADER || h->ids_at > size ||
        h->rows > (size - h->ids_at) / 8 || h->directory_at < POSTINGS_HEADER || h->directory_at > size ||
        h->concepts > (size - h->directory_at) / sizeof(PostingsEntry))
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is cut off or damaged", path);
    r->ids = (const int64_t *)(const void *)(r->map.data + h->ids_at);
    r->entries = (const PostingsEntry *)(const void *)(r->map.data + h->directory_at);
    for (uint32_t i = 0; i < h->concepts; i++) {
        const PostingsEntry *e = &r->entries[i];
        if (e->count > h->rows || e->dense > 1 || e->at % POSTINGS_ALIGN || e->at > size ||
            list_bytes(h, e) > size - e->at)
            return vc_fail(err, VC_ERR_FORMAT, "'%s': the list of concept %u is outside of the file", path, i);
    }
    return true;
}

bool postings_open_file(PostingsReader **out, const char *path, VcErr *err)
{
    PostingsReader *r = vc_calloc(1, sizeof *r);
    *out = NULL;
    bool ok = vc_map_open(&r->map, path, err);
    if (ok && r->map.size >= sizeof r->header)
        memcpy(&r->header, r->map.data, sizeof r->header);
    ok = ok && check_file(r, path, err);
    if (!ok) {
        postings_close(&r);
        return false;
    }
    *out = r;
    return true;
}

bool postings_open(PostingsReader **out, VcWorkspace *ws, uint64_t stamp, VcErr *err)
{
    *out = NULL;
    char *path = vc_workspace_path(ws, "vectors/postings.bin");
    bool ok = true;
    if (stamp != 0 && vc_exists(path))
        ok = postings_open_file(out, path, err);
    if (*out && (*out)->header.stamp != stamp)
        postings_close(out);
    free(path);
    return ok;
}

void postings_close(PostingsReader **r)
{
    if (!r || !*r)
        return;
    vc_map_close(&(*r)->map);
    free(*r);
    *r = NULL;
}

uint64_t postings_rows(const PostingsReader *r)
{
    return r->header.rows;
}

uint64_t postings_file_stamp(const PostingsReader *r)
{
    return r->header.stamp;
}

const int64_t *postings_image_ids(const PostingsReader *r)
{
    return r->ids;
}

bool postings_ids_rise(const PostingsReader *r)
{
    return r->header.flags & POSTINGS_RISING;
}

PostingList postings_list(const PostingsReader *r, int64_t concept_id)
{
    if (concept_id < 0 || concept_id >= (int64_t)r->header.concepts || r->entries[concept_id].count == 0)
        return (PostingList){.best = POSTINGS_ABSENT};
    const PostingsEntry *e = &r->entries[concept_id];
    const void *at = r->map.data + e->at;
    if (e->dense)
        return (PostingList){.count = e->count, .scores = at, .span = r->header.rows, .best = e->best};
    const uint32_t *rows = at;
    return (PostingList){
        .count = e->count, .rows = rows, .scores = (const int16_t *)(const void *)(rows + e->count), .best = e->best};
}

bool postings_verify(const PostingsReader *r, VcErr *err)
{
    const PostingsHeader *h = &r->header;
    uint64_t entries = 0;
    if (vc_xxh3(r->map.data + POSTINGS_HEADER, r->map.size - POSTINGS_HEADER) != h->body_hash)
        return vc_fail(err, VC_ERR_FORMAT, "the posting lists do not have their checksum");
    for (uint32_t c = 0; c < h->concepts; c++) {
        PostingList list = postings_list(r, c);
        size_t n = 0;
        int best = POSTINGS_ABSENT;
        for (size_t i = 0; i < (list.rows ? list.count : list.count ? h->rows : 0); i++) {
            if (list.rows && (list.rows[i] >= h->rows || (i > 0 && list.rows[i] <= list.rows[i - 1])))
                return vc_fail(err, VC_ERR_FORMAT, "the posting list of concept %u is out of order", c);
            n += list.scores[i] != POSTINGS_ABSENT;
            best = list.scores[i] > best ? list.scores[i] : best;
        }
        if (n != list.count || best != list.best)
            return vc_fail(err, VC_ERR_FORMAT, "the posting list of concept %u is not what its entry says", c);
        entries += n;
    }
    return entries == h->entries || vc_fail(err, VC_ERR_FORMAT, "the posting lists are not complete");
}
