// SPDX-License-Identifier: MIT
// Scaled dot-product attention of the towers (Vaswani et al., 2017, eq. 1), a sequence and head at a time.
//
// fp32: nn_attention_forward, on rows of floats. Else products of bfloat16: a strip of NN_STRIP queries against all
// keys, whose scores and probabilities stay in the first cache; T x T numbers are never in memory. The scale is in q's
// weights already. Softmax is float. A query's result depends on its own row and the keys it sees alone.
#include "concepts/clip_private.h"

#include <math.h>
#include <string.h>

// The keys and values of sequence s, in the units of qkv (floats, or words of two bfloat16): where they lie, and the
// length of a row there. What it shares with the sequence before it is in `keys` already.
static const uint32_t *keys_of(ClipWork *w, const ClipSequence *s, bool shares, size_t *ld)
{
    const size_t width = w->row_words; // of q, of k, of v
    if (!shares) {
        *ld = 3 * width;
        return w->qkv + s->first * 3 * width + width;
    }
    for (size_t k = s->shared; k < s->length; k++) {
        memcpy(w->keys + k * 2 * width, w->qkv + (s->first + k - s->shared) * 3 * width + width,
               2 * width * sizeof *w->keys);
    }
    *ld = 2 * width;
    return w->keys;
}

static void attend_float(ClipWork *w, float *o, const uint32_t *q, const uint32_t *keys, size_t ld, size_t queries,
                         size_t length, bool causal)
{
    const ClipTower *t = w->tower;
    const size_t depth = t->width / t->heads;
    const NnAttention a = {.B = 1,
                           .H = t->heads,
                           .D = depth,
                           .Tq = queries,
                           .Tk = length,
                           .ldq = 3 * t->width,
                           .ldk = ld,
                           .ldv = ld,
                           .ldo = t->width,
                           .scale = 1.0 / sqrt((double)depth),
                           .causal = causal};
    const float *k = (const float *)(const void *)keys;
    nn_attention_forward(&w->nn, o, NULL, (const float *)(const void *)q, k, k + t->width, &a);
}

// ---- bfloat16

// panel[D/2][NN_PANEL] words of `count` keys, one a column.
static void pack_keys(const NnKernels *k, uint32_t *panel, const uint32_t *keys, size_t ld, size_t count, size_t words)
{
    k->gemm_pack((float *)(void *)panel, NN_PANEL, (const float *)(const void *)keys, ld, 1, count, words);
}

// panels[D/32][pairs of values][NN_PANEL]: two keys' values in one word, the last of an odd number beside 0.
static void pack_values(uint32_t *panels, const uint32_t *values, size_t ld, size_t count, size_t depth)
{
    const size_t pairs = (count + 1) / 2;
    for (size_t d = 0; d < depth; d += NN_PANEL) {
        const size_t n = depth - d < NN_PANEL ? depth - d : NN_PANEL;
        for (size_t p = 0; p < pairs; p++, panels += NN_PANEL) {
            uint16_t one[NN_PANEL] = {0}, two[NN_PANEL] = {0};
            memcpy(one, (const uint16_t *)(const void *)(values + 2 * p * ld) + d, n * sizeof *one);
            if (2 * p + 1 < count)
                memcpy(two, (const uint16_t *)(const void *)(values + (2 * p + 1) * ld) + d, n * sizeof *two);
            for (size_t j = 0; j < NN_PANEL; j++)
                panels[j] = one[j] | (uint32_t)two[j] << 16;
        }
    }
}

// Memory of one head: the keys and values packed, and a strip's scores and probabilities.
typedef struct {
    uint32_t *keys, *values, *p;
    float *s;
    size_t padded; // keys up to a whole panel
} Head;

static Head head_in(const ClipWork *w, size_t length, size_t depth)
{
    const size_t padded = (length + NN_PANEL - 1) / NN_PANEL * NN_PANEL;
    const size_t panels = (depth + NN_PANEL - 1) / NN_PANEL;
    Head h = {.padded = padded};
    h.keys = vc_arena_alloc(w->nn.scratch, padded * (depth / 2), sizeof *h.keys);
    h.values = vc_arena_alloc(w->nn.scratch, panels * padded / 2 * NN_PANEL, sizeof *h.values);
    h.p = vc_arena_alloc(w->nn.scratch, NN_STRIP * padded / 2, sizeof *h.p);
    h.s = vc_arena_alloc(w->nn.scratch, NN_STRIP * padded, sizeof *h.s);
    return h;
}

// Softmax of the scores of `rows` queries, each over the keys it sees; what it does not see has probability 0.
static void probabilities(const NnKernels *k, const Head *h, size_t rows, size_t length, size_t seen_first, bool causal)
{
    for (size_t r = 0; r < rows; r++) {
        float *s = h->s + r * h->padded;
        const size_t seen = causal ? seen_first + r : length;
        k->softmax(s, s, 1, seen);
        memset(s + seen, 0, (h->padded - seen) * sizeof *s);
        k->round_bf16(h->p + r * h->padded / 2, s, h->padded);
    }
}

static void attend_half(ClipWork *w, float *o, const uint32_t *q, const uint32_t *keys, size_t ld, size_t queries,
                        size_t length, bool causal)
{
    const ClipTower *t = w->tower;
    const NnKernels *k = w->nn.kernels;
    const size_t depth = t->width / t->heads, words = depth / 2, pairs = (length + 1) / 2;
    const VcArenaMark mark = vc_arena_mark(w->nn.scratch);
    const Head h = head_in(w, length, depth);
    for (size_t head = 0; head < t->heads; head++) {
        const uint32_t *from = keys + head * words;
        for (size_t j = 0; j < length; j += NN_PANEL)
            pack_keys(k, h.keys + j * words, from + j * ld, ld, length - j < NN_PANEL ? length - j : NN_PANEL, words);
        pack_values(h.values, from + w->row_words, ld, length, depth);
        for (size_t r = 0; r < queries; r += NN_STRIP) {
            const size_t rows = queries - r < NN_STRIP ? queries - r : NN_STRIP;
            const size_t seen = length - queries + r + 1, need = causal ? seen + rows - 1 : length;
            for (size_t j = 0; j < need; j += NN_PANEL) {
                k->gemm_tile_bf16(h.s + j, h.padded, q + r * 3 * w->row_words + head * words, 3 * w->row_words, 1,
                                  h.keys + j * words, depth, rows, need - j < NN_PANEL ? need - j : NN_PANEL, 1, 0);
            }
            probabilities(k, &h, rows, length, seen, causal);
            for (size_t d = 0; d < depth; d += NN_PANEL) {
                k->gemm_tile_bf16(o + r * t->width + head * depth + d, t->width, h.p, h.padded / 2, 1,
                                  h.values + d * pairs, 2 * pairs, rows, depth - d < NN_PANEL ? depth - d : NN_PANEL, 1,
                                  0);
            }
        }
    }
    vc_arena_release(w->nn.scratch, mark);
}

void clip_attend(ClipWork *w, const ClipPacking *p, bool pooled)
{
    const size_t width = w->tower->width;
    for (size_t i = 0; i < p->count; i++) {
        const ClipSequence *s = &p->of[i];
        const bool shares = s->shared > 0 || (i + 1 < p->count && p->of[i + 1].shared > 0);
        size_t ld;
        const uint32_t *keys = keys_of(w, s, shares, &ld);
        const size_t at = pooled ? i : s->first, queries = pooled ? 1 : s->length - s->shared;
        (w->half ? attend_half : attend_float)(w, w->a + at * width, w->qkv + at * 3 * w->row_words, keys, ld, queries,
                                               s->length, p->causal);
    }
}
