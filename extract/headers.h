// SPDX-License-Identifier: MIT
// The response headers that a download goes by, read line by line with a limit on their bytes.
//
// The rule: limits hold for the headers of all answers of one request together, 1xx included. Threads: one reader, one
// thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXTRACT_HEADER_BYTES = 128 * 1024, EXTRACT_HEADER_ANSWERS = 16 };

typedef struct {
    const char *agent;  // our product token, for X-Robots-Tag; borrowed
    size_t bytes;       // so far
    unsigned answers;   // status lines so far
    int status;         // of the last status line, 0 before
    bool complete;      // the empty line after a status that is not 1xx
    double retry_after; // seconds; negative: not said
    bool opted_out;     // X-Robots-Tag forbids learning
    unsigned encodings; // Content-Encodings named, identity aside
} ExtractHeaders;

typedef enum { EXTRACT_HEADERS_OK, EXTRACT_HEADERS_TOO_LONG, EXTRACT_HEADERS_ENCODED } ExtractHeadersVerdict;

void extract_headers_begin(ExtractHeaders *headers, const char *agent);
// One line with its line end, any bytes; `now` is the time since 1970, for Retry-After with a date.
// ENCODED: more than one Content-Encoding, of which a small body could keep us busy without an end.
ExtractHeadersVerdict extract_headers_line(ExtractHeaders *headers, const char *line, size_t n, int64_t now);
// Retry-After: seconds, or an HTTP date (RFC 9110, the three forms). Negative: neither.
double extract_retry_after(const char *value, size_t n, int64_t now);
