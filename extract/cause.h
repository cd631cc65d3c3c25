// SPDX-License-Identifier: MIT
// Why an input was rejected: a closed set. The negative numbers are `image.status` of vicha.db and are never reused;
// `image.error` holds the words for people. Threads: any.
#pragma once

#include <stdbool.h>

typedef enum {
    EXTRACT_OK = 0,
    // the source's own entry
    EXTRACT_BAD_ENTRY = -1,  // a line or object that is not what the source's format says, or names no image
    EXTRACT_BAD_URL = -2,    // not http or https, or not a URL at all
    EXTRACT_MISSING = -3,    // no such local file
    EXTRACT_UNREADABLE = -4, // a local file that is there but cannot be read
    // the network
    EXTRACT_DNS = -10,          // the host's name has no address
    EXTRACT_CONNECT = -11,      // refused or unreachable
    EXTRACT_TIMEOUT = -12,      // no answer, or too slow
    EXTRACT_NOT_FOUND = -13,    // 404, 410
    EXTRACT_FORBIDDEN = -14,    // any other 4xx
    EXTRACT_SERVER_ERROR = -15, // 5xx, 429 after all retries
    EXTRACT_REDIRECT = -16,     // too many, or to something that is not http(s)
    EXTRACT_TLS = -17,          // certificate or handshake
    EXTRACT_BROKEN_OFF = -18,   // the connection ended before the body did
    EXTRACT_PROTOCOL = -19,     // an answer that is not HTTP as we accept it
    EXTRACT_PRIVATE = -40,      // an address of a private network, refused without --allow-private
    EXTRACT_ROBOTS = -41,       // the host's robots.txt says no
    EXTRACT_OPTED_OUT = -42,    // X-Robots-Tag: noai or noimageai
    // the bytes
    EXTRACT_EMPTY = -20,       // no bytes
    EXTRACT_NOT_IMAGE = -21,   // HTML, JSON, noise
    EXTRACT_UNSUPPORTED = -22, // an image or document format that is not on the list
    EXTRACT_TRUNCATED = -23,   // the end is missing
    EXTRACT_CORRUPT = -24,     // damaged inside
    EXTRACT_TOO_LARGE = -25,   // bytes, pixels or memory over the limit
    EXTRACT_TOO_SMALL = -26,   // a side under --min-size
    EXTRACT_ASPECT = -27,      // long side / short side over --max-aspect
    EXTRACT_TOO_SLOW = -28,    // decoding took longer than an image may
    EXTRACT_CRASHED = -29,     // the decoder's process ended (--sandbox)
    // the set
    EXTRACT_DUPLICATE = -30, // the same as an image with a lower number
} ExtractCause;

// "not_found", "truncated", ...: a stable word for machines. "unknown" for a number that is no cause.
const char *extract_cause_name(int cause);
// The cause of that name; EXTRACT_OK when there is none.
ExtractCause extract_cause_of(const char *name);
// Another try may end otherwise: the network failed, and the server has not said its last word (404, a robots.txt).
bool extract_cause_may_heal(ExtractCause cause);
// All causes: index 0.. until it returns EXTRACT_OK.
ExtractCause extract_cause_at(unsigned index);
