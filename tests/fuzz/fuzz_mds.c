// SPDX-License-Identifier: MIT
// A record set in one input: u32 length, index.json; u32 length, a shard; the rest is its side index. Whatever it says,
// it is refused or every field of every record can be read to its last byte, and what is written back is read again.
#include "index/gzip.h"
#include "index/index.h"
#include "index/record.h"
#include "index/vix.h"

#include "base/mem.h"
#include "tests/fuzz/target.h"

// A piece of the input in its own block, so that a read past its end is seen.
typedef struct {
    uint8_t *data;
    size_t size;
} Piece;

static Piece take(const uint8_t **data, size_t *size, bool rest)
{
    uint32_t n = 0;
    if (!rest && *size >= 4) {
        memcpy(&n, *data, 4);
        *data += 4;
        *size -= 4;
    }
    Piece p = {NULL, rest || n > *size ? *size : n};
    p.data = vc_alloc(p.size + 1, 1);
    p.data = vc_realloc(p.data, p.size > 0 ? p.size : 1, 1);
    memcpy(p.data, *data, p.size);
    *data += p.size;
    *size -= p.size;
    return p;
}

static uint32_t touch(const void *data, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const uint8_t *)data)[i];
    return sum;
}

static uint32_t read_record(const IndexRecord *r)
{
    uint32_t sum = touch(r->image, r->image_bytes) + touch(r->caption.data, r->caption.size) +
                   touch(r->captions.data, r->captions.size) + touch(r->concepts.data, r->concepts.size) +
                   touch(r->caption_ids.data, 4 * r->caption_ids.count) +
                   touch(r->concept_tokens.data, 4 * r->concept_tokens.count) +
                   touch(r->concept_scores.data, 4 * r->concept_scores.count);
    size_t tokens = 0;
    for (size_t i = 0; i < r->caption_lens.count; i++)
        tokens += (size_t)index_int_at(r->caption_lens, i);
    VC_ASSERT(r->caption_ids.data == NULL || r->caption_lens.data == NULL || tokens == r->caption_ids.count);
    uint8_t *pixels;
    uint32_t w, h, c;
    if (index_image_z_decode(r->image, r->image_bytes < 4096 ? r->image_bytes : 4096, &pixels, &w, &h, &c, NULL)) {
        sum += touch(pixels, (size_t)w * h * c);
        free(pixels);
    }
    return sum;
}

static void read_shard(const MdsEntry *e, const Piece *shard, const Piece *vix)
{
    VcErr err = {0};
    VcStr again = {0};
    if (!shard_check(shard->data, shard->size, e, &err)) {
        VC_ASSERT(err.code != VC_OK && err.text[0] != 0);
        return;
    }
    bool checked = vix_check(vix->data, vix->size, e, NULL);
    RecordColumns columns;
    bool ours = record_columns_find(&columns, &e->schema, NULL);
    for (uint64_t i = 0; i < e->samples; i++) {
        const uint8_t *data = shard->data + shard_offset(shard->data, i);
        size_t n = shard_offset(shard->data, i + 1) - shard_offset(shard->data, i);
        MdsField fields[MDS_MAX_COLUMNS];
        IndexRecord r;
        if (checked)
            vix_crc(vix->data, i);
        if (mds_record_parse(&e->schema, data, n, fields, &err)) {
            vc_str_clear(&again);
            VC_ASSERT(mds_record_put(&again, &e->schema, fields, NULL));
            VC_ASSERT(again.len == n && memcmp(again.data, data, n) == 0);
        }
        if (ours && record_decode(&e->schema, &columns, data, n, 1000, &r, &err))
            read_record(&r);
    }
    vc_str_clear(&again);
    gzip_inflate(&again, shard->data, shard->size, 1 << 16, NULL);
    vc_str_finish(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Piece text = take(&data, &size, false), shard = take(&data, &size, false), vix = take(&data, &size, true);
    MdsIndex index = {0}, back = {0};
    VcErr err = {0};
    if (mds_index_parse(&index, (const char *)text.data, text.size, "input", &err)) {
        VcStr out = {0};
        mds_index_put(&out, &index);
        VC_ASSERT(mds_index_parse(&back, out.data, out.len, "again", NULL));
        VC_ASSERT(back.total == index.total && strcmp(back.fingerprint, index.fingerprint) == 0);
        for (size_t i = 0; i < index.count && i < 4; i++)
            read_shard(&index.entries[i], &shard, &vix);
        mds_index_finish(&back);
        mds_index_finish(&index);
        vc_str_finish(&out);
    } else {
        VC_ASSERT(err.code != VC_OK && err.text[0] != 0);
    }
    free(text.data);
    free(shard.data);
    free(vix.data);
    return 0;
}
