// SPDX-License-Identifier: MIT
// Memory that ends, or begins, at a page nobody may touch: reading or writing one byte too far crashes. The space on
// the other side is filled with a pattern that guard_intact looks at.
#pragma once

#include "base/err.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct {
    uint8_t *pages; // whole mapping: one closed page, the body, one closed page
    size_t body;    // bytes between the closed pages
    uint8_t *data;
    size_t n;
} Guard;

enum { GUARD_PATTERN = 0xA5 };

// n bytes that end (at_end) or begin at a closed page. At the end, the first byte's alignment follows from n.
static inline Guard guard_alloc(size_t n, bool at_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    Guard g = {.body = (n + page) / page * page, .n = n};
    g.pages = mmap(NULL, g.body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VC_ASSERT(g.pages != MAP_FAILED);
    VC_ASSERT(mprotect(g.pages + page, g.body, PROT_READ | PROT_WRITE) == 0);
    memset(g.pages + page, GUARD_PATTERN, g.body);
    g.data = g.pages + page + (at_end ? g.body - n : 0);
    return g;
}

// Nothing was written beside the n bytes.
static inline bool guard_intact(const Guard *g)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (const uint8_t *p = g->pages + page; p < g->pages + page + g->body; p++) {
        if ((p < g->data || p >= g->data + g->n) && *p != GUARD_PATTERN)
            return false;
    }
    return true;
}

static inline void guard_free(Guard *g)
{
    munmap(g->pages, g->body + 2 * (size_t)sysconf(_SC_PAGESIZE));
    *g = (Guard){0};
}
