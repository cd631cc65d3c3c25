// SPDX-License-Identifier: MIT
// Servers that misbehave, on loopback, each on a port of its own: what they do stands in a table.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    THEN_KEEP,    // wait for the next request
    THEN_CLOSE,   //
    THEN_RESET,   // RST
    THEN_SILENT,  // nothing more, until the client goes
    THEN_FOREVER, // `piece` again and again, as fast as it goes
    THEN_TRICKLE, // `piece` every `ms`
} BadThen;

typedef struct {
    const char *name;
    const char *scheme;   // NULL: "http"
    const char *answer;   // bytes of the first answer; NULL: none. "@" in a Location stands for this server
    size_t answer_bytes;  // 0: strlen
    const char *encoding; // the body is a good image under this one: "gzip", "bomb", "gzip, gzip", "cut"
    BadThen then;
    const char *piece;
    int ms;
    const char *second; // answer from the second request for the same path on; NULL: as the first
    bool at_once;       // the answer comes, and `then` happens, before any request is read
    const char *robots; // answer to /robots.txt; NULL: 404
    // What must come of it: names of causes, with a space between; "ok" for an image.
    const char *causes;
    unsigned requests; // that arrive, robots.txt aside; 0: not counted
    size_t bytes;      // of an "ok" body; 0: not looked at
} BadCase;

typedef struct BadServers BadServers;
// `everything`: a robots.txt is answered no better than the rest, except where the case has one.
BadServers *bad_servers_start(const BadCase *cases, size_t count, bool everything);
int bad_servers_port(const BadServers *servers, size_t index);
unsigned bad_servers_requests(BadServers *servers, size_t index); // robots.txt aside
bool bad_servers_saw(BadServers *servers, const char *header);    // has any request held these bytes?
void bad_servers_stop(BadServers **servers);                      // every connection has ended
