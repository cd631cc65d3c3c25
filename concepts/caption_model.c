// SPDX-License-Identifier: MIT
#include "concepts/caption_model.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'v', 'i', 'c', 'h', 'a', 'c', 'a', 'p'};
enum { VERSION = 1, HEADER = 8 + 4 + 8, MODELS = 3, WIDTH = 16, TAGS = 0, ROLES = 1, STEPS = 2 };

static const size_t class_count[MODELS] = {CAPTION_TAGS, CAPTION_ROLES, CAPTION_STEPS};

// A perfect hash (Belazzougui, Botelho & Dietzfelbinger, "Hash, displace, and compress", ESA 2009): a feature's slot
// depends on its key and on the displacement of its bucket, and no two share one. What is looked at for every feature
// of every token, displacements and marks, is 160 KB for 45,000 features and stays in the cache; weights are touched
// only for features that are there. Of those that are not, one in 65,535 is taken for one that is.
typedef struct {
    uint32_t bucket_mask;
    int slot_bits;
    uint16_t *displace; // [bucket_mask + 1]
    uint16_t *marks;    // [slots] from the key of the feature there, 0 empty
    int8_t *weights;    // [slots, width]
    size_t width;       // 8 or 16
} Table;

struct CaptionModel {
    Table models[MODELS];
    uint64_t hash;
    uint32_t word_mask;
    uint32_t *words; // [word_mask + 1] keys of the dictionary
    uint8_t *word_tags;
};

// --- reading ---------------------------------------------------------------------------------------------------------

typedef struct {
    const uint8_t *at, *end;
    const char *name;
} Input;

static bool damaged(const Input *in, const char *what, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s' is no caption model: %s", in->name, what);
}

static bool get_varint(Input *in, uint32_t *out, VcErr *err)
{
    uint64_t v = 0;
    *out = 0;
    for (int shift = 0; shift < 35; shift += 7) {
        if (in->at == in->end)
            return damaged(in, "it ends too early", err);
        uint8_t b = *in->at++;
        v |= (uint64_t)(b & 127) << shift;
        if (b < 128) {
            if (v > UINT32_MAX)
                break;
            *out = (uint32_t)v;
            return true;
        }
    }
    return damaged(in, "a number is too large", err);
}

// The next key, which must rise.
static bool get_key(Input *in, uint32_t *key, VcErr *err)
{
    uint32_t delta;
    if (!get_varint(in, &delta, err))
        return false;
    if (delta == 0 || delta > UINT32_MAX - *key)
        return damaged(in, "keys do not rise", err);
    *key += delta;
    return true;
}

// A count of things that take at least `bytes` each, so that a damaged one asks for no more memory than the file has.
static bool get_count(Input *in, size_t bytes, uint32_t *count, VcErr *err)
{
    if (!get_varint(in, count, err))
        return false;
    return *count <= (size_t)(in->end - in->at) / bytes || damaged(in, "it ends too early", err);
}

static uint32_t mask_for(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return (uint32_t)(slots - 1);
}

static bool read_dictionary(CaptionModel *m, Input *in, VcErr *err)
{
    uint32_t n, key = 0;
    if (!get_count(in, 2, &n, err))
        return false;
    m->word_mask = mask_for(n);
    m->words = vc_calloc((size_t)m->word_mask + 1, sizeof *m->words);
    m->word_tags = vc_calloc((size_t)m->word_mask + 1, 1);
    for (uint32_t i = 0; i < n; i++) {
        if (!get_key(in, &key, err))
            return false;
        if (in->at == in->end || *in->at >= CAPTION_TAGS)
            return damaged(in, "a word without a part of speech", err);
        uint32_t at = key & m->word_mask;
        while (m->words[at])
            at = (at + 1) & m->word_mask;
        m->words[at] = key;
        m->word_tags[at] = *in->at++;
    }
    return true;
}

static inline uint32_t slot_of(const Table *t, uint32_t key, uint32_t displacement)
{
    return ((key ^ displacement * 0x2545F491u) * 0x9E3779B1u) >> (32 - t->slot_bits);
}

static inline uint16_t mark_of(uint32_t key)
{
    return (uint16_t)(key * 0x85EBCA6Bu >> 16 | 1);
}

// Places the keys of one bucket: the first displacement that puts all of them on free slots.
static bool place_bucket(Table *t, const uint32_t *keys, size_t n, uint32_t bucket)
{
    for (uint32_t d = 0; d <= UINT16_MAX; d++) {
        size_t placed = 0;
        for (; placed < n; placed++) {
            uint16_t *mark = &t->marks[slot_of(t, keys[placed], d)];
            if (*mark)
                break;
            *mark = mark_of(keys[placed]);
        }
        if (placed == n) {
            t->displace[bucket] = (uint16_t)d;
            return true;
        }
        while (placed > 0)
            t->marks[slot_of(t, keys[--placed], d)] = 0;
    }
    return false;
}

// Places keys[n], which are distinct: fullest buckets first. False for keys that were made not to fit.
static bool place_keys(Table *t, const uint32_t *keys, size_t n)
{
    enum { MOST = 64 }; // keys of a bucket; four on average
    size_t buckets = 16, slots = 64;
    while (buckets * 4 < n)
        buckets *= 2;
    while (slots * 3 < n * 4) // at most three quarters full
        slots *= 2;
    t->bucket_mask = (uint32_t)(buckets - 1);
    t->slot_bits = __builtin_ctzll(slots);
    t->displace = vc_calloc(buckets, sizeof *t->displace);
    t->marks = vc_calloc(slots, sizeof *t->marks);
    uint32_t *first = vc_calloc(buckets + 1, sizeof *first), *sorted = vc_alloc(n + 1, sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        first[(keys[i] & t->bucket_mask) + 1]++;
    bool ok = true;
    for (size_t b = 0; b < buckets; b++) {
        ok = ok && first[b + 1] <= MOST;
        first[b + 1] += first[b];
    }
    for (size_t i = n; i-- > 0;) // fills each bucket from its end
        sorted[--first[(keys[i] & t->bucket_mask) + 1]] = keys[i];
    // Now first[b + 1] is the begin of bucket b, and first[b + 2] that of the next.
    for (size_t size = MOST; ok && size > 0; size--) {
        for (size_t b = 0; ok && b < buckets; b++) {
            size_t end = b + 1 < buckets ? first[b + 2] : n;
            if (end - first[b + 1] == size)
                ok = place_bucket(t, sorted + first[b + 1], size, (uint32_t)b);
        }
    }
    free(first);
    free(sorted);
    return ok;
}

static bool read_feature(Input *in, size_t classes, uint32_t *key, int8_t weights[WIDTH], VcErr *err)
{
    size_t set_bytes = classes > 8 ? 2 : 1;
    if (!get_key(in, key, err))
        return false;
    if ((size_t)(in->end - in->at) < set_bytes)
        return damaged(in, "it ends too early", err);
    uint32_t set = in->at[0];
    if (set_bytes == 2)
        set |= (uint32_t)in->at[1] << 8;
    in->at += set_bytes;
    if (set == 0 || set >> classes || (int)(in->end - in->at) < __builtin_popcount(set))
        return damaged(in, "a feature without its weights", err);
    for (size_t c = 0; c < classes; c++)
        weights[c] = (int8_t)(set >> c & 1 ? *in->at++ : 0);
    return true;
}

static bool read_table(Table *t, Input *in, size_t classes, VcErr *err)
{
    uint32_t n, key = 0;
    if (!get_count(in, classes > 8 ? 4 : 3, &n, err))
        return false;
    t->width = classes > 8 ? 16 : 8;
    uint32_t *keys = vc_alloc((size_t)n + 1, sizeof *keys);
    int8_t(*weights)[WIDTH] = vc_calloc((size_t)n + 1, sizeof *weights);
    bool ok = true;
    for (uint32_t i = 0; ok && i < n; i++) {
        ok = read_feature(in, classes, &key, weights[i], err);
        keys[i] = key;
    }
    ok = ok && (place_keys(t, keys, n) || damaged(in, "its features cannot be placed", err));
    if (ok) {
        size_t slots = (size_t)1 << t->slot_bits;
        t->weights = vc_alloc_aligned(slots, t->width);
        memset(t->weights, 0, slots * t->width);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t slot = slot_of(t, keys[i], t->displace[keys[i] & t->bucket_mask]);
            memcpy(t->weights + slot * t->width, weights[i], t->width);
        }
    }
    free(keys);
    free(weights);
    return ok;
}

static bool read_parts(CaptionModel *m, Input *in, VcErr *err)
{
    if (!read_dictionary(m, in, err))
        return false;
    for (int i = 0; i < MODELS; i++) {
        if (!read_table(&m->models[i], in, class_count[i], err))
            return false;
    }
    return in->at == in->end || damaged(in, "bytes follow its end", err);
}

CaptionModel *caption_model_read(const void *bytes, size_t n, const char *name, VcErr *err)
{
    Input in = {bytes, (const uint8_t *)bytes + n, name};
    if (n < HEADER || n > CAPTION_MODEL_MAX_BYTES || memcmp(bytes, magic, sizeof magic) != 0) {
        damaged(&in, "it does not begin as one", err);
        return NULL;
    }
    uint32_t version = 0;
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++)
        version |= (uint32_t)in.at[8 + i] << 8 * i;
    for (int i = 0; i < 8; i++)
        hash |= (uint64_t)in.at[12 + i] << 8 * i;
    in.at += HEADER;
    if (version != VERSION) {
        vc_fail(err, VC_ERR_FORMAT, "'%s' is a caption model of version %u; this program reads version %d", name,
                version, VERSION);
        return NULL;
    }
    if (hash != vc_xxh64(in.at, n - HEADER)) {
        damaged(&in, "its check sum is wrong, bytes were changed", err);
        return NULL;
    }
    CaptionModel *m = vc_calloc(1, sizeof *m);
    m->hash = hash;
    if (!read_parts(m, &in, err))
        caption_model_destroy(&m);
    return m;
}

uint64_t caption_model_hash(const CaptionModel *model)
{
    return model->hash;
}

void caption_model_destroy(CaptionModel **model)
{
    CaptionModel *m = model ? *model : NULL;
    if (!m)
        return;
    for (int i = 0; i < MODELS; i++) {
        free(m->models[i].displace);
        free(m->models[i].marks);
        free(m->models[i].weights);
    }
    free(m->words);
    free(m->word_tags);
    free(m);
    *model = NULL;
}

// --- use -------------------------------------------------------------------------------------------------------------

// The slots of the features that the model knows. Without a branch for each: which are known cannot be foretold.
static size_t find_known(const Table *t, const uint32_t *keys, size_t n, uint32_t *slots)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = slot_of(t, keys[i], t->displace[keys[i] & t->bucket_mask]);
        slots[known] = slot;
        __builtin_prefetch(t->weights + slot * t->width); // most features are known
        known += t->marks[slot] == mark_of(keys[i]);
    }
    return known;
}

typedef int8_t Byte8 __attribute__((vector_size(8)));
typedef int16_t Short8 __attribute__((vector_size(16)));

// sum[width] of the weights of the features; at most 96 x 127 in size.
static void score(const Table *t, const uint32_t *keys, size_t n, int16_t sum[WIDTH])
{
    uint32_t slots[CAPTION_MAX_FEATURES + 1] = {0};
    size_t known = find_known(t, keys, n, slots);
    Short8 low = {0}, high = {0};
    Byte8 row = {0};
    if (t->width == 8) {
        for (size_t i = 0; i < known; i++) {
            memcpy(&row, t->weights + slots[i] * 8u, 8);
            low += __builtin_convertvector(row, Short8);
        }
    } else {
        for (size_t i = 0; i < known; i++) {
            memcpy(&row, t->weights + slots[i] * 16u, 8);
            low += __builtin_convertvector(row, Short8);
            memcpy(&row, t->weights + slots[i] * 16u + 8, 8);
            high += __builtin_convertvector(row, Short8);
        }
    }
    memcpy(sum, &low, sizeof low);
    memcpy(sum + 8, &high, sizeof high);
}

static uint8_t best_of(const int16_t *sum, uint32_t allowed)
{
    int best = -1;
    for (int c = 0; c < WIDTH; c++) {
        if (allowed >> c & 1 && (best < 0 || sum[c] > sum[best]))
            best = c;
    }
    return (uint8_t)best;
}

void caption_model_tag(const CaptionModel *m, CaptionWord *words, size_t n)
{
    uint32_t keys[CAPTION_MAX_FEATURES];
    int16_t sum[WIDTH];
    for (size_t i = 0; i < n; i++) {
        CaptionWord *w = words + i;
        uint32_t at = w->lower & m->word_mask;
        while (m->words[at] && m->words[at] != w->lower)
            at = (at + 1) & m->word_mask;
        w->listed = m->words[at] != 0;
        if (w->listed) {
            w->tag = m->word_tags[at];
            continue;
        }
        score(&m->models[TAGS], keys, caption_tag_features(w, keys), sum);
        w->tag = best_of(sum, (1u << CAPTION_TAGS) - 1);
    }
}

void caption_model_roles(const CaptionModel *m, CaptionWord *words, size_t n)
{
    uint32_t keys[CAPTION_MAX_FEATURES];
    int16_t sum[WIDTH];
    CaptionRoleContext context = caption_role_begin;
    for (size_t i = n; i-- > 0;) {
        CaptionWord *w = words + i;
        w->role = CAPTION_OTHER;
        if (caption_role_is_open(w)) {
            score(&m->models[ROLES], keys, caption_role_features(w, &context, keys), sum);
            w->role = best_of(sum, (1u << CAPTION_ROLES) - 1);
        }
        caption_role_seen(&context, w);
    }
}

void caption_model_tree(const CaptionModel *m, const CaptionWord *words, size_t n, CaptionTree *tree)
{
    uint32_t keys[CAPTION_MAX_FEATURES];
    int16_t sum[WIDTH];
    caption_tree_begin(tree, words, n);
    while (!caption_tree_done(&tree->a)) {
        uint32_t allowed = caption_tree_allowed(&tree->a);
        if ((allowed & (allowed - 1)) != 0) {
            score(&m->models[STEPS], keys, caption_step_features(&tree->a, keys), sum);
        }
        uint8_t step = (allowed & (allowed - 1)) != 0 ? best_of(sum, allowed) : (uint8_t)__builtin_ctz(allowed);
        caption_tree_step(&tree->a, (CaptionStep)step);
    }
}

// --- writing ---------------------------------------------------------------------------------------------------------

static int by_key(const void *a, const void *b)
{
    uint32_t x, y; // the first member of both kinds
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void put_varint(VcStr *out, uint32_t v)
{
    for (; v >= 128; v >>= 7)
        vc_str_putc(out, (char)(v | 128));
    vc_str_putc(out, (char)v);
}

static uint32_t classes_with_weight(const CaptionFeature *f, size_t classes)
{
    uint32_t set = 0;
    VC_ASSERT(classes <= sizeof f->weights);
    for (size_t c = 0; c < classes; c++)
        set |= (uint32_t)(f->weights[c] != 0) << c;
    return set;
}

static void write_features(VcStr *out, CaptionFeature *f, size_t n, size_t classes)
{
    qsort(f, n, sizeof *f, by_key);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        kept += classes_with_weight(&f[i], classes) != 0;
    put_varint(out, (uint32_t)kept);
    uint32_t before = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t set = classes_with_weight(&f[i], classes);
        if (set == 0)
            continue;
        VC_ASSERT(f[i].key > before);
        put_varint(out, f[i].key - before);
        before = f[i].key;
        vc_str_putc(out, (char)set);
        if (classes > 8)
            vc_str_putc(out, (char)(set >> 8));
        for (size_t c = 0; c < classes; c++) {
            if (set >> c & 1)
                vc_str_putc(out, (char)f[i].weights[c]);
        }
    }
}

void caption_model_write(VcStr *out, CaptionModelParts *parts)
{
    VcStr body = {0};
    qsort(parts->words, parts->word_count, sizeof *parts->words, by_key);
    put_varint(&body, (uint32_t)parts->word_count);
    uint32_t before = 0;
    for (size_t i = 0; i < parts->word_count; i++) {
        VC_ASSERT(parts->words[i].key > before);
        put_varint(&body, parts->words[i].key - before);
        vc_str_putc(&body, (char)parts->words[i].tag);
        before = parts->words[i].key;
    }
    for (int i = 0; i < MODELS; i++)
        write_features(&body, parts->features[i], parts->feature_count[i], class_count[i]);
    vc_str_putn(out, magic, sizeof magic);
    for (int i = 0; i < 4; i++)
        vc_str_putc(out, (char)(VERSION >> 8 * i));
    uint64_t hash = vc_xxh64(body.data, body.len);
    for (int i = 0; i < 8; i++)
        vc_str_putc(out, (char)(hash >> 8 * i));
    vc_str_putn(out, body.data, body.len);
    vc_str_finish(&body);
}
