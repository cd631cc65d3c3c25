// SPDX-License-Identifier: MIT
// Private to the caption parser: what its three perceptrons see of a caption, the same in training and in use.
//
// A feature is a 28-bit hash, never 0, of its template and of what it looks at. Two features that share a hash are one
// feature: of the 50,000 that a model knows about five. With 28 bits most differences of neighbours take two bytes.
#pragma once

#include "concepts/caption.h"

#include <stdbool.h>
#include <stdint.h>

// Universal parts of speech; INTJ counts as X. The order is that of the packed file.
typedef enum {
    CAPTION_NOUN,
    CAPTION_DET,
    CAPTION_ADP,
    CAPTION_VERB,
    CAPTION_ADJ,
    CAPTION_PUNCT,
    CAPTION_AUX,
    CAPTION_PRON,
    CAPTION_CCONJ,
    CAPTION_NUM,
    CAPTION_ADV,
    CAPTION_PROPN,
    CAPTION_SCONJ,
    CAPTION_PART,
    CAPTION_SYM,
    CAPTION_X,
    CAPTION_TAGS,
    CAPTION_NO_TAG = CAPTION_TAGS // beyond the ends of a caption
} CaptionTag;

// HEAD of a concept, PRONOUN such a head that is a pronoun, COMPOUND and MODIFIER of the next head, AFTER a modifier of
// the head before ("a street full of cars").
typedef enum {
    CAPTION_OTHER,
    CAPTION_HEAD,
    CAPTION_PRONOUN,
    CAPTION_COMPOUND,
    CAPTION_MODIFIER,
    CAPTION_AFTER,
    CAPTION_ROLES,
    CAPTION_NO_ROLE = CAPTION_ROLES
} CaptionRole;

// Steps of the transition parser (arc-eager, Nivre 2003, with the root after the last token). An arc's label is kept
// only where relations ask for it; all others are OTHER.
typedef enum {
    CAPTION_SHIFT,
    CAPTION_REDUCE,
    CAPTION_LEFT_OTHER,
    CAPTION_LEFT_NSUBJ,
    CAPTION_LEFT_NSUBJPASS,
    CAPTION_LEFT_AMOD,
    CAPTION_LEFT_ADVMOD,
    CAPTION_RIGHT_OTHER,
    CAPTION_RIGHT_AMOD,
    CAPTION_RIGHT_ADVMOD,
    CAPTION_RIGHT_ACL,
    CAPTION_RIGHT_AGENT,
    CAPTION_RIGHT_POBJ,
    CAPTION_RIGHT_DOBJ,
    CAPTION_RIGHT_ATTR,
    CAPTION_RIGHT_CONJ,
    CAPTION_STEPS
} CaptionStep;

typedef enum {
    CAPTION_DEP_OTHER,
    CAPTION_DEP_NSUBJ,
    CAPTION_DEP_NSUBJPASS,
    CAPTION_DEP_AMOD,
    CAPTION_DEP_ADVMOD,
    CAPTION_DEP_ACL,
    CAPTION_DEP_AGENT,
    CAPTION_DEP_POBJ,
    CAPTION_DEP_DOBJ,
    CAPTION_DEP_ATTR,
    CAPTION_DEP_CONJ,
    CAPTION_DEPS,
    CAPTION_NO_DEP = CAPTION_DEPS
} CaptionDep;

// What is known of one token before anything is decided.
typedef struct {
    uint32_t form, lower, shape; // hashes
    uint32_t suffix[4];          // of the last 1..4 bytes in lower case
    uint32_t prefix[4];          // of the first 1..4
    uint8_t tag, role;           // as far as they are decided
    bool listed;                 // the tag is the dictionary's: certain
} CaptionWord;

enum {
    CAPTION_KEY_BITS = 28,
    CAPTION_PAD = 3, // words beyond each end that may be looked at
    CAPTION_TAG_FEATURES = 48,
    CAPTION_ROLE_FEATURES = 64,
    CAPTION_STEP_FEATURES = 96,
    CAPTION_MAX_FEATURES = 96
};

// words[0 .. n + 2 * CAPTION_PAD): the tokens with CAPTION_PAD words beyond either end.
void caption_words(const CaptionToken *tokens, size_t n, CaptionWord *words);

// Tags are decided from left to right: those of w[-1], w[-2] are known. Returns how many keys.
size_t caption_tag_features(const CaptionWord *w, uint32_t keys[CAPTION_TAG_FEATURES]);

// Roles are decided from right to left, when all tags are known.
typedef struct {
    uint32_t next_head; // `lower` of the nearest head on the right, 0 none
    uint8_t next_tag;   // its tag
    uint8_t distance;   // to it, at most 7
} CaptionRoleContext;
static const CaptionRoleContext caption_role_begin = {0, CAPTION_NO_TAG, 7};
void caption_role_seen(CaptionRoleContext *c, const CaptionWord *w); // after the role of w is decided
// False for words that are surely OTHER: determiners, prepositions, conjunctions, punctuation ... of the dictionary.
bool caption_role_is_open(const CaptionWord *w);
size_t caption_role_features(const CaptionWord *w, const CaptionRoleContext *c, uint32_t keys[CAPTION_ROLE_FEATURES]);

// The state of the transition parser. All arrays are [n + 1]: the root is token n.
typedef struct {
    const CaptionWord *words; // words[0] is token 0, with the pads around it
    size_t n, stack_size, next;
    uint32_t *stack;
    int32_t *head;                          // -1 none yet
    uint8_t *dep;                           // CaptionDep
    int32_t *left, *left2, *right, *right2; // outermost children and those before them, -1 none
    uint8_t *left_count, *right_count;      // at most 7
    uint16_t *left_deps, *right_deps;       // sets of labels
} CaptionArcs;
size_t caption_step_features(const CaptionArcs *a, uint32_t keys[CAPTION_STEP_FEATURES]);
