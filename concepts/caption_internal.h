// SPDX-License-Identifier: MIT
// Private to the caption parser: its tokeniser, its relations and helpers they share.
//
// Threads: a CaptionTokens belongs to one thread.
#pragma once

#include "base/str.h"
#include "concepts/caption_model.h"
#include "concepts/caption_silver.h"

typedef struct {
    VcStr text;           // the caption repaired: UTF-8, control characters as spaces; tokens point into it
    CaptionToken *tokens; // [count]
    size_t count, cap;
} CaptionTokens;

void caption_tokens_split(CaptionTokens *out, const char *text, size_t n);
void caption_tokens_finish(CaptionTokens *t);

CaptionParser *caption_parser_over(CaptionModel *model); // takes the model

// A caption of the annotated ones, with pronouns and relations: what the models make of its tokens, or (gold) what the
// annotation says.
void caption_parse_silver(CaptionParser *parser, const Silver *silver, size_t caption, bool gold, CaptionParse *out);

// A labelled caption, its tree and its heads in order, and who wants to hear of relations between heads (by their
// places among the heads).
typedef struct {
    const CaptionToken *tokens; // [n]
    const CaptionWord *words;   // [n] with their tags
    size_t n;
    const int32_t *head; // [n]; n or -1 for the root
    const uint8_t *dep;  // [n] CaptionDep
    const int32_t *left; // [n] outermost child on the left, -1 none
    const size_t *heads; // [head_count] token of each
    size_t head_count;
    void (*add)(void *context, size_t subject, const char *relation, size_t object);
    void *context;
} CaptionRoles;
void caption_relate(const CaptionRoles *roles);
