// SPDX-License-Identifier: MIT
// Annotated captions, to train the caption parser on: a TSV file, plain or gzip.
//
// A caption is a line "# source" (optional), a line for each token and an empty line. A token has eight fields: token,
// space follows (1 or 0), lemma, language's own tag, universal part of speech, dependency label, head as an offset (0
// root), role (H, P, C, M or O). Lemma and own tag are not used.
#pragma once

#include "base/err.h"
#include "concepts/caption_features.h"

typedef struct {
    uint32_t begin, count; // tokens
} SilverCaption;

typedef struct {
    char *text;            // all tokens, one after the other
    CaptionToken *tokens;  // [token_count]
    uint8_t *tags, *roles; // [token_count] CaptionTag, CaptionRole
    uint8_t *deps;         // [token_count] CaptionDep
    int32_t *heads;        // [token_count] place of the head in the caption; -1 the root
    size_t token_count;
    SilverCaption *captions; // [caption_count]
    size_t caption_count;
} Silver;

// Captions over SILVER_MAX_TOKENS, heads outside their caption and unknown words in a field are errors with their line.
enum { SILVER_MAX_TOKENS = 1000 };
bool silver_read(Silver *silver, const char *path, VcErr *err);
void silver_finish(Silver *silver); // of a zeroed one too
