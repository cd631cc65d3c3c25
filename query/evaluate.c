// SPDX-License-Identifier: MIT
#include "query/evaluate.h"

#include "base/mem.h"

#include <float.h>
#include <math.h>

enum {
    CHUNK = 4096,        // rows a scan computes at once: an array of scores is 16 KiB
    ABSENT = -(1 << 20), // exact as a float
    PROBE_COST = 40,     // rows that a scan passes in the time of one search
};

static const double one = 32767; // stored score of cosine 1

// A node made ready: its list, and where the last look into it ended.
typedef struct Node {
    QueryNodeKind kind;
    struct Node *children;
    size_t child_count;
    PostingList list;
    int least; // stored score; above POSTINGS_ABSENT
    size_t at; // rows[0, at) are behind us
    bool scored;
    size_t scored_parts; // AND
} Node;

typedef struct {
    const Evaluation *e;
    Node root;
    VcArena *memory;
    float **arrays; // [depth][CHUNK]
    size_t depth, leaves;
    Selection *best;
    uint64_t *bits;
    float least;  // the lowest value that holds
    float wanted; // the lowest that can still get among the best
    EvaluationResult result;
} Run;

static size_t bin_of(float value)
{
    const float at = floorf(value) + 0.5F * EVALUATE_BINS;
    return at <= 0 ? 0 : at >= EVALUATE_BINS - 1 ? EVALUATE_BINS - 1 : (size_t)at;
}

bool query_expression_scored(const QueryNode *node)
{
    if (!node || node->kind == QUERY_NOT)
        return false;
    bool scored = node->kind == QUERY_TERM;
    for (size_t i = 0; i < node->child_count; i++)
        scored = scored || query_expression_scored(node->children[i]);
    return scored;
}

static void prepare(Run *run, Node *node, const QueryNode *from, size_t depth)
{
    *node = (Node){.kind = from->kind, .scored = query_expression_scored(from)};
    if (depth + 1 > run->depth)
        run->depth = depth + 1;
    if (from->kind == QUERY_TERM) {
        node->list = run->e->list(run->e->ctx, from);
        node->least = from->least <= POSTINGS_ABSENT ? POSTINGS_ABSENT + 1 : from->least;
        run->leaves++;
        return;
    }
    node->child_count = from->child_count;
    node->children = vc_arena_alloc(run->memory, from->child_count, sizeof *node->children);
    for (size_t i = 0; i < from->child_count; i++) {
        prepare(run, &node->children[i], from->children[i], depth + 1);
        node->scored_parts += node->children[i].scored;
    }
}

// The shortest list that every answer is in, NULL: none.
static Node *driver(Node *node)
{
    if (node->kind == QUERY_TERM)
        return node;
    Node *best = NULL;
    for (size_t i = 0; node->kind == QUERY_AND && i < node->child_count; i++) {
        Node *d = driver(&node->children[i]);
        if (d && (!best || d->list.count < best->list.count))
            best = d;
    }
    return best;
}

// The first place in the list with a row of at least `row`, from node->at on: by doubled steps, then by halves.
static void gallop(Node *node, size_t row)
{
    const uint32_t *rows = node->list.rows;
    size_t n = node->list.count, low = node->at, step = 1;
    while (low + step <= n && rows[low + step - 1] < row) {
        low += step;
        step *= 2;
    }
    size_t high = low + step < n ? low + step : n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (rows[mid] < row) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    node->at = low;
}

// --- one row ---------------------------------------------------------------------------------------------------------

// Rising rows only: lists are searched from where the last search ended. -INFINITY: it does not hold.
static float probe(Node *node, size_t row)
{
    switch (node->kind) {
    case QUERY_TERM: {
        int score = POSTINGS_ABSENT;
        if (!node->list.rows) {
            score = row < node->list.span ? node->list.scores[row] : POSTINGS_ABSENT;
        } else {
            gallop(node, row);
            if (node->at < node->list.count && node->list.rows[node->at] == row)
                score = node->list.scores[node->at];
        }
        return score >= node->least ? (float)score : -INFINITY;
    }
    case QUERY_NOT:
        return probe(&node->children[0], row) > -INFINITY ? -INFINITY : 0;
    case QUERY_AND: {
        float sum = 0;
        for (size_t i = 0; i < node->child_count && sum > -INFINITY; i++)
            sum += probe(&node->children[i], row);
        return node->scored_parts > 1 ? sum / (float)node->scored_parts : sum;
    }
    case QUERY_OR:
        break;
    }
    float best = -INFINITY;
    for (size_t i = 0; i < node->child_count; i++)
        best = fmaxf(best, probe(&node->children[i], row));
    return best;
}

// The lowest finite value whose score is at least `least`: later comparisons are in single precision, and the same.
static float lowest_value(double least)
{
    if (!(least > -FLT_MAX))
        return -FLT_MAX;
    float v = (float)(least * one);
    while (v > -FLT_MAX && v / one >= least)
        v = nextafterf(v, -INFINITY);
    while (v / one < least)
        v = nextafterf(v, INFINITY);
    return v;
}

static void add_value(Run *run, size_t row, float value)
{
    double threshold = run->best->threshold;
    selection_add(run->best, value / one, run->e->ids[row], (int64_t)row);
    if (run->best->threshold > threshold) {
        float least = lowest_value(run->best->threshold);
        run->wanted = least > run->wanted ? least : run->wanted;
    }
}

static bool is_allowed(const Evaluation *e, size_t row)
{
    return !e->allowed || (e->allowed[row / 64] >> (row % 64) & 1);
}

static void take(Run *run, size_t row, float value)
{
    const Evaluation *e = run->e;
    if (!(value >= run->least) || e->ids[row] < 0)
        return;
    run->result.matched++;
    if (run->e->histogram)
        run->e->histogram[bin_of(value)]++;
    if (run->bits)
        run->bits[row / 64] |= UINT64_C(1) << (row % 64);
    if (run->best && value >= run->wanted)
        add_value(run, row, value);
}

static void probe_list(Run *run, Node *by)
{
    // The driver's own place moves with the searches; its rows are walked with a counter of its own.
    for (size_t i = 0; i < by->list.count; i++) {
        size_t row = by->list.rows[i];
        if (row < run->e->rows && is_allowed(run->e, row))
            take(run, row, probe(&run->root, row));
    }
}

static void probe_allowed(Run *run)
{
    const Evaluation *e = run->e;
    for (size_t w = 0; w <= (e->rows - 1) / 64; w++) {
        for (uint64_t left = e->allowed[w]; left; left &= left - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(left);
            take(run, row, e->root ? probe(&run->root, row) : 0);
        }
    }
}

// --- chunks ----------------------------------------------------------------------------------------------------------

static void scan_term(Node *node, size_t base, size_t n, float *out)
{
    const int16_t *scores = node->list.scores;
    int least = node->least;
    size_t span = base < node->list.span ? node->list.span - base : 0, dense = span < n ? span : n;
    // Without a branch, for vector units: what is absent is first a number below all scores.
    for (size_t i = 0; i < dense; i++) {
        int score = scores[base + i], mask = -(score < least);
        out[i] = (float)((score & ~mask) | (ABSENT & mask));
    }
    for (size_t i = 0; i < dense; i++)
        out[i] = out[i] > (float)ABSENT ? out[i] : -INFINITY;
    for (size_t i = dense; i < n; i++)
        out[i] = -INFINITY;
    if (!node->list.rows)
        return;
    bool all = least <= POSTINGS_ABSENT + 1;
    const uint32_t *rows = node->list.rows;
    if (node->at < node->list.count && rows[node->at] < base)
        gallop(node, base);
    size_t at = node->at, count = node->list.count;
    // `row - base` wraps around for rows before the chunk: a damaged list writes nowhere else.
    for (; all && at < count && rows[at] - base < n; at++)
        out[rows[at] - base] = scores[at];
    for (; !all && at < count && rows[at] - base < n; at++)
        out[rows[at] - base] = scores[at] >= least ? (float)scores[at] : -INFINITY;
    node->at = at;
}

// out: [n] scores of rows base..base+n, -INFINITY where the node does not hold.
static void scan(Run *run, Node *node, size_t base, size_t n, size_t depth, float *out)
{
    if (node->kind == QUERY_TERM) {
        scan_term(node, base, n, out);
        return;
    }
    scan(run, &node->children[0], base, n, depth + 1, out);
    if (node->kind == QUERY_NOT) {
        for (size_t i = 0; i < n; i++)
            out[i] = out[i] > -INFINITY ? -INFINITY : 0;
        return;
    }
    float *part = run->arrays[depth];
    for (size_t c = 1; c < node->child_count; c++) {
        scan(run, &node->children[c], base, n, depth + 1, part);
        for (size_t i = 0; node->kind == QUERY_AND && i < n; i++)
            out[i] += part[i];
        for (size_t i = 0; node->kind == QUERY_OR && i < n; i++)
            out[i] = part[i] > out[i] ? part[i] : out[i];
    }
    float parts = (float)node->scored_parts;
    for (size_t i = 0; node->kind == QUERY_AND && node->scored_parts > 1 && i < n; i++)
        out[i] /= parts;
}

static void mask_chunk(const Evaluation *e, size_t base, size_t n, float *values)
{
    for (size_t i = 0; i < n; i += 64) {
        uint64_t word = e->allowed[(base + i) / 64];
        if (word == UINT64_MAX)
            continue;
        for (size_t k = i; k < n && k < i + 64; k++)
            values[k] = word >> (k - i) & 1 ? values[k] : -INFINITY;
    }
}

enum { BLOCK = 64, LANES = 16 }; // LANES: running maxima next to each other, for vector units

static float block_maximum(const float *values)
{
    float m[LANES];
    memcpy(m, values, sizeof m);
    for (size_t i = LANES; i < BLOCK; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            m[k] = values[i + k] > m[k] ? values[i + k] : m[k];
    }
    for (size_t k = 0; k < 8; k++)
        m[k] = m[k + 8] > m[k] ? m[k + 8] : m[k];
    for (size_t k = 0; k < 4; k++)
        m[k] = m[k + 4] > m[k] ? m[k + 4] : m[k];
    float a = m[0] > m[1] ? m[0] : m[1], b = m[2] > m[3] ? m[2] : m[3];
    return a > b ? a : b;
}

static size_t count_holding(const float *values, size_t n, float least)
{
    int holding = 0;
    for (size_t i = 0; i < n; i++)
        holding += values[i] >= least;
    return (size_t)holding;
}

static void set_bits(const float *values, size_t n, float least, uint64_t *words)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        uint64_t word = 0;
        for (size_t k = 0; k < BLOCK && i + k < n; k++)
            word |= (uint64_t)(values[i + k] >= least) << k;
        words[i / BLOCK] |= word;
    }
}

// values: a whole CHUNK, -INFINITY behind the last row. Most blocks end after one look at their maximum: nothing in
// them can still get among the best.
static void take_chunk(Run *run, size_t base, float *values)
{
    const Evaluation *e = run->e;
    size_t n = e->rows - base < CHUNK ? e->rows - base : CHUNK;
    for (size_t k = 0; !e->whole && k < n; k++)
        values[k] = e->ids[base + k] >= 0 ? values[k] : -INFINITY;
    run->result.matched += (int64_t)count_holding(values, CHUNK, run->least);
    for (size_t k = 0; e->histogram && k < n; k++) {
        if (values[k] >= run->least)
            e->histogram[bin_of(values[k])]++;
    }
    if (run->bits)
        set_bits(values, n, run->least, run->bits + base / 64);
    for (size_t i = 0; run->best && i < n; i += BLOCK) {
        if (block_maximum(values + i) < run->wanted)
            continue;
        for (size_t k = i; k < i + BLOCK; k++) {
            if (values[k] >= run->wanted)
                add_value(run, base + k, values[k]);
        }
    }
}

static void scan_all(Run *run, Node *by)
{
    const Evaluation *e = run->e;
    run->arrays = vc_arena_alloc(run->memory, run->depth + 1, sizeof *run->arrays);
    for (size_t i = 0; i <= run->depth; i++)
        run->arrays[i] = vc_arena_alloc(run->memory, CHUNK, sizeof(float));
    float *values = run->arrays[run->depth];
    for (size_t base = 0; base < e->rows; base += CHUNK) {
        size_t n = e->rows - base < CHUNK ? e->rows - base : CHUNK;
        if (by && by->list.rows) {
            gallop(by, base);
            if (by->at == by->list.count || by->list.rows[by->at] >= base + n)
                continue;
        }
        if (e->root) {
            scan(run, &run->root, base, n, 0, values);
        } else {
            memset(values, 0, n * sizeof *values);
        }
        if (e->allowed)
            mask_chunk(e, base, n, values);
        for (size_t i = n; i < CHUNK; i++)
            values[i] = -INFINITY;
        take_chunk(run, base, values);
    }
}

EvaluationResult query_evaluate(const Evaluation *e, Selection *best, uint64_t *bits)
{
    Run run = {.e = e,
               .best = best,
               .bits = bits,
               .least = lowest_value(e->least),
               .memory = vc_arena_create("query evaluation")};
    run.wanted = run.least;
    run.result.scored = query_expression_scored(e->root);
    Node *by = NULL;
    if (e->root) {
        prepare(&run, &run.root, e->root, 0);
        by = driver(&run.root);
    }
    bool by_list = by && (by->list.rows || by->list.count == 0);
    size_t list = by_list ? by->list.count : SIZE_MAX, few = e->allowed ? e->allowed_count : SIZE_MAX;
    size_t shortest = list < few ? list : few;
    bool can = shortest < SIZE_MAX;
    run.result.probed = can && e->way != EVALUATE_SCAN && (e->way == EVALUATE_PROBE || shortest < e->rows / PROBE_COST);
    if (e->rows > 0 && run.result.probed && shortest > 0) {
        if (list <= few) {
            probe_list(&run, by);
        } else {
            probe_allowed(&run);
        }
    } else if (e->rows > 0 && !run.result.probed) {
        scan_all(&run, by);
    }
    EvaluationResult result = run.result;
    vc_arena_destroy(&run.memory);
    return result;
}
