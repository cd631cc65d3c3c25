// SPDX-License-Identifier: MIT
// A workspace as a local web page with a JSON API (docs/API.md), and as one page to mail. The only header of this
// folder that other folders include.
//
// The rule: the server only reads. Every connection to the database is read-only, pictures come from our own store or
// are made anew from it, the page is part of the program and asks nobody else for anything.
//
// Threads: serve_start makes its own; the other calls belong to the thread that called it.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SERVE_DEFAULT_PORT = 8650,
    SERVE_MAX_BODY = 16 << 20,   // bytes of a picture that is sent to be compared
    SERVE_MAX_CONNECTIONS = 200, // at a time; more are refused
    SERVE_TIMEOUT = 20,          // seconds without a byte after which a connection is closed
    SERVE_MAX_RECEIVE = 60,      // seconds a request may take to arrive
    SERVE_THREADS = 4,           // that answer; each has its own connection to the database
};

typedef struct {
    const char *workspace;
    const char *bind;         // numeric address; NULL: 127.0.0.1
    int64_t port;             // 0: any free one
    const char *token;        // asked of every request; NULL: none, only with a loopback address
    const char *const *hosts; // names the Host header may have besides those of `bind`
    size_t host_count;
    const char *clip; // where the model of the vectors is now; NULL: where it was
    size_t threads;   // of the text and image encoder
} ServeOptions;

typedef struct ServeServer ServeServer;

// Opens the workspace and listens. An address beyond loopback without a token is VC_ERR_USAGE.
bool serve_start(ServeServer **out, const ServeOptions *options, VcErr *err);
uint16_t serve_port(const ServeServer *server);
void serve_stop(ServeServer **server); // ends all connections; NULL allowed; clears

typedef struct {
    const char *workspace;
    const char *const *runs; // folders of runs besides WORKSPACE/runs/*
    size_t run_count;
    size_t pictures; // how many are shown at most
} ReportOptions;

// One HTML page about a workspace and its runs: pictures inline, plots as SVG, no script. It appears under `path`
// whole.
bool serve_report(const ReportOptions *options, const char *path, VcErr *err);
