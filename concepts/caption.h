// SPDX-License-Identifier: MIT
// A caption to its concepts (the heads of its noun phrases), their attributes and the relations between them.
//
// Tokens follow the boundaries of the reference's tokeniser (spaCy's English rules). Two averaged perceptrons give
// every token its universal part of speech and then its role in a noun phrase; the roles decide everything else: a
// concept is the compound words since the last head in reverse order, then the head ("vanilla ice cream" is "ice
// vanilla cream", as in the original), plural kept, lower-cased. Relations are read off a tree that a transition parser
// makes. The weights stand in captions.model in this folder, which `vicha concepts train-parser` makes.
//
// Threads: one parser, one thread at a time. The models behind it are constant.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct CaptionParser CaptionParser;

CaptionParser *caption_parser_create(void); // with the models in the program; unpacks them, a few milliseconds
// With the models of a file that `vicha concepts train-parser` wrote. NULL: cannot be read, or is no such file.
CaptionParser *caption_parser_open(const char *path, VcErr *err);
// Another one over the models of `parser`, for another thread; destroyed before it.
CaptionParser *caption_parser_share(const CaptionParser *parser);
void caption_parser_destroy(CaptionParser **parser); // NULL allowed; clears

typedef struct {
    const char *head, *modifier; // surface text, case kept; `head` with its compounds
} CaptionAttribute;

typedef struct {
    const char *subject, *relation, *object; // surface text, case kept
} CaptionRelation;

// Everything is borrowed from the parser until its next call. Repeats are kept, order of the text.
typedef struct {
    const char **concepts; // lower-cased
    size_t concept_count;
    const CaptionAttribute *attributes;
    size_t attribute_count;
    const CaptionRelation *relations;
    size_t relation_count;
} CaptionParse;

// PRONOUNS: "it", "who", "someone" ... are concepts too, as in the original; else they are left out, with what relates
// to them. RELATIONS: fill them; they need the tree, which takes longer than all the rest.
// CASE: concepts keep the case of the caption, too.
enum { CAPTION_PRONOUNS = 1, CAPTION_RELATIONS = 2, CAPTION_CASE = 4 };

// Any bytes are a caption: what is not UTF-8 counts as U+FFFD, control characters as spaces. A caption over
// CAPTION_MAX_BYTES is cut there at a character boundary.
enum { CAPTION_MAX_BYTES = 4u << 20 };
void caption_parse(CaptionParser *parser, const char *text, size_t n, unsigned flags, CaptionParse *out);

// A hash of the models: what the answers depend on beside the caption and the program.
uint64_t caption_parser_model(const CaptionParser *parser);

// Appends s in lower case (Unicode simple mapping), as concepts are.
void caption_put_lower(VcStr *out, const char *s, size_t n);

// A token is a piece of the text, without white space.
typedef struct {
    const char *text; // borrowed, not terminated
    uint32_t length;  // bytes
    bool space_after;
} CaptionToken;

// The tokens of a caption, borrowed from the parser until its next call. Returns how many.
size_t caption_tokenize(CaptionParser *parser, const char *text, size_t n, const CaptionToken **tokens);
