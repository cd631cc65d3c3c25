// SPDX-License-Identifier: MIT
// A caption to its concepts (the heads of its noun phrases), their attributes and the relations between them.
//
// Tokens follow the boundaries of the reference's tokeniser (spaCy's English rules). A trigram hidden Markov model
// over (part of speech, role in a noun phrase) labels them; its lexicon is lexicon.tsv in this folder. The labels
// decide everything else: a concept is the compound words since the last head in reverse order, then the head
// ("vanilla ice cream" is "ice vanilla cream", as in the original), plural kept, lower-cased.
//
// Threads: one parser, one thread at a time. The tables behind it are constant.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct CaptionParser CaptionParser;

CaptionParser *caption_parser_create(void); // reads the tables, a few milliseconds
// Another one over the tables of `parser`, for another thread; destroyed before it.
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

// Any bytes are a caption: what is not UTF-8 counts as U+FFFD, control characters as spaces. A caption over
// CAPTION_MAX_BYTES is cut there at a character boundary. keep_pronouns: "it", "who", "someone" ... are concepts too,
// as in the original; else they are left out.
enum { CAPTION_MAX_BYTES = 4u << 20 };
void caption_parse(CaptionParser *parser, const char *text, size_t n, bool keep_pronouns, CaptionParse *out);

// A token is a piece of the text, without white space.
typedef struct {
    const char *text; // borrowed, not terminated
    uint32_t length;  // bytes
    bool space_after;
} CaptionToken;

// The tokens of a caption, borrowed from the parser until its next call. Returns how many.
size_t caption_tokenize(CaptionParser *parser, const char *text, size_t n, const CaptionToken **tokens);
