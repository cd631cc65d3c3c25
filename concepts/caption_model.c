// SPDX-License-Identifier: MIT
// The caption labeller: a trigram hidden Markov model over states "part of speech / role", smoothed by deleted
// interpolation, with a suffix model for unknown words (Brants, "TnT", ANLP 2000). Read from lexicon.tsv, which the
// build puts into the program; tests/support/make_lexicon.py says how it was counted.
#include "concepts/caption_internal.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#include <math.h>

enum {
    MAX_STATES = 62,
    DIM = MAX_STATES + 2, // and "begin", "end"
    MAX_CANDIDATES = 12,  // states considered for one token
    PIECE = 256,          // tokens labelled at once: bounds the lattice
    MAX_SUFFIX = 5,       // bytes
};

extern const unsigned char concepts_lexicon[];
extern const size_t concepts_lexicon_size;

typedef struct {
    uint8_t state;
    float logp; // log P(word | state)
} Candidate;

typedef struct {
    const char *text;              // in concepts_lexicon
    uint32_t length, first, count; // candidates [first, first + count)
} Word;

typedef struct {
    char text[MAX_SUFFIX];
    uint8_t length;
    uint32_t total;
    uint16_t types[MAX_STATES]; // lexicon words with this ending and state
} Suffix;

struct CaptionModel {
    size_t states;
    char tag[MAX_STATES][8], role[MAX_STATES];
    double count[DIM], total, theta;
    float (*transition)[DIM][DIM]; // [a][b][c] log P(c | a b)
    Candidate *candidates;
    size_t candidate_count, candidate_cap;
    Word *words; // open addressing
    size_t word_slots, word_count;
    Suffix *suffixes; // open addressing
    size_t suffix_slots;
    uint8_t code[256]; // letter of the file -> state
};

typedef struct {
    double (*two)[DIM];
    double (*three)[DIM][DIM];
} Counts;

// --- reading the table -----------------------------------------------------------------------------------------------

static const char *number(const char *p, double *out)
{
    double v = 0;
    while (*p >= '0' && *p <= '9')
        v = v * 10 + (*p++ - '0');
    *out = v;
    return p;
}

static void read_state(CaptionModel *m, const char *p)
{
    // "X TAG/ROLE count"
    size_t s = m->states++;
    VC_ASSERT(s < MAX_STATES);
    m->code[(uint8_t)p[0]] = (uint8_t)s;
    const char *slash = strchr(p + 2, '/');
    VC_ASSERT(slash && (size_t)(slash - p - 2) < sizeof m->tag[s]);
    memcpy(m->tag[s], p + 2, (size_t)(slash - p - 2));
    m->role[s] = slash[1];
    number(slash + 3, &m->count[s]);
    m->total += m->count[s];
}

static Word *find_word(const CaptionModel *m, const char *text, size_t n)
{
    size_t at = vc_xxh3(text, n) & (m->word_slots - 1);
    while (m->words[at].text && (m->words[at].length != n || memcmp(m->words[at].text, text, n) != 0))
        at = (at + 1) & (m->word_slots - 1);
    return &m->words[at];
}

static Suffix *find_suffix(const CaptionModel *m, const char *text, size_t n)
{
    size_t at = vc_xxh3(text, n) & (m->suffix_slots - 1);
    while (m->suffixes[at].total && (m->suffixes[at].length != n || memcmp(m->suffixes[at].text, text, n) != 0))
        at = (at + 1) & (m->suffix_slots - 1);
    return &m->suffixes[at];
}

// "word X=count Y=count": one type for each state in the suffix table, the counts as emissions.
static void read_word(CaptionModel *m, const char *p, const char *end)
{
    const char *space = memchr(p, ' ', (size_t)(end - p));
    size_t n = (size_t)(space - p);
    Word *w = find_word(m, p, n);
    *w = (Word){.text = p, .length = (uint32_t)n, .first = (uint32_t)m->candidate_count};
    VC_ASSERT(++m->word_count * 2 < m->word_slots);
    for (const char *q = space + 1; q < end; q++) {
        uint8_t s = m->code[(uint8_t)q[0]];
        double c;
        q = number(q + 2, &c);
        if (w->count < MAX_CANDIDATES) {
            m->candidates = vc_grow(m->candidates, &m->candidate_cap, m->candidate_count + 1, sizeof *m->candidates);
            m->candidates[m->candidate_count++] = (Candidate){s, (float)log(c / m->count[s])};
            w->count++;
        }
        for (size_t k = 0; k <= MAX_SUFFIX && k <= n; k++) {
            Suffix *x = find_suffix(m, p + n - k, k);
            memcpy(x->text, p + n - k, k);
            x->length = (uint8_t)k;
            x->total++;
            x->types[s]++;
        }
    }
}

static uint8_t context(const CaptionModel *m, char c)
{
    return c == '^' ? MAX_STATES : c == '$' ? MAX_STATES + 1 : m->code[(uint8_t)c];
}

static void read_table(CaptionModel *m, Counts *counts)
{
    const char *p = (const char *)concepts_lexicon, *end = p + concepts_lexicon_size;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        VC_ASSERT(stop);
        if (p[0] != '@' || p[1] == ' ') {
            read_word(m, p, stop);
        } else if (p[1] == 'S') {
            read_state(m, p + 3);
        } else if (p[1] == '2') {
            number(p + 6, &counts->two[context(m, p[3])][context(m, p[4])]);
        } else if (p[1] == '3') {
            number(p + 7, &counts->three[context(m, p[3])][context(m, p[4])][context(m, p[5])]);
        }
        p = stop + 1;
    }
}

// --- smoothing -------------------------------------------------------------------------------------------------------

// Weights of the unigram, bigram and trigram estimates: each trigram votes, with its count, for the order that
// predicts it best once it is taken out.
static void interpolation(const CaptionModel *m, const Counts *c, const double *sum2, double (*sum3)[DIM], double l[3])
{
    l[0] = l[1] = l[2] = 0;
    for (size_t a = 0; a < DIM; a++) {
        for (size_t b = 0; b < DIM; b++) {
            for (size_t s = 0; s < DIM; s++) {
                double n = c->three[a][b][s];
                if (n == 0)
                    continue;
                double f3 = sum3[a][b] > 1 ? (n - 1) / (sum3[a][b] - 1) : 0;
                double f2 = sum2[b] > 1 ? (c->two[b][s] - 1) / (sum2[b] - 1) : 0;
                double f1 = (m->count[s] - 1) / (m->total - 1);
                l[f3 >= f2 && f3 >= f1 ? 2 : f2 >= f1 ? 1 : 0] += n;
            }
        }
    }
    double sum = l[0] + l[1] + l[2];
    for (int i = 0; i < 3; i++)
        l[i] /= sum;
}

static void set_transitions(CaptionModel *m, const Counts *c)
{
    double *sum2 = vc_calloc(DIM, sizeof *sum2), (*sum3)[DIM] = vc_calloc(DIM, sizeof *sum3), l[3];
    for (size_t a = 0; a < DIM; a++) {
        for (size_t b = 0; b < DIM; b++) {
            sum2[a] += c->two[a][b];
            for (size_t s = 0; s < DIM; s++)
                sum3[a][b] += c->three[a][b][s];
        }
        m->count[MAX_STATES + 1] += c->two[a][MAX_STATES + 1]; // captions end so often
    }
    interpolation(m, c, sum2, sum3, l);
    for (size_t a = 0; a < DIM; a++) {
        for (size_t b = 0; b < DIM; b++) {
            for (size_t s = 0; s < DIM; s++) {
                double p = l[0] * m->count[s] / m->total + l[1] * c->two[b][s] / fmax(1, sum2[b]);
                if (sum3[a][b] > 0)
                    p += l[2] * c->three[a][b][s] / sum3[a][b];
                m->transition[a][b][s] = (float)log(p + 1e-12);
            }
        }
    }
    // Brants' theta: the standard deviation of the states' probabilities weighs shorter suffixes.
    double mean = 1.0 / (double)m->states, square = 0;
    for (size_t s = 0; s < m->states; s++)
        square += (m->count[s] / m->total - mean) * (m->count[s] / m->total - mean);
    m->theta = sqrt(square / (double)(m->states - 1));
    free(sum2);
    free(sum3);
}

CaptionModel *caption_model_create(void)
{
    CaptionModel *m = vc_calloc(1, sizeof *m);
    m->word_slots = 1 << 15;
    m->suffix_slots = 1 << 16;
    m->words = vc_calloc(m->word_slots, sizeof *m->words);
    m->suffixes = vc_calloc(m->suffix_slots, sizeof *m->suffixes);
    m->transition = vc_calloc(DIM, sizeof *m->transition);
    Counts counts = {.two = vc_calloc(DIM, sizeof *counts.two), .three = vc_calloc(DIM, sizeof *counts.three)};
    read_table(m, &counts);
    set_transitions(m, &counts);
    free(counts.two);
    free(counts.three);
    return m;
}

void caption_model_destroy(CaptionModel **model)
{
    CaptionModel *m = model ? *model : NULL;
    if (!m)
        return;
    free(m->transition);
    free(m->candidates);
    free(m->words);
    free(m->suffixes);
    free(m);
    *model = NULL;
}

char caption_model_role(const CaptionModel *model, uint8_t state)
{
    return model->role[state];
}

const char *caption_model_tag(const CaptionModel *model, uint8_t state)
{
    return model->tag[state];
}

// --- labelling -------------------------------------------------------------------------------------------------------

static size_t guess(const CaptionModel *m, const char *word, size_t n, Candidate *out)
{
    double p[MAX_STATES] = {0};
    for (size_t k = 0; k <= MAX_SUFFIX && k <= n; k++) {
        const Suffix *x = find_suffix(m, word + n - k, k);
        if (!x->total)
            break;
        for (size_t s = 0; s < m->states; s++) {
            double f = (double)x->types[s] / x->total;
            p[s] = k == 0 ? f : (f + m->theta * p[s]) / (1 + m->theta);
        }
    }
    size_t count = 0;
    for (; count < MAX_CANDIDATES; count++) {
        size_t best = 0;
        for (size_t s = 1; s < m->states; s++) {
            if (p[s] > p[best])
                best = s;
        }
        if (p[best] <= 1e-3)
            break;
        out[count] = (Candidate){(uint8_t)best, (float)log(p[best] / m->count[best])};
        p[best] = 0;
    }
    return count;
}

static size_t candidates(const CaptionModel *m, const CaptionToken *token, VcStr *lower, Candidate *out)
{
    vc_str_clear(lower);
    // A word longer than any in the lexicon is known by its end.
    size_t skip = token->length > 64 ? token->length - 64 : 0;
    while (skip && skip < token->length && ((uint8_t)token->text[skip] & 0xC0) == 0x80)
        skip++;
    caption_put_lower(lower, token->text + skip, token->length - skip);
    const Word *w = find_word(m, vc_str_get(lower), lower->len);
    if (!w->text)
        return guess(m, vc_str_get(lower), lower->len, out);
    memcpy(out, m->candidates + w->first, w->count * sizeof *out);
    return w->count;
}

typedef struct {
    Candidate list[MAX_CANDIDATES];
    size_t count;
} Column;

// Viterbi over pairs of states. back[t][i][j]: the candidate of token t-2 on the best path with i at t-1 and j at t.
static void label_piece(const CaptionModel *m, const CaptionToken *tokens, size_t n, uint8_t *states)
{
    static const Column begin = {.list = {{MAX_STATES, 0}}, .count = 1};
    uint8_t(*back)[MAX_CANDIDATES][MAX_CANDIDATES] = vc_alloc(n, sizeof *back);
    Column *columns = vc_alloc(n, sizeof *columns);
    float score[MAX_CANDIDATES][MAX_CANDIDATES] = {{0}}, next[MAX_CANDIDATES][MAX_CANDIDATES];
    VcStr lower = {0};
    for (size_t t = 0; t < n; t++) {
        Column *c = &columns[t];
        c->count = candidates(m, &tokens[t], &lower, c->list);
        const Column *b = t > 0 ? &columns[t - 1] : &begin, *a = t > 1 ? &columns[t - 2] : &begin;
        for (size_t i = 0; i < b->count; i++) {
            for (size_t j = 0; j < c->count; j++) {
                float best = -INFINITY;
                for (size_t h = 0; h < a->count; h++) {
                    float v = score[h][i] + m->transition[a->list[h].state][b->list[i].state][c->list[j].state];
                    if (v > best) {
                        best = v;
                        back[t][i][j] = (uint8_t)h;
                    }
                }
                next[i][j] = best + c->list[j].logp;
            }
        }
        memcpy(score, next, sizeof score);
    }
    const Column *b = n > 1 ? &columns[n - 2] : &begin, *c = &columns[n - 1];
    size_t bi = 0, bj = 0;
    float best = -INFINITY;
    for (size_t i = 0; i < b->count; i++) {
        for (size_t j = 0; j < c->count; j++) {
            float v = score[i][j] + m->transition[b->list[i].state][c->list[j].state][MAX_STATES + 1];
            if (v > best)
                best = v, bi = i, bj = j;
        }
    }
    for (size_t t = n; t-- > 0;) {
        states[t] = columns[t].list[bj].state;
        size_t h = back[t][bi][bj];
        bj = bi;
        bi = h;
    }
    vc_str_finish(&lower);
    free(back);
    free(columns);
}

void caption_model_label(const CaptionModel *model, const CaptionToken *tokens, size_t n, uint8_t *states)
{
    for (size_t at = 0; at < n; at += PIECE)
        label_piece(model, tokens + at, n - at < PIECE ? n - at : PIECE, states + at);
}
