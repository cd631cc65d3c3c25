// SPDX-License-Identifier: MIT
// Memory: allocations that abort in one place, overflow-checked sizes, and arenas.
//
// Sizes that come from outside are checked against a limit first (vc_mul_size, a VcErr with VC_ERR_LIMIT); what is
// then too much for the machine aborts in vc_out_of_memory. Threads: any; one arena is used by one thread at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// malloc/calloc/realloc of n items of `size` bytes; abort on overflow or when memory is out. Freed with free().
void *vc_alloc(size_t n, size_t size);
void *vc_calloc(size_t n, size_t size);
void *vc_realloc(void *p, size_t n, size_t size);
char *vc_strdup(const char *s);
char *vc_strndup(const char *s, size_t n);
// 64-byte aligned, freed with free().
void *vc_alloc_aligned(size_t n, size_t size);

// *out = a * b (a + b); false on overflow.
bool vc_mul_size(size_t a, size_t b, size_t *out);
bool vc_add_size(size_t a, size_t b, size_t *out);

// Grows an array of `item` bytes each so that it holds at least `need` items; doubles *cap.
void *vc_grow(void *items, size_t *cap, size_t need, size_t item);

// Bump allocator: memory is taken, marked, and released back to a mark; no single object is freed.
typedef struct VcArena VcArena;
typedef struct {
    size_t chunk, used;
} VcArenaMark;

// `name` is kept by reference and shown by vc_arena_peak reports.
VcArena *vc_arena_create(const char *name);
void vc_arena_destroy(VcArena **arena); // NULL or *arena == NULL allowed; clears *arena
// 64-byte aligned, uninitialised (vc_arena_zalloc: zeroed). Aborts on overflow or when memory is out.
void *vc_arena_alloc(VcArena *arena, size_t n, size_t size);
void *vc_arena_zalloc(VcArena *arena, size_t n, size_t size);
VcArenaMark vc_arena_mark(const VcArena *arena);
void vc_arena_release(VcArena *arena, VcArenaMark mark);
void vc_arena_reset(VcArena *arena);
size_t vc_arena_peak(const VcArena *arena); // most bytes ever in use
