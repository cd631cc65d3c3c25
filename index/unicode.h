// SPDX-License-Identifier: MIT
// Unicode facts that BERT's tokenizer and Python's str methods depend on (utf8proc's tables). Inside index/ only.
// Threads: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// BERT's classes of a code point.
typedef enum {
    INDEX_CP_WORD,
    INDEX_CP_SPACE, // tab, newline, carriage return, Zs, line and paragraph separators
    INDEX_CP_DROP,  // NUL, U+FFFD and every other category C
    INDEX_CP_PUNCT, // category P and the ASCII symbols
    INDEX_CP_CJK,   // ideographs: each is a word
} IndexCpClass;
IndexCpClass index_cp_class(uint32_t cp);

bool index_cp_is_space(uint32_t cp); // Python's str.isspace
bool index_cp_is_cased(uint32_t cp);
bool index_cp_is_case_ignorable(uint32_t cp);
bool index_cp_is_mark(uint32_t cp);   // category Mn
uint32_t index_cp_lower(uint32_t cp); // simple lower case
// Canonical decomposition (NFD) of one code point; returns how many, at most 4 (18 in theory only for NFKD).
size_t index_cp_decompose(uint32_t cp, uint32_t out[4]);
