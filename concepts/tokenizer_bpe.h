// SPDX-License-Identifier: MIT
// CLIP's byte-level byte-pair tokenizer, with the ids of Hugging Face's CLIPTokenizer, of open_clip and of OpenAI's
// own code: the three differ only in how a text is cleaned before it is cut.
//
// The rule: ids never depend on what was encoded before; the word cache inside is only faster.
// Threads: an open Bpe is read-only and may be shared; each thread encodes through its own BpeCache (or none).
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    BPE_CLEAN_HF,       // NFC, white space to one space, lower case per character; <|endoftext|> in a text is special
    BPE_CLEAN_OPENCLIP, // ftfy, HTML entities twice, white space, lower case per word; <end_of_text> is special
    BPE_CLEAN_OPENAI,   // the same with <|startoftext|> and <|endoftext|>
} BpeClean;

typedef struct Bpe Bpe;
typedef struct BpeCache BpeCache;

// Reads vocab.json + merges.txt of folder `dir`, or tokenizer.json alone. A missing file, a merge whose result is not
// in the vocabulary, a vocabulary without the 512 byte tokens or without start and end tokens: one VC_ERR_FORMAT that
// names the file and the first thing that is wrong.
bool bpe_open(Bpe **out, const char *dir, VcErr *err);
void bpe_close(Bpe **bpe); // NULL allowed; clears

size_t bpe_vocabulary(const Bpe *bpe); // largest id + 1
int32_t bpe_start_id(const Bpe *bpe);
int32_t bpe_end_id(const Bpe *bpe);
int32_t bpe_pad_id(const Bpe *bpe); // pad_token of tokenizer_config.json or special_tokens_map.json, else the end id
// The token's text in the vocabulary's spelling (bytes as stand-in characters, "</w>" at a word's end), or NULL.
const char *bpe_token(const Bpe *bpe, int32_t id);
// "hf", "openclip" or "openai"; false for anything else.
bool bpe_clean_by_name(const char *name, BpeClean *out);

BpeCache *bpe_cache_create(void);
void bpe_cache_destroy(BpeCache **cache);

// Ids of `text` (n bytes; invalid UTF-8 becomes U+FFFD) without start and end tokens, all of them. *ids grows with
// vc_grow (*cap items); returns their number. `cache` may be NULL.
size_t bpe_encode_all(const Bpe *bpe, BpeCache *cache, BpeClean clean, const char *text, size_t n, int32_t **ids,
                      size_t *cap);
// Start, ids, end in at most `context` (>= 2) places: what is too long is cut and the end token stays last.
// Returns the number of ids written to ids[context]; the rest of it is not touched.
size_t bpe_encode(const Bpe *bpe, BpeCache *cache, BpeClean clean, const char *text, size_t n, int32_t *ids,
                  size_t context);
