// SPDX-License-Identifier: MIT
// Private to serve/: who may ask what. Pure functions over the words of a request, so that tests need no socket.
//
// The rules. The Host header must be a name we go by: this stops pages of other sites whose name was pointed at this
// machine (DNS rebinding). A request that changes nothing needs no more; one with a body must come from our own page or
// from no page at all (Origin). With a token every request must carry it: as `Authorization: Bearer TOKEN`, as cookie,
// or once as `?token=`, which sets the cookie and leads to the address without it.
//
// Threads: read-only after serve_guard_init.
#pragma once

#include "serve/internal.h"

#define SERVE_COOKIE "vicha_token"

typedef struct {
    char *token;  // NULL: none is asked
    char *bind;   // numeric address
    bool local;   // loopback
    char **hosts; // further names
    size_t host_count;
} ServeGuard;

typedef struct {
    const char *method, *path;
    const char *host, *origin, *authorization, *cookie, *token, *length, *transfer; // NULL: not given
} ServeAsking;

// VC_ERR_USAGE for an address beyond loopback without a token, and for a token that a cookie cannot carry.
bool serve_guard_init(ServeGuard *guard, const ServeOptions *options, VcErr *err);
void serve_guard_finish(ServeGuard *guard);
bool serve_guard_host(const ServeGuard *guard, const char *host); // a Host header's value
// False: the reply says why not, or where to go.
bool serve_guard_check(const ServeGuard *guard, const ServeAsking *asking, ServeReply *reply);
