// SPDX-License-Identifier: MIT
// One HTTP request at a time, for files of models: HEAD, GET with a range, a token that stays where it belongs.
// (Many images at once: extract/fetch.h.)
//
// http and https alone, also after a redirect. The token is sent to the host, port and scheme of the first URL and to
// no other. Threads: one client, one thread; an interrupt (vc_interrupted) ends a transfer with VC_ERR_CANCELLED.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct ExtractClient ExtractClient;
// stall: seconds without a byte after which a request fails.
ExtractClient *extract_client_create(const char *user_agent, double stall);
void extract_client_destroy(ExtractClient **client); // NULL allowed; clears

typedef struct {
    const char *url;
    const char *token; // NULL, or sent as "Authorization: Bearer TOKEN"
    bool head;         // no body; a redirect to another host is not followed: its headers are the answer
    uint64_t from;     // first byte that is wanted
    // Takes the body of a 200 or 206, piece by piece; `at` is the place of the piece in the file (0 again where the
    // server ignores the range). False with *err set ends the request. NULL drops the body.
    bool (*take)(void *ctx, const void *data, size_t n, uint64_t at, VcErr *err);
    void *ctx;
} ExtractRequest;

typedef struct {
    long status;
    int64_t length;      // of the whole file, from Content-Length or Content-Range; -1: not said
    int64_t linked_size; // X-Linked-Size; -1
    // Without quotation marks and W/; NULL when absent. Owned.
    char *etag, *linked_etag, *commit; // ETag, X-Linked-Etag, X-Repo-Commit
    char *message;                     // X-Error-Message
} ExtractReply;
void extract_reply_finish(ExtractReply *reply);

// Any status is an answer; true as soon as there is one that was read to its end. VC_ERR_NET may heal when tried again.
bool extract_request(ExtractClient *client, const ExtractRequest *request, ExtractReply *reply, VcErr *err);
