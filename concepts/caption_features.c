// SPDX-License-Identifier: MIT
#include "concepts/caption_features.h"

#include <string.h>

// --- words -----------------------------------------------------------------------------------------------------------

static uint32_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

static uint32_t hash_bytes(const char *s, size_t n, uint32_t seed)
{
    uint64_t h = seed;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 0x100000001B3u;
    return mix(h);
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
}

static char shape_of(char c)
{
    if (c >= 'a' && c <= 'z')
        return 'x';
    if (c >= 'A' && c <= 'Z')
        return 'X';
    if (c >= '0' && c <= '9')
        return 'd';
    return (uint8_t)c < 128 ? c : 'u';
}

enum { WORD_BYTES = 64 }; // of a longer token only the first bytes and its ends count

static void fill_word(CaptionWord *w, const CaptionToken *t)
{
    char low[WORD_BYTES], shape[8];
    size_t n = t->length < WORD_BYTES ? t->length : WORD_BYTES, shapes = 0;
    char last = 0;
    for (size_t i = 0; i < n; i++) {
        low[i] = lower(t->text[i]);
        char c = shape_of(t->text[i]);
        if (c != last && shapes < sizeof shape)
            shape[shapes++] = c;
        last = c;
    }
    w->form = hash_bytes(t->text, n, 1);
    w->lower = hash_bytes(low, n, 2);
    w->shape = hash_bytes(shape, shapes, 3);
    uint32_t suffix = 0, prefix = 0; // the bytes themselves, four at most
    for (size_t k = 1; k <= 4; k++) {
        if (n >= k) {
            suffix |= (uint32_t)(uint8_t)low[n - k] << 8 * (k - 1);
            prefix = prefix << 8 | (uint8_t)low[k - 1];
        }
        w->suffix[k - 1] = n >= k ? mix(suffix * 8ull + k) : w->lower;
        w->prefix[k - 1] = n >= k ? mix(prefix * 8ull + k + (1ull << 40)) : w->lower;
    }
    w->tag = CAPTION_NO_TAG;
    w->role = CAPTION_NO_ROLE;
    w->listed = false;
}

void caption_words(const CaptionToken *tokens, size_t n, CaptionWord *words)
{
    for (size_t i = 0; i < CAPTION_PAD; i++) {
        const CaptionWord edge = {
            .form = 7 + (uint32_t)i, .lower = 7 + (uint32_t)i, .tag = CAPTION_NO_TAG, .role = CAPTION_NO_ROLE};
        words[CAPTION_PAD - 1 - i] = words[CAPTION_PAD + n + i] = edge;
    }
    for (size_t i = 0; i < n; i++)
        fill_word(&words[CAPTION_PAD + i], &tokens[i]);
}

// --- features --------------------------------------------------------------------------------------------------------

typedef struct {
    uint32_t *keys;
    size_t count;
} Keys;

static inline void put(Keys *k, uint32_t template, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t h = (a + template) * 0xD6E8FEB86659FD93u + (b * 0xC2B2AE3D27D4EB4Fu ^ c * 0x165667B19E3779F9u) + template;
    h ^= h >> 29;
    h = (h ^ h >> 32) * 0x9E3779B97F4A7C15u;
    h >>= 64 - CAPTION_KEY_BITS;
    k->keys[k->count++] = (uint32_t)h | (h == 0); // 0 means "no feature" in tables
}

size_t caption_tag_features(const CaptionWord *w, uint32_t keys[CAPTION_TAG_FEATURES])
{
    Keys k = {keys, 0};
    uint32_t t = 1000;
    uint32_t t1 = w[-1].tag, t2 = w[-2].tag, t12 = t1 * 32 + t2;
    put(&k, t++, w->form, 0, 0);
    put(&k, t++, w->lower, 0, 0);
    put(&k, t++, w->shape, 0, 0);
    put(&k, t++, w->shape, w->suffix[1], 0);
    for (int i = 0; i < 4; i++)
        put(&k, t++, w->suffix[i], 0, 0);
    for (int i = 0; i < 4; i++)
        put(&k, t++, w->prefix[i], 0, 0);
    put(&k, t++, w[-1].lower, 0, 0);
    put(&k, t++, w[-2].lower, 0, 0);
    put(&k, t++, w[1].lower, 0, 0);
    put(&k, t++, w[2].lower, 0, 0);
    put(&k, t++, w[-1].suffix[2], 0, 0);
    put(&k, t++, w[1].suffix[2], 0, 0);
    put(&k, t++, w[1].suffix[1], 0, 0);
    put(&k, t++, w[2].suffix[1], 0, 0);
    put(&k, t++, w[1].shape, w[-1].shape, w->shape);
    put(&k, t++, t1, 0, 0);
    put(&k, t++, t2, 0, 0);
    put(&k, t++, t12, 0, 0);
    put(&k, t++, t12, w[-3].tag, 0);
    put(&k, t++, t1, w->lower, 0);
    put(&k, t++, t1, w->suffix[2], 0);
    put(&k, t++, t1, w[1].lower, 0);
    put(&k, t++, t1, w[1].suffix[1], w->suffix[1]);
    put(&k, t++, w[-1].lower, w->lower, 0);
    put(&k, t++, w->lower, w[1].lower, 0);
    put(&k, t++, w[-1].lower, w[1].lower, 0);
    put(&k, t++, w->suffix[2], w[1].lower, 0);
    put(&k, t++, w->lower, w[1].suffix[2], 0);
    put(&k, t++, w[-1].lower, w->suffix[2], 0);
    put(&k, t++, w[1].lower, w[2].lower, 0);
    put(&k, t++, w[3].lower, 0, 0);
    put(&k, t++, w[-3].lower, 0, 0);
    return k.count;
}

bool caption_role_is_open(const CaptionWord *w)
{
    const uint32_t closed = 1u << CAPTION_DET | 1u << CAPTION_ADP | 1u << CAPTION_PUNCT | 1u << CAPTION_AUX |
                            1u << CAPTION_CCONJ | 1u << CAPTION_SCONJ | 1u << CAPTION_PART | 1u << CAPTION_SYM;
    return !w->listed || !(closed >> w->tag & 1);
}

void caption_role_seen(CaptionRoleContext *c, const CaptionWord *w)
{
    if (w->role == CAPTION_HEAD || w->role == CAPTION_PRONOUN) {
        *c = (CaptionRoleContext){w->lower, w->tag, 0};
    } else if (c->distance < 7) {
        c->distance++;
    }
}

size_t caption_role_features(const CaptionWord *w, const CaptionRoleContext *c, uint32_t keys[CAPTION_ROLE_FEATURES])
{
    Keys k = {keys, 0};
    uint32_t t = 2000;
    uint32_t a3 = w[-3].tag, a2 = w[-2].tag, a1 = w[-1].tag, t0 = w->tag, b1 = w[1].tag, b2 = w[2].tag, b3 = w[3].tag;
    uint32_t r1 = w[1].role, r2 = w[2].role, r3 = w[3].role;
    put(&k, t++, t0, w->lower, 0);
    put(&k, t++, w->lower, 0, 0);
    put(&k, t++, w->form, 0, 0);
    put(&k, t++, w->suffix[2], t0, 0);
    put(&k, t++, w->shape, t0, 0);
    put(&k, t++, w[1].lower, t0, 0);
    put(&k, t++, w[-1].lower, t0, 0);
    put(&k, t++, w[2].lower, t0, 0);
    put(&k, t++, w[-2].lower, t0, 0);
    put(&k, t++, w[-1].lower, w->lower, 0);
    put(&k, t++, w[-1].lower, w[1].lower, t0);
    put(&k, t++, w[-2].lower, w[-1].lower, t0);
    put(&k, t++, w[1].lower, w[2].lower, t0);
    put(&k, t++, a1, t0, b1);
    put(&k, t++, a1 * 32 + a2, t0, 0);
    put(&k, t++, t0, b1 * 32 + b2, 0);
    put(&k, t++, a2 * 32 + a1, t0, b1);
    put(&k, t++, a1, t0, b1 * 32 + b2);
    put(&k, t++, a2 * 32 + a1, t0, b1 * 32 + b2);
    put(&k, t++, t0, b1 * 32 + b2, b3);
    put(&k, t++, a3 * 32 + a2, a1, t0);
    put(&k, t++, (a3 * 32 + a2) * 32 + a1, t0, (b1 * 32 + b2) * 32 + b3);
    put(&k, t++, w->lower, a1, b1);
    put(&k, t++, w->lower, b1 * 32 + b2, 0);
    put(&k, t++, w->lower, a1 * 32 + a2, 0);
    put(&k, t++, w[-1].lower, t0, b1);
    put(&k, t++, w[1].lower, t0, a1);
    put(&k, t++, r1, t0, 0);
    put(&k, t++, r1, w->lower, 0);
    put(&k, t++, r1, t0, b1);
    put(&k, t++, r1, t0, a1);
    put(&k, t++, r1 * 8 + r2, t0, 0);
    put(&k, t++, r1 * 8 + r2, t0, a1 * 32 + b1);
    put(&k, t++, r1, w[1].lower, t0);
    put(&k, t++, (r1 * 8 + r2) * 8 + r3, t0, (b1 * 32 + b2) * 32 + a1);
    put(&k, t++, r1 * 8 + r2, w->lower, 0);
    put(&k, t++, c->next_head, t0, c->distance);
    put(&k, t++, c->next_tag, t0, c->distance);
    put(&k, t++, c->distance * 32 + a1, t0, b1);
    put(&k, t++, r1, w->suffix[2], b1);
    put(&k, t++, w[1].suffix[2], t0, b1);
    return k.count;
}

// What the templates look at: words of the stack and the buffer and around them. A missing one is the pad `none`.
typedef struct {
    const CaptionWord *w;
    uint32_t dep;
} Node;

static Node node(const CaptionArcs *a, int32_t i)
{
    static const CaptionWord none = {.form = 3, .lower = 3, .tag = CAPTION_NO_TAG, .role = CAPTION_NO_ROLE};
    static const CaptionWord root = {.form = 5, .lower = 5, .tag = CAPTION_NO_TAG + 1, .role = CAPTION_NO_ROLE};
    if (i < 0)
        return (Node){&none, CAPTION_NO_DEP};
    if ((size_t)i == a->n)
        return (Node){&root, CAPTION_NO_DEP};
    return (Node){a->words + i, a->head[i] < 0 ? CAPTION_NO_DEP + 1 : a->dep[i]};
}

// Part of speech and role together, of what is most of the time enough to know of a word.
static inline uint32_t kind(Node x)
{
    return (uint32_t)x.w->tag * 8 + x.w->role;
}

size_t caption_step_features(const CaptionArcs *a, uint32_t keys[CAPTION_STEP_FEATURES])
{
    Keys k = {keys, 0};
    uint32_t t = 3000;
    int32_t s = a->stack_size ? (int32_t)a->stack[a->stack_size - 1] : -1;
    int32_t under = a->stack_size > 1 ? (int32_t)a->stack[a->stack_size - 2] : -1;
    int32_t third = a->stack_size > 2 ? (int32_t)a->stack[a->stack_size - 3] : -1;
    int32_t n = (int32_t)a->n, b = (int32_t)a->next;
    int32_t h = s >= 0 && s < n ? a->head[s] : -1, h2 = h >= 0 && h < n ? a->head[h] : -1;
    Node s0 = node(a, s), s1 = node(a, under), s2 = node(a, third), n0 = node(a, b);
    Node n1 = node(a, b + 1 <= n ? b + 1 : -1), n2 = node(a, b + 2 <= n ? b + 2 : -1),
         n3 = node(a, b + 3 <= n ? b + 3 : -1);
    Node sh = node(a, h), sh2 = node(a, h2);
    Node sl = node(a, s >= 0 ? a->left[s] : -1), sr = node(a, s >= 0 ? a->right[s] : -1);
    Node sr2 = node(a, s >= 0 ? a->right2[s] : -1), nl = node(a, a->left[b]), nl2 = node(a, a->left2[b]);
    int32_t r = s >= 0 ? a->right[s] : -1;
    Node srr = node(a, r >= 0 ? a->right[r] : -1);
    uint32_t ks = kind(s0), kn = kind(n0), k1 = kind(n1), k2 = kind(n2), ku = kind(s1), kh = kind(sh);
    uint32_t ws = s0.w->lower, wn = n0.w->lower, w1 = n1.w->lower, wh = sh.w->lower, wu = s1.w->lower;
    uint32_t gap = s < 0 ? 0 : (uint32_t)(b - s), far = gap < 5 ? gap : gap < 10 ? 5 : 6;
    uint32_t valency = s < 0 ? 0 : (uint32_t)a->left_count[s] * 8 + a->right_count[s];
    uint32_t ds = s0.dep, rs = s < 0 ? 0 : a->right_deps[s], ls = s < 0 ? 0 : a->left_deps[s], ln = a->left_deps[b];
    put(&k, t++, ws, ks, 0);
    put(&k, t++, ks, ds, 0);
    put(&k, t++, wn, kn, 0);
    put(&k, t++, w1, k1, 0);
    put(&k, t++, n2.w->lower, k2, 0);
    put(&k, t++, ws, kn, ds);
    put(&k, t++, ks, wn, ds);
    put(&k, t++, ks, kn, ds);
    put(&k, t++, ks, kn, far * 16 + ds);
    put(&k, t++, ws, kn, k1);
    put(&k, t++, ks, wn, k1);
    put(&k, t++, kn, k1, 0);
    put(&k, t++, kn, k1, k2);
    put(&k, t++, ks, kn, k1);
    put(&k, t++, ks * 256 + kn, k1, k2);
    put(&k, t++, ks * 256 + kn, k1 * 256 + k2, kind(n3));
    put(&k, t++, wn, w1, 0);
    put(&k, t++, wn, n2.w->lower, k1);
    put(&k, t++, ws, n2.w->lower, kn * 256 + k1);
    put(&k, t++, ws, far, kn);
    put(&k, t++, wn, far, ks);
    put(&k, t++, ws, valency, kn);
    put(&k, t++, ks, valency, kn * 16 + ds);
    put(&k, t++, kh, ks, kn);
    put(&k, t++, wh, ks, kn);
    put(&k, t++, wh, ws, kn);
    put(&k, t++, wh, wn, kn * 256 + ks);
    put(&k, t++, wh, kn, sh.dep * 16 + ds);
    put(&k, t++, kind(sh2), kh, ks * 256 + kn);
    put(&k, t++, sh2.w->lower, kh, kn);
    put(&k, t++, ku, ks, kn);
    put(&k, t++, wu, ks, kn);
    put(&k, t++, wu, wn, ks);
    put(&k, t++, ku, kind(s2), ks * 256 + kn);
    put(&k, t++, ku * 256 + ks, kn * 256 + k1, k2);
    put(&k, t++, kind(sl), ks, kn);
    put(&k, t++, sl.w->lower, ks, kn);
    put(&k, t++, kind(sr), ks, kn);
    put(&k, t++, sr.w->lower, ks, kn);
    put(&k, t++, sr.dep * 16 + sr2.dep, ks, kn);
    put(&k, t++, kind(srr), kind(sr), ks * 256 + kn);
    put(&k, t++, srr.w->lower, kn, ks);
    put(&k, t++, kind(nl), ks, kn);
    put(&k, t++, nl.w->lower, ks, kn);
    put(&k, t++, kind(nl2), kind(nl), ks * 256 + kn);
    put(&k, t++, rs, ks, kn);
    put(&k, t++, ls, ks, kn);
    put(&k, t++, ln, kn, ks);
    put(&k, t++, rs * 4096 + ls, ws, kn);
    put(&k, t++, s0.w->suffix[2], n0.w->suffix[2], ks * 256 + kn);
    put(&k, t++, s0.w->suffix[1], kn, k1);
    put(&k, t++, n0.w->suffix[1], ks, k1);
    put(&k, t++, n0.w->suffix[1], ks, ds * 256 + far);
    put(&k, t++, n1.w->suffix[2], ks, kn);
    put(&k, t++, w1, ks, kn * 256 + k1);
    put(&k, t++, w1, kh, ks * 256 + kn);
    put(&k, t++, ws, wn, ds);
    put(&k, t++, n2.w->lower, ks, kn * 256 + k1);
    put(&k, t++, wn, k1, k2 * 256 + ks);
    put(&k, t++, wh, wn, n2.w->lower);
    put(&k, t++, wu, kn, k1 * 256 + k2);
    put(&k, t++, kh, wn, k1 * 256 + k2);
    put(&k, t++, s2.w->lower, wn, ks);
    return k.count;
}
