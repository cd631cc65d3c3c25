// SPDX-License-Identifier: MIT
#include "index/shuffle.h"

#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

struct IndexOrder {
    size_t shards;
    uint64_t total, window; // window >= 1: shards of a pool
    uint64_t *size, *first; // of a shard: records, number of its first one
    uint64_t *permuted;     // shards in their order of this epoch
    size_t pools;
    uint64_t *pool_start; // position of a pool's first record; pools + 1 values
    VcRng *pool_rng;      // the generator as it was before pool i was permuted, for i <= known
    size_t known;
    size_t current;    // pool in `records`; `pools` before the first
    uint64_t *records; // its records in order
};

static void make_pools(IndexOrder *o)
{
    o->pools = o->shards == 0 ? 0 : (size_t)((o->shards + o->window - 1) / o->window);
    o->pool_start = vc_calloc(o->pools + 1, sizeof *o->pool_start);
    o->pool_rng = vc_calloc(o->pools + 1, sizeof *o->pool_rng);
    uint64_t position = 0, largest = 0;
    for (size_t p = 0; p < o->pools; p++) {
        o->pool_start[p] = position;
        for (uint64_t s = p * o->window; s < o->shards && s < (p + 1) * o->window; s++)
            position += o->size[o->permuted[s]];
        if (position - o->pool_start[p] > largest)
            largest = position - o->pool_start[p];
    }
    o->pool_start[o->pools] = position;
    o->records = vc_alloc(largest + 1, sizeof *o->records);
    o->current = o->pools;
}

IndexOrder *index_order_create_sizes(const uint64_t *sizes, size_t shards, uint64_t seed, uint64_t epoch,
                                     uint64_t window)
{
    IndexOrder *o = vc_calloc(1, sizeof *o);
    o->shards = shards;
    o->window = window == 0 || window > shards ? (shards > 0 ? shards : 1) : window;
    o->size = vc_alloc(shards + 1, sizeof *o->size);
    o->first = vc_alloc(shards + 1, sizeof *o->first);
    o->permuted = vc_alloc(shards + 1, sizeof *o->permuted);
    for (size_t s = 0; s < shards; s++) {
        o->size[s] = sizes[s];
        o->first[s] = o->total;
        o->permuted[s] = s;
        o->total += sizes[s];
    }
    VcRng rng;
    vc_rng_seed(&rng, seed ^ (epoch + 1) * 0x9E3779B97F4A7C15u);
    vc_rng_shuffle(&rng, o->permuted, shards, sizeof *o->permuted);
    make_pools(o);
    o->pool_rng[0] = rng;
    return o;
}

IndexOrder *index_order_create(const IndexReader *reader, uint64_t seed, uint64_t epoch, uint64_t window)
{
    size_t shards = index_reader_shards(reader);
    uint64_t *sizes = vc_alloc(shards + 1, sizeof *sizes);
    for (size_t s = 0; s < shards; s++)
        sizes[s] = index_reader_shard_total(reader, s);
    IndexOrder *o = index_order_create_sizes(sizes, shards, seed, epoch, window);
    free(sizes);
    return o;
}

void index_order_destroy(IndexOrder **order)
{
    if (order == NULL || *order == NULL)
        return;
    IndexOrder *o = *order;
    free(o->size);
    free(o->first);
    free(o->permuted);
    free(o->pool_start);
    free(o->pool_rng);
    free(o->records);
    free(o);
    *order = NULL;
}

uint64_t index_order_total(const IndexOrder *order)
{
    return order->total;
}

static void fill_pool(IndexOrder *o, size_t p)
{
    uint64_t n = 0;
    for (uint64_t s = p * o->window; s < o->shards && s < (p + 1) * o->window; s++) {
        for (uint64_t i = 0; i < o->size[o->permuted[s]]; i++)
            o->records[n++] = o->first[o->permuted[s]] + i;
    }
    VcRng rng = o->pool_rng[p];
    vc_rng_shuffle(&rng, o->records, n, sizeof *o->records);
    o->pool_rng[p + 1] = rng;
    if (o->known < p + 1)
        o->known = p + 1;
    o->current = p;
}

uint64_t index_order_at(IndexOrder *o, uint64_t position)
{
    VC_ASSERT(position < o->total);
    if (o->current == o->pools || position < o->pool_start[o->current] || position >= o->pool_start[o->current + 1]) {
        size_t low = 0, high = o->pools;
        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;
            if (o->pool_start[middle] <= position) {
                low = middle;
            } else {
                high = middle;
            }
        }
        while (o->known < low) // the draws of a pool depend on those of all pools before it
            fill_pool(o, o->known);
        fill_pool(o, low);
    }
    return o->records[position - o->pool_start[o->current]];
}

uint64_t index_order_batches(const IndexOrder *order, uint64_t global_batch)
{
    VC_ASSERT(global_batch > 0);
    return order->total / global_batch;
}

void index_order_batch(IndexOrder *order, uint64_t b, uint64_t global_batch, uint64_t rank, uint64_t ranks,
                       uint64_t *records)
{
    VC_ASSERT(ranks > 0 && rank < ranks && global_batch % ranks == 0 && b < index_order_batches(order, global_batch));
    uint64_t slice = global_batch / ranks, begin = b * global_batch + rank * slice;
    for (uint64_t i = 0; i < slice; i++)
        records[i] = index_order_at(order, begin + i);
}

void index_state_put(VcStr *out, const IndexState *s)
{
    vc_str_putf(out,
                "{\"format\": %d, \"fingerprint\": \"%s\", \"seed\": \"%llu\", \"epoch\": %llu, \"window\": %llu, "
                "\"global_batch\": %llu, \"next_batch\": %llu}",
                (int)INDEX_STATE_FORMAT, s->fingerprint, (unsigned long long)s->seed, (unsigned long long)s->epoch,
                (unsigned long long)s->window, (unsigned long long)s->global_batch, (unsigned long long)s->next_batch);
}

// Seeds use all 64 bits, which JSON numbers do not carry everywhere: a string.
static bool parse_seed(uint64_t *out, const char *text, const char *what, VcErr *err)
{
    uint64_t v = 0;
    for (const char *p = text; *p != 0; p++) {
        if (*p < '0' || *p > '9' || v > (UINT64_MAX - (uint64_t)(*p - '0')) / 10)
            return vc_fail(err, VC_ERR_FORMAT, "'seed' in %s: '%.40s' is not a 64-bit number", what, text);
        v = v * 10 + (uint64_t)(*p - '0');
    }
    *out = v;
    return true;
}

bool index_state_parse(IndexState *out, const VcJson *json, const char *what, VcErr *err)
{
    IndexState s = {0};
    int64_t format, epoch, window, batch, next;
    const char *fingerprint, *seed;
    if (!vc_json_get_int(json, "format", &format, what, err))
        return false;
    if (format != INDEX_STATE_FORMAT) {
        return vc_fail(err, VC_ERR_FORMAT, "data position in %s: format %lld, this program knows %d", what,
                       (long long)format, (int)INDEX_STATE_FORMAT);
    }
    if (!vc_json_get_string(json, "fingerprint", &fingerprint, what, err) ||
        !vc_json_get_string(json, "seed", &seed, what, err) || !vc_json_get_int(json, "epoch", &epoch, what, err) ||
        !vc_json_get_int(json, "window", &window, what, err) ||
        !vc_json_get_int(json, "global_batch", &batch, what, err) ||
        !vc_json_get_int(json, "next_batch", &next, what, err) || !parse_seed(&s.seed, seed, what, err))
        return false;
    if (strlen(fingerprint) != 64 || epoch < 0 || window < 0 || batch < 1 || next < 0)
        return vc_fail(err, VC_ERR_FORMAT, "data position in %s: a value is out of range", what);
    memcpy(s.fingerprint, fingerprint, sizeof s.fingerprint);
    s.epoch = (uint64_t)epoch;
    s.window = (uint64_t)window;
    s.global_batch = (uint64_t)batch;
    s.next_batch = (uint64_t)next;
    *out = s;
    return true;
}

bool index_state_check(const IndexState *state, const char *fingerprint, uint64_t window, uint64_t global_batch,
                       VcErr *err)
{
    if (strcmp(state->fingerprint, fingerprint) != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "the records changed since the checkpoint was written (fingerprint %.16s... then, %.16s... now)",
                       state->fingerprint, fingerprint);
    }
    if (state->window != window) {
        return vc_fail(err, VC_ERR_USAGE, "the checkpoint was written with shuffle window %llu, not %llu",
                       (unsigned long long)state->window, (unsigned long long)window);
    }
    if (state->global_batch != global_batch) {
        return vc_fail(err, VC_ERR_USAGE, "the checkpoint was written with global batch %llu, not %llu",
                       (unsigned long long)state->global_batch, (unsigned long long)global_batch);
    }
    return true;
}
