// SPDX-License-Identifier: MIT
// Parts of html.c that only text_clean.c uses. Internal to concepts/. Threads: any.
#pragma once

#include "concepts/text_clean.h"

uint32_t text_windows_1252(uint32_t c);   // 0x80..0x9F as Windows-1252 reads them, all else unchanged
void text_html_unescape_strict(Runes *r); // ftfy's unescape_html
