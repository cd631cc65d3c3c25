// SPDX-License-Identifier: MIT
// What CLIP's tokenizers do to a text before they cut it, as arrays of code points. Internal to concepts/.
//
// Two orders: Hugging Face's normaliser (NFC, white space, lower case per character) and that of OpenAI and open_clip
// (ftfy.fix_text, html.unescape twice, white space, lower case per word). Of ftfy's repair of text that went through a
// wrong encoding the common case is here (UTF-8 read as Latin-1 or Windows-1252), and lone C1 controls are read as
// Windows-1252; its other code pages and half-damaged lines are not.
// Threads: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A zeroed Runes is empty; `data` is freed with runes_finish.
typedef struct {
    uint32_t *data;
    size_t len, cap;
} Runes;

void runes_finish(Runes *r);
void runes_put(Runes *r, uint32_t code_point);
// Appends n bytes of UTF-8, every invalid byte as U+FFFD.
void runes_put_utf8(Runes *r, const char *text, size_t n);

bool text_is_space(uint32_t c);  // Unicode White_Space
bool text_is_letter(uint32_t c); // \p{L}
bool text_is_number(uint32_t c); // \p{N}

// In place.
void text_clean_hf(Runes *r);
void text_clean_openclip(Runes *r);
void text_html_unescape(Runes *r); // Python's html.unescape

extern const char text_html_entities[];
