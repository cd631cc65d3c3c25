// SPDX-License-Identifier: MIT
// Encoding. Reading the vocabulary is in tokenizer_load.c.
#include "concepts/tokenizer_bpe.h"
#include "concepts/tokenizer_bpe_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <string.h>

void bpe_close(Bpe **bpe)
{
    if (bpe == NULL || *bpe == NULL)
        return;
    Bpe *b = *bpe;
    vc_arena_destroy(&b->arena);
    free(b->slots);
    free(b->tokens);
    free(b->merges);
    free(b->special);
    free(b);
    *bpe = NULL;
}

size_t bpe_vocabulary(const Bpe *bpe)
{
    return bpe->count;
}

int32_t bpe_start_id(const Bpe *bpe)
{
    return bpe->start;
}

int32_t bpe_end_id(const Bpe *bpe)
{
    return bpe->end;
}

int32_t bpe_pad_id(const Bpe *bpe)
{
    return bpe->pad;
}

const char *bpe_token(const Bpe *bpe, int32_t id)
{
    return id >= 0 && (size_t)id < bpe->count ? bpe->tokens[id] : NULL;
}

bool bpe_clean_by_name(const char *name, BpeClean *out)
{
    static const char *const names[] = {"hf", "openclip", "openai"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (BpeClean)i;
            return true;
        }
    }
    return false;
}

int32_t bpe_find(const Bpe *bpe, const char *token, size_t n)
{
    const size_t mask = bpe->slot_count - 1;
    for (size_t at = vc_xxh3(token, n) & mask; bpe->slots[at] >= 0; at = (at + 1) & mask) {
        const char *have = bpe->tokens[bpe->slots[at]];
        if (strncmp(have, token, n) == 0 && have[n] == '\0')
            return bpe->slots[at];
    }
    return -1;
}

static uint64_t pair_hash(uint64_t pair)
{
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ (pair >> 29);
}

BpeMerge *bpe_merge_slot(const Bpe *bpe, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t at = pair_hash(pair) & (bpe->merge_slots - 1);
    while (bpe->merges[at].rank >= 0 && bpe->merges[at].pair != pair)
        at = (at + 1) & (bpe->merge_slots - 1);
    bpe->merges[at].pair = pair;
    return &bpe->merges[at];
}

static const BpeMerge *find_merge(const Bpe *bpe, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t at = pair_hash(pair) & (bpe->merge_slots - 1);
    for (; bpe->merges[at].rank >= 0; at = (at + 1) & (bpe->merge_slots - 1)) {
        if (bpe->merges[at].pair == pair)
            return &bpe->merges[at];
    }
    return NULL;
}

// ---- one word ----

enum { CACHE_SLOTS = 1 << 15, CACHE_WORD = 32, CACHE_IDS = 12 };

// Words longer than CACHE_WORD bytes or CACHE_IDS ids are not kept. A slot is overwritten by the next word that falls
// on it, so the memory is fixed and nothing is ever cleared.
typedef struct {
    char word[CACHE_WORD];
    int32_t ids[CACHE_IDS];
    uint8_t length, count;
} CacheSlot;

typedef struct {
    int32_t rank;
    size_t left;  // index of the pair's first symbol
    int32_t a, b; // what the pair was when it was queued
    int32_t merged;
} HeapItem;

struct BpeCache {
    CacheSlot *slots;
};

BpeCache *bpe_cache_create(void)
{
    BpeCache *cache = vc_alloc(1, sizeof *cache);
    cache->slots = vc_calloc(CACHE_SLOTS, sizeof *cache->slots);
    return cache;
}

void bpe_cache_destroy(BpeCache **cache)
{
    if (cache == NULL || *cache == NULL)
        return;
    free((*cache)->slots);
    free(*cache);
    *cache = NULL;
}

typedef struct {
    HeapItem *items;
    size_t len, cap;
} Heap;

static bool item_before(const HeapItem *a, const HeapItem *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void heap_push(Heap *h, HeapItem item)
{
    h->items = vc_grow(h->items, &h->cap, h->len + 1, sizeof *h->items);
    size_t at = h->len++;
    for (; at > 0 && item_before(&item, &h->items[(at - 1) / 2]); at = (at - 1) / 2)
        h->items[at] = h->items[(at - 1) / 2];
    h->items[at] = item;
}

static HeapItem heap_pop(Heap *h)
{
    const HeapItem top = h->items[0], last = h->items[--h->len];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < h->len; at = child) {
        if (child + 1 < h->len && item_before(&h->items[child + 1], &h->items[child]))
            child++;
        if (!item_before(&h->items[child], &last))
            break;
        h->items[at] = h->items[child];
    }
    h->items[at] = last;
    return top;
}

// Symbols of a long word as a linked list, merged lowest rank first, left to right: n log n, where the usual search
// for the best pair would be quadratic in a text without spaces.
typedef struct {
    int32_t id;
    size_t next, previous;
} Symbol;

static void queue_pair(const Bpe *bpe, Heap *heap, const Symbol *s, size_t left, size_t right)
{
    const BpeMerge *merge = find_merge(bpe, s[left].id, s[right].id);
    if (merge != NULL)
        heap_push(heap, (HeapItem){merge->rank, left, s[left].id, s[right].id, merge->merged});
}

static size_t merge_long(const Bpe *bpe, int32_t *ids, size_t n)
{
    Heap heap = {0};
    Symbol *s = vc_alloc(n, sizeof *s);
    for (size_t i = 0; i < n; i++)
        s[i] = (Symbol){ids[i], i + 1, i - 1};
    for (size_t i = 0; i + 1 < n; i++)
        queue_pair(bpe, &heap, s, i, i + 1);
    while (heap.len > 0) {
        const HeapItem top = heap_pop(&heap);
        const size_t left = top.left, right = s[left].next;
        if (s[left].id != top.a || right >= n || s[right].id != top.b)
            continue; // one of the two has been merged meanwhile
        s[left].id = top.merged;
        s[left].next = s[right].next;
        s[right].id = -1;
        if (s[left].next < n) {
            s[s[left].next].previous = left;
            queue_pair(bpe, &heap, s, left, s[left].next);
        }
        if (left > 0)
            queue_pair(bpe, &heap, s, s[left].previous, left);
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i = s[i].next)
        ids[count++] = s[i].id;
    free(s);
    free(heap.items);
    return count;
}

static size_t merge_short(const Bpe *bpe, int32_t *ids, size_t n)
{
    for (;;) {
        int32_t best = INT32_MAX, merged = 0, left = 0, right = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const BpeMerge *merge = find_merge(bpe, ids[i], ids[i + 1]);
            if (merge != NULL && merge->rank < best) {
                best = merge->rank;
                merged = merge->merged;
                left = ids[i];
                right = ids[i + 1];
            }
        }
        if (best == INT32_MAX)
            return n;
        size_t count = 0;
        for (size_t i = 0; i < n; count++) {
            const bool hit = i + 1 < n && ids[i] == left && ids[i + 1] == right;
            ids[count] = hit ? merged : ids[i];
            i += hit ? 2 : 1;
        }
        n = count;
    }
}

// Appends the ids of one word (n > 0 bytes of UTF-8).
static void encode_word(const Bpe *bpe, BpeCache *cache, const char *word, size_t n, BpeIds *out)
{
    CacheSlot *slot = NULL;
    if (cache != NULL && n <= CACHE_WORD) {
        slot = &cache->slots[vc_xxh3(word, n) & (CACHE_SLOTS - 1)];
        if (slot->length == n && memcmp(slot->word, word, n) == 0) {
            *out->ids = vc_grow(*out->ids, out->cap, out->len + slot->count, sizeof **out->ids);
            memcpy(*out->ids + out->len, slot->ids, slot->count * sizeof slot->ids[0]);
            out->len += slot->count;
            return;
        }
    }
    *out->ids = vc_grow(*out->ids, out->cap, out->len + n, sizeof **out->ids);
    int32_t *ids = *out->ids + out->len;
    for (size_t i = 0; i < n; i++)
        ids[i] = (i + 1 < n ? bpe->byte : bpe->last_byte)[(unsigned char)word[i]];
    const size_t count = n <= 64 ? merge_short(bpe, ids, n) : merge_long(bpe, ids, n);
    out->len += count;
    if (slot != NULL && count <= CACHE_IDS) {
        memcpy(slot->word, word, n);
        memcpy(slot->ids, ids, count * sizeof *ids);
        slot->length = (uint8_t)n;
        slot->count = (uint8_t)count;
    }
}

// ---- cutting a text ----

// Case counts for the openclip orders, whose pattern ignores it: after lower-casing only U+017F is left, which folds
// to 's'. Returns the runes of the contraction at r[at] or 0.
static size_t contraction(const Runes *r, size_t at, bool fold)
{
    static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (r->data[at] != '\'')
        return 0;
    for (size_t k = 0; k < sizeof endings / sizeof endings[0]; k++) {
        const size_t n = strlen(endings[k]);
        size_t i = 0;
        for (; i < n && at + 1 + i < r->len; i++) {
            const uint32_t c = r->data[at + 1 + i];
            if ((fold && c == 0x17F ? 's' : c) != (uint32_t)endings[k][i])
                break;
        }
        if (i == n)
            return n + 1;
    }
    return 0;
}

// What no class of the pattern takes. Where case is ignored that is U+0345 too: a mark whose capital is a letter.
static bool is_gap(uint32_t c, bool fold)
{
    return text_is_space(c) || (fold && c == 0x345);
}

static size_t piece_length(const Runes *r, size_t at, bool fold)
{
    const size_t glued = contraction(r, at, fold);
    if (glued > 0)
        return glued;
    size_t end = at;
    if (text_is_letter(r->data[at])) {
        while (end < r->len && text_is_letter(r->data[end]))
            end++;
        return end - at;
    }
    if (text_is_number(r->data[at]))
        return 1;
    while (end < r->len && !is_gap(r->data[end], fold) && !text_is_letter(r->data[end]) &&
           !text_is_number(r->data[end]))
        end++;
    return end - at;
}

static void encode_piece(const Bpe *bpe, BpeCache *cache, const uint32_t *runes, size_t n, VcStr *bytes, BpeIds *out)
{
    vc_str_clear(bytes);
    for (size_t i = 0; i < n; i++) {
        char utf8[4];
        vc_str_putn(bytes, utf8, vc_utf8_encode(runes[i], utf8));
    }
    encode_word(bpe, cache, bytes->data, bytes->len, out);
}

static void put_id(BpeIds *out, int32_t id)
{
    *out->ids = vc_grow(*out->ids, out->cap, out->len + 1, sizeof **out->ids);
    (*out->ids)[out->len++] = id;
}

// Length in runes of the special token at r[at] of the kind `normalized`, the longest first; its id in *id.
static size_t special_at(const Bpe *bpe, const Runes *r, size_t at, bool normalized, int32_t *id)
{
    size_t best = 0;
    for (size_t k = 0; k < bpe->special_count; k++) {
        const BpeSpecial *s = &bpe->special[k];
        const char *want = normalized ? s->normal : s->content;
        const size_t n = strlen(want);
        if (s->normalized != normalized || n <= best || n > r->len - at)
            continue;
        size_t i = 0;
        while (i < n && r->data[at + i] == (unsigned char)want[i])
            i++;
        if (i == n) {
            best = n;
            *id = s->id;
        }
    }
    return best;
}

static void encode_pieces_hf(const Bpe *bpe, BpeCache *cache, const Runes *r, VcStr *bytes, BpeIds *out)
{
    // Tokens that are looked for in the cleaned text cut it first, so that a piece never runs into one.
    for (size_t at = 0; at < r->len;) {
        int32_t id = 0;
        size_t special = 0, end = at;
        while (end < r->len && (special = special_at(bpe, r, end, true, &id)) == 0)
            end++;
        const Runes part = {r->data, end, 0};
        while (at < end) {
            if (text_is_space(r->data[at])) {
                at++;
                continue;
            }
            const size_t n = piece_length(&part, at, false);
            encode_piece(bpe, cache, r->data + at, n, bytes, out);
            at += n;
        }
        if (special > 0)
            put_id(out, id);
        at = end + special;
    }
}

static void encode_hf(const Bpe *bpe, BpeCache *cache, const Runes *text, BpeIds *out)
{
    VcStr bytes = {0};
    for (size_t start = 0; start < text->len;) {
        int32_t id = 0;
        size_t special = 0, end = start;
        while (end < text->len && (special = special_at(bpe, text, end, false, &id)) == 0)
            end++;
        Runes part = {0};
        for (size_t i = start; i < end; i++)
            runes_put(&part, text->data[i]);
        text_clean_hf(&part);
        encode_pieces_hf(bpe, cache, &part, &bytes, out);
        runes_finish(&part);
        if (special > 0)
            put_id(out, id);
        start = end + special;
    }
    vc_str_finish(&bytes);
}

// Runes of `word` at r[at], 's' matching U+017F too; *exact says whether none did.
static size_t match_folded(const Runes *r, size_t at, const char *word, bool *exact)
{
    const size_t n = strlen(word);
    if (n > r->len - at)
        return 0;
    *exact = true;
    for (size_t i = 0; i < n; i++) {
        const uint32_t c = r->data[at + i];
        if (c == 0x17F && word[i] == 's') {
            *exact = false;
        } else if (c != (unsigned char)word[i]) {
            return 0;
        }
    }
    return n;
}

static void encode_openclip(const Bpe *bpe, BpeCache *cache, Runes *r, const char *const special[2], BpeIds *out)
{
    VcStr bytes = {0};
    text_clean_openclip(r);
    for (size_t at = 0; at < r->len;) {
        if (is_gap(r->data[at], true)) {
            at++;
            continue;
        }
        bool exact = false;
        int which = 0;
        size_t n = match_folded(r, at, special[0], &exact);
        if (n == 0) {
            which = 1;
            n = match_folded(r, at, special[1], &exact);
        }
        if (n > 0 && exact) {
            put_id(out, which == 0 ? bpe->start : bpe->end);
        } else {
            if (n == 0)
                n = piece_length(r, at, true);
            encode_piece(bpe, cache, r->data + at, n, &bytes, out);
        }
        at += n;
    }
    vc_str_finish(&bytes);
}

size_t bpe_encode_all(const Bpe *bpe, BpeCache *cache, BpeClean clean, const char *text, size_t n, int32_t **ids,
                      size_t *cap)
{
    static const char *const special[2][2] = {{"<start_of_text>", "<end_of_text>"},
                                              {"<|startoftext|>", "<|endoftext|>"}};
    BpeIds out = {ids, cap, 0};
    Runes runes = {0};
    runes_put_utf8(&runes, text, n);
    if (clean == BPE_CLEAN_HF) {
        encode_hf(bpe, cache, &runes, &out);
    } else {
        encode_openclip(bpe, cache, &runes, special[clean == BPE_CLEAN_OPENAI], &out);
    }
    runes_finish(&runes);
    return out.len;
}

size_t bpe_encode(const Bpe *bpe, BpeCache *cache, BpeClean clean, const char *text, size_t n, int32_t *ids,
                  size_t context)
{
    VC_ASSERT(context >= 2);
    int32_t *all = NULL;
    size_t cap = 0;
    size_t count = bpe_encode_all(bpe, cache, clean, text, n, &all, &cap);
    if (count > context - 2)
        count = context - 2;
    ids[0] = bpe->start;
    if (count > 0)
        memcpy(ids + 1, all, count * sizeof *ids);
    ids[count + 1] = bpe->end;
    free(all);
    return count + 2;
}
