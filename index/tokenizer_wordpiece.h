// SPDX-License-Identifier: MIT
// WordPiece as in bert-base-uncased: control characters removed, lower case, accents stripped (NFD, marks dropped),
// split at whitespace, punctuation and CJK characters, then the longest piece first. Words over 100 characters, and
// words that no sequence of pieces spells, are [UNK]. The strings [PAD] [UNK] [CLS] [SEP] [MASK] inside a text are kept
// whole. Equal to BertTokenizer (Hugging Face).
//
// ViCHA's sequences are [CLS] X without a final [SEP]; a stock BERT adds it. Both are flags here.
//
// A Wordpiece does not change after wordpiece_open. Threads: any.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Wordpiece Wordpiece;

typedef enum {
    WORDPIECE_PAD,
    WORDPIECE_UNK,
    WORDPIECE_CLS,
    WORDPIECE_SEP,
    WORDPIECE_MASK,
    WORDPIECE_SPECIALS
} WordpieceSpecial;

enum {
    WORDPIECE_ADD_CLS = 1 << 0, // [CLS] in front
    WORDPIECE_ADD_SEP = 1 << 1, // [SEP] at the end; kept when the text is cut
};

// `path` is a vocab.txt: one piece a line, the line number (from 0) is the id. Refused with the line: a vocabulary
// without one of the five special pieces, a piece listed twice, an empty line, bytes that are not UTF-8, a cased
// vocabulary (its pieces could never match lower-cased text), JSON (another tokenizer's file), over 8 MiB.
bool wordpiece_open(Wordpiece **out, const char *path, VcErr *err);
// The same from memory; `what` names it in errors.
bool wordpiece_open_memory(Wordpiece **out, const char *data, size_t n, const char *what, VcErr *err);
void wordpiece_close(Wordpiece **wp); // NULL allowed; clears

size_t wordpiece_size(const Wordpiece *wp);        // pieces: ids are below this
const char *wordpiece_sha256(const Wordpiece *wp); // of the file, 64 hex digits
int32_t wordpiece_special(const Wordpiece *wp, WordpieceSpecial which);
const char *wordpiece_piece(const Wordpiece *wp, int32_t id); // "##ing"; NULL out of range. Owned by wp.

// Writes at most `cap` ids of `text` (n bytes) to `ids` and returns how many. The sequence is cut to `cap` with the
// added specials counted: 25 with ADD_CLS is [CLS] and 24 pieces. *whole (may be NULL): ids it would have had uncut.
// Bytes that are not UTF-8 are ignored, as U+FFFD is.
size_t wordpiece_encode(const Wordpiece *wp, const char *text, size_t n, unsigned flags, int32_t *ids, size_t cap,
                        size_t *whole);
