// SPDX-License-Identifier: MIT
// Private to the caption parser: its tokeniser, its model and helpers they share.
//
// Threads: a CaptionModel is constant after its creation; a CaptionTokens belongs to one thread.
#pragma once

#include "base/str.h"
#include "concepts/caption.h"

typedef struct {
    VcStr text;           // the caption repaired: UTF-8, control characters as spaces; tokens point into it
    CaptionToken *tokens; // [count]
    size_t count, cap;
} CaptionTokens;

void caption_tokens_split(CaptionTokens *out, const char *text, size_t n);
void caption_tokens_finish(CaptionTokens *t);

// Appends s in lower case (Unicode simple mapping).
void caption_put_lower(VcStr *out, const char *s, size_t n);

typedef struct CaptionModel CaptionModel;
CaptionModel *caption_model_create(void);
void caption_model_destroy(CaptionModel **model);
// states[i] for tokens[0..n): the most probable sequence. Long captions are labelled in pieces of bounded length.
void caption_model_label(const CaptionModel *model, const CaptionToken *tokens, size_t n, uint8_t *states);
// 'H' head, 'P' pronoun head, 'C' compound of the next head, 'M' modifier of the next head, 'O' other.
char caption_model_role(const CaptionModel *model, uint8_t state);
const char *caption_model_tag(const CaptionModel *model, uint8_t state); // part of speech, Penn Treebank

// Labelled tokens with their heads in order, and who wants to hear of relations between heads (by their places).
typedef struct {
    const CaptionModel *model;
    const CaptionToken *tokens;
    const uint8_t *states;
    const size_t *heads; // [head_count] token of each
    size_t head_count;
    void (*add)(void *context, size_t subject, const char *relation, size_t object);
    void *context;
} CaptionRoles;
void caption_relate(CaptionRoles *roles);
