// SPDX-License-Identifier: MIT
// Caption clean-up as in ALBEF and ViCHA, before WordPiece. Threads: any.
#pragma once

#include "base/str.h"

#include <stddef.h>

enum { INDEX_CAPTION_WORDS = 30 }; // words kept of a caption in pretraining

// Appends the clean form of `text` (n bytes; bytes that are not UTF-8 become U+FFFD) to `out`:
// lower case (with Python's final sigma and dotted I); the characters , . ' ! ? " ( ) * # : ; ~ deleted; '-' and '/'
// become spaces; "<person>" becomes "person"; runs of two or more whitespace characters become one space; newlines at
// the end, then spaces at both ends are stripped; the first `max_words` words separated by single spaces stay (0: all).
// Concept strings are not cleaned.
void index_clean_caption(VcStr *out, const char *text, size_t n, size_t max_words);
