// SPDX-License-Identifier: MIT
// Concept expressions: what --concept takes.
//
//   expression = and { OR and }
//   and        = item { [AND] item }
//   item       = NOT item | "(" expression ")" | name [ ">=" number ]
//   name       = words | "words in double quotes"
//
// AND, OR and NOT are capitals; a name may have several words (black and white dog) and ends at an operator, a bracket
// or ">=". NOT binds strongest, then AND, then OR; `A NOT B` is `A AND NOT B`. "" inside quotes is one quotation mark.
// The number is the lowest cosine, -1 to 1, with which the concept counts as there.
//
// Score of an image: a concept's own cosine; AND: the mean over its parts that have a score (an AND directly inside an
// AND is one with it); OR: the best of those that hold; NOT: none.
//
// Threads: any; an expression belongs to one at a time.
#pragma once

#include "base/err.h"
#include "base/mem.h"

#include <stddef.h>
#include <stdint.h>

enum { QUERY_EXPRESSION_BYTES = 65536, QUERY_EXPRESSION_DEPTH = 64, QUERY_EXPRESSION_TERMS = 256 };

typedef enum { QUERY_TERM, QUERY_AND, QUERY_OR, QUERY_NOT } QueryNodeKind;

typedef struct QueryNode {
    QueryNodeKind kind;
    struct QueryNode **children; // AND, OR: at least two; NOT: one
    size_t child_count;
    const char *text;   // TERM: the concept, one space between words
    int64_t concept_id; // TERM: -1 until somebody looks it up
    int least;          // TERM: lowest stored score (cosine * 32767); INT32_MIN: any
    size_t at;          // where it begins in the source, bytes
} QueryNode;

// Parses `text`; nodes live in `memory`. Errors are VC_ERR_USAGE, show the place and say what was expected.
bool query_expression_parse(QueryNode **out, const char *text, VcArena *memory, VcErr *err);
// The expression as text with brackets where they matter, for --explain and tests. Lives in `memory`.
const char *query_expression_text(const QueryNode *node, VcArena *memory);
