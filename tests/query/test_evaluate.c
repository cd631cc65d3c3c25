// SPDX-License-Identifier: MIT
// Expressions over posting lists against a judge that goes image by image through a table: by scan and by search, dense
// and sparse lists, with and without a set of allowed rows, every page of every order.
#include "base/rng.h"
#include "query/evaluate.h"
#include "tests/support/test.h"

enum { CONCEPTS = 12, MOST_ROWS = 20000 };

typedef struct {
    size_t rows;
    int16_t *table; // [CONCEPTS][rows], POSTINGS_ABSENT: not there
    PostingList lists[CONCEPTS];
    uint32_t *list_rows[CONCEPTS];
    int16_t *list_scores[CONCEPTS];
    int64_t *ids;
    uint64_t *allowed;
    size_t allowed_count;
    bool whole; // every row has an image
} World;

// Concept c is in about 1 of 3^(c/2) rows; scores are few, so that many are equal.
static World make_world(VcRng *rng, bool rising)
{
    World w = {.rows = 1 + vc_rng_below(rng, MOST_ROWS)};
    w.table = vc_alloc(CONCEPTS * w.rows, sizeof *w.table);
    w.ids = vc_alloc(w.rows, sizeof *w.ids);
    w.allowed = vc_calloc(w.rows / 64 + 1, sizeof *w.allowed);
    for (size_t i = 0; i < w.rows; i++)
        w.ids[i] = (int64_t)(i * 3 + 7);
    if (!rising)
        vc_rng_shuffle(rng, w.ids, w.rows, sizeof *w.ids);
    w.whole = vc_rng_below(rng, 2);
    for (size_t i = 0; !w.whole && i < w.rows / 50; i++)
        w.ids[vc_rng_below(rng, w.rows)] = -1;
    size_t share = 1 + vc_rng_below(rng, 100);
    for (size_t i = 0; i < w.rows; i++) {
        if (vc_rng_below(rng, 100) < share) {
            w.allowed[i / 64] |= UINT64_C(1) << (i % 64);
            w.allowed_count++;
        }
    }
    size_t one_in = 1;
    for (size_t c = 0; c < CONCEPTS; c++) {
        one_in *= c % 2 ? 3 : 1;
        int16_t *t = w.table + c * w.rows;
        w.list_rows[c] = vc_alloc(w.rows, sizeof(uint32_t));
        w.list_scores[c] = vc_alloc(w.rows, sizeof(int16_t));
        size_t n = 0;
        for (size_t i = 0; i < w.rows; i++) {
            t[i] = vc_rng_below(rng, one_in) ? POSTINGS_ABSENT : (int16_t)((int)vc_rng_below(rng, 41) * 1000 - 8000);
            if (t[i] != POSTINGS_ABSENT) {
                w.list_rows[c][n] = (uint32_t)i;
                w.list_scores[c][n++] = t[i];
            }
        }
        w.lists[c] = vc_rng_below(rng, 2) && n
                         ? (PostingList){.count = n, .scores = t, .span = w.rows}
                         : (PostingList){.count = n, .rows = w.list_rows[c], .scores = w.list_scores[c]};
    }
    return w;
}

static void free_world(World *w)
{
    for (size_t c = 0; c < CONCEPTS; c++) {
        free(w->list_rows[c]);
        free(w->list_scores[c]);
    }
    free(w->table);
    free(w->ids);
    free(w->allowed);
}

static PostingList list_of(void *ctx, const QueryNode *term)
{
    return ((World *)ctx)->lists[term->concept_id];
}

static QueryNode *make_node(VcRng *rng, VcArena *memory, int depth)
{
    QueryNode *node = vc_arena_zalloc(memory, 1, sizeof *node);
    uint64_t kind = depth == 0 ? 0 : vc_rng_below(rng, 5);
    *node = (QueryNode){.kind = kind <= 1   ? QUERY_TERM
                                : kind == 2 ? QUERY_AND
                                : kind == 3 ? QUERY_OR
                                            : QUERY_NOT,
                        .concept_id = (int64_t)vc_rng_below(rng, CONCEPTS),
                        .least = vc_rng_below(rng, 3) ? INT32_MIN : (int)vc_rng_below(rng, 30000)};
    if (node->kind == QUERY_TERM)
        return node;
    node->child_count = node->kind == QUERY_NOT ? 1 : 2 + vc_rng_below(rng, 3);
    node->children = vc_arena_alloc(memory, node->child_count, sizeof(*node->children));
    for (size_t i = 0; i < node->child_count; i++)
        node->children[i] = make_node(rng, memory, depth - 1);
    return node;
}

// The judge: does it hold, and with what score. In double, from the header's own words.
static bool judge(const World *w, const QueryNode *node, size_t row, double *score)
{
    *score = 0;
    if (node->kind == QUERY_TERM) {
        int s = w->table[(size_t)node->concept_id * w->rows + row];
        *score = s;
        return s != POSTINGS_ABSENT && s >= node->least;
    }
    bool all = true, any = false;
    double sum = 0, best = -INFINITY;
    int parts = 0;
    for (size_t i = 0; i < node->child_count; i++) {
        double part;
        bool holds = judge(w, node->children[i], row, &part);
        bool scored = query_expression_scored(node->children[i]);
        all = all && holds;
        any = any || holds;
        sum += holds && scored ? part : 0;
        parts += scored;
        if (holds && part > best)
            best = part;
    }
    if (node->kind == QUERY_NOT)
        return !any;
    *score = node->kind == QUERY_OR ? best : parts ? sum / parts : 0;
    return node->kind == QUERY_AND ? all : any;
}

static size_t judge_all(const World *w, const Evaluation *e, Ranked *out)
{
    size_t n = 0;
    for (size_t i = 0; i < w->rows; i++) {
        double score = 0;
        bool ok = w->ids[i] >= 0 && (!e->allowed || (e->allowed[i / 64] >> (i % 64) & 1));
        if (ok && (!e->root || judge(w, e->root, i, &score)) && score / 32767 >= e->least)
            out[n++] = (Ranked){score / 32767, w->ids[i], (int64_t)i};
    }
    ranked_sort(out, n);
    return n;
}

// Pages of `limit` one behind the other are the whole list.
static void check_pages(const World *w, const Evaluation *e, const Ranked *wanted, size_t n, size_t limit)
{
    Ranked after = {0};
    for (size_t at = 0, page = 0; at < n && page < 6; page++) {
        Selection best = {.has_after = at > 0, .after = after};
        selection_begin(&best, limit);
        EvaluationResult r = query_evaluate(e, &best, NULL);
        selection_sort(&best);
        assert_int_equal(r.matched, n);
        assert_int_equal(best.count, n - at < limit ? n - at : limit);
        for (size_t i = 0; i < best.count; i++, at++) {
            // Single precision in the engine may turn two almost equal means; equal scores are in order.
            assert_close(best.items[i].score, wanted[at].score, 1e-6);
            if (i > 0)
                assert_true(ranked_before(&best.items[i - 1], &best.items[i]));
            double score = 0;
            assert_true(!e->root || judge(w, e->root, (size_t)best.items[i].row, &score));
            assert_close(best.items[i].score, score / 32767, 1e-6);
            assert_int_equal(best.items[i].id, w->ids[best.items[i].row]);
        }
        after = best.items[best.count - 1];
        selection_finish(&best);
    }
}

static void check_bits(const World *w, const Evaluation *e, const Ranked *wanted, size_t n)
{
    uint64_t *bits = vc_calloc(w->rows / 64 + 1, sizeof *bits);
    EvaluationResult r = query_evaluate(e, NULL, bits);
    size_t set = 0;
    assert_int_equal(r.matched, n);
    for (size_t i = 0; i <= w->rows / 64; i++)
        set += (size_t)__builtin_popcountll(bits[i]);
    assert_int_equal(set, n);
    for (size_t i = 0; i < n; i++)
        assert_true(bits[wanted[i].row / 64] >> (wanted[i].row % 64) & 1);
    free(bits);
}

static void test_against_the_table(void **state)
{
    (void)state;
    size_t probed = 0, scanned = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        VcRng rng;
        vc_rng_seed(&rng, seed);
        World w = make_world(&rng, seed % 3 != 0);
        Ranked *wanted = vc_alloc(w.rows, sizeof *wanted);
        for (int round = 0; round < 6; round++) {
            VcArena *memory = vc_arena_create("test");
            bool some = vc_rng_below(&rng, 2), least = vc_rng_below(&rng, 3) == 0;
            Evaluation e = {.root = vc_rng_below(&rng, 12) ? make_node(&rng, memory, 3) : NULL,
                            .list = list_of,
                            .ctx = &w,
                            .rows = w.rows,
                            .allowed = some ? w.allowed : NULL,
                            .allowed_count = some ? w.allowed_count : 0,
                            .ids = w.ids,
                            .whole = w.whole,
                            .least = least ? 0.3 : -INFINITY};
            size_t n = judge_all(&w, &e, wanted);
            for (int way = EVALUATE_AUTO; way <= EVALUATE_PROBE; way++) {
                e.way = way;
                probed += query_evaluate(&e, NULL, NULL).probed;
                scanned += !query_evaluate(&e, NULL, NULL).probed;
                check_pages(&w, &e, wanted, n, 1 + vc_rng_below(&rng, 40));
                check_bits(&w, &e, wanted, n);
            }
            // Deep pages pick from more than the selection's spare room.
            e.way = EVALUATE_AUTO;
            check_pages(&w, &e, wanted, n, 5000);
            vc_arena_destroy(&memory);
        }
        free(wanted);
        free_world(&w);
    }
    assert_true(probed > 100 && scanned > 100); // both ways were really taken
}

static void test_damaged_lists_stay_inside(void **state)
{
    (void)state;
    uint32_t rows[] = {5, 9000000, 7, 4000000000u, 3};
    int16_t scores[] = {1, 2, 3, 4, 5};
    int64_t ids[10];
    for (int i = 0; i < 10; i++)
        ids[i] = i;
    World w = {.rows = 10, .ids = ids};
    w.lists[0] = (PostingList){.count = 5, .rows = rows, .scores = scores};
    w.lists[1] = (PostingList){.count = 10, .scores = scores, .span = 5};
    QueryNode terms[2] = {{.kind = QUERY_TERM, .least = INT32_MIN},
                          {.kind = QUERY_TERM, .least = INT32_MIN, .concept_id = 1}};
    QueryNode *children[2] = {&terms[0], &terms[1]};
    QueryNode root = {.kind = QUERY_OR, .children = children, .child_count = 2};
    for (int way = EVALUATE_AUTO; way <= EVALUATE_PROBE; way++) {
        uint64_t bits = 0;
        Evaluation e = {
            .root = &root, .list = list_of, .ctx = &w, .rows = 10, .ids = ids, .least = -INFINITY, .way = way};
        query_evaluate(&e, NULL, &bits);
        assert_true((bits & 31) == 31 && bits < 1024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_the_table),
                                       cmocka_unit_test(test_damaged_lists_stay_inside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
