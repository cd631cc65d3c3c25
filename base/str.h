// SPDX-License-Identifier: MIT
// A string builder and UTF-8 checks. Threads: any; one builder is used by one thread at a time.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// `data` is NULL or always terminated by a zero byte that `len` does not count. A zeroed VcStr is a valid empty one.
typedef struct {
    char *data;
    size_t len, cap;
} VcStr;

void vc_str_finish(VcStr *s);                // frees, leaves an empty builder
void vc_str_clear(VcStr *s);                 // length 0, memory kept
void vc_str_put(VcStr *s, const char *text); // appends
void vc_str_putn(VcStr *s, const void *p, size_t n);
void vc_str_putc(VcStr *s, char c);
void vc_str_putf(VcStr *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vc_str_vputf(VcStr *s, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
const char *vc_str_get(const VcStr *s); // never NULL
// Appends `text` of n bytes as a JSON string with quotes. ascii: non-ASCII as \uXXXX, as Python's json.dumps does.
// Bytes that are not UTF-8 become U+FFFD.
void vc_str_put_json(VcStr *s, const char *text, size_t n, bool ascii);

// Appends `text` as content of an element or a quoted attribute of HTML and XML. Control characters, which XML has not,
// become spaces. NULL: nothing.
void vc_str_put_html(VcStr *out, const char *text);
// Appends `text` as a CSV field: quoted where it must be (RFC 4180).
void vc_str_put_csv(VcStr *out, const char *text);

bool vc_utf8_valid(const char *s, size_t n);
// Decodes one code point at s (n > 0 bytes left). Returns its length 1..4, or 0 where the bytes are not valid UTF-8
// (overlong forms, surrogates and values over U+10FFFF are not valid).
size_t vc_utf8_decode(const char *s, size_t n, uint32_t *code_point);
size_t vc_utf8_encode(uint32_t code_point, char out[4]); // returns 1..4
// Appends s with every invalid byte replaced by U+FFFD. Returns the number of replacements.
size_t vc_utf8_repair(VcStr *out, const char *s, size_t n);

bool vc_has_suffix(const char *s, const char *suffix);
bool vc_has_prefix(const char *s, const char *prefix);
// Whole-string numbers; false when empty, with trailing characters, or out of range.
bool vc_parse_i64(const char *s, int64_t *out);
bool vc_parse_double(const char *s, double *out);
// "64MiB", "1.5GB", "4096" -> bytes.
bool vc_parse_bytes(const char *s, uint64_t *out);
