// SPDX-License-Identifier: MIT
// Concept expressions: any text is refused with words or understood, and what is understood is evaluated in range. Its
// own text means the same.
#include "base/str.h"
#include "query/evaluate.h"
#include "tests/fuzz/target.h"

enum { ROWS = 300 };

static const uint32_t rows[] = {0, 3, 64, 65, 128, 299};
static const int16_t scores[] = {100, -5, 32767, -32767, 0, 12};
static int16_t dense[ROWS];
static int64_t ids[ROWS];

static PostingList list_of(void *ctx, const QueryNode *term)
{
    (void)ctx;
    return strlen(term->text) % 2 ? (PostingList){.count = 6, .rows = rows, .scores = scores}
                                  : (PostingList){.count = ROWS, .scores = dense, .span = ROWS};
}

static void evaluate(const QueryNode *node, int way)
{
    uint64_t bits[ROWS / 64 + 1] = {0};
    const Evaluation e = {.root = node, .list = list_of, .rows = ROWS, .ids = ids, .least = -1e9, .way = way};
    EvaluationResult r = query_evaluate(&e, NULL, bits);
    int64_t set = 0;
    for (size_t i = 0; i <= ROWS / 64; i++)
        set += __builtin_popcountll(bits[i]);
    VC_ASSERT(set == r.matched && r.matched <= ROWS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int i = 0; i < ROWS; i++) {
        ids[i] = i % 17 ? i : -1;
        dense[i] = (int16_t)(i % 5 ? i * 7 : POSTINGS_ABSENT);
    }
    VcArena *memory = vc_arena_create("fuzz");
    char *text = vc_strndup((const char *)data, size);
    QueryNode *node = NULL, *again = NULL;
    VcErr err = {0};
    if (query_expression_parse(&node, text, memory, &err)) {
        const char *shown = query_expression_text(node, memory);
        VC_ASSERT(query_expression_parse(&again, shown, memory, &err));
        VC_ASSERT(strcmp(shown, query_expression_text(again, memory)) == 0);
        evaluate(node, EVALUATE_SCAN);
        evaluate(node, EVALUATE_PROBE);
    } else {
        VC_ASSERT(err.code == VC_ERR_USAGE && err.text[0]);
    }
    free(text);
    vc_arena_destroy(&memory);
    return 0;
}
