// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include "base/err.h"

enum { ALIGN = 64, CHUNK_MIN = 1 << 16 };

static void out_of_memory(size_t n, size_t size) __attribute__((noreturn, cold));
static void out_of_memory(size_t n, size_t size)
{
    fprintf(stderr, "vicha: error: out of memory (%zu x %zu bytes)\n", n, size);
    abort();
}

bool vc_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool vc_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static size_t checked_bytes(size_t n, size_t size)
{
    size_t bytes;
    if (!vc_mul_size(n, size, &bytes))
        out_of_memory(n, size);
    return bytes ? bytes : 1;
}

void *vc_alloc(size_t n, size_t size)
{
    void *p = malloc(checked_bytes(n, size));
    if (!p)
        out_of_memory(n, size);
    return p;
}

void *vc_calloc(size_t n, size_t size)
{
    void *p = calloc(1, checked_bytes(n, size));
    if (!p)
        out_of_memory(n, size);
    return p;
}

void *vc_realloc(void *p, size_t n, size_t size)
{
    p = realloc(p, checked_bytes(n, size));
    if (!p)
        out_of_memory(n, size);
    return p;
}

void *vc_alloc_aligned(size_t n, size_t size)
{
    size_t bytes = checked_bytes(n, size);
    size_t rounded;
    if (!vc_add_size(bytes, ALIGN - 1, &rounded))
        out_of_memory(n, size);
    void *p = aligned_alloc(ALIGN, rounded / ALIGN * ALIGN);
    if (!p)
        out_of_memory(n, size);
    return p;
}

char *vc_strndup(const char *s, size_t n)
{
    char *p = vc_alloc(n + 1, 1);
    memcpy(p, s, n);
    p[n] = 0;
    return p;
}

char *vc_strdup(const char *s)
{
    return vc_strndup(s, strlen(s));
}

void *vc_grow(void *items, size_t *cap, size_t need, size_t item)
{
    if (need <= *cap)
        return items;
    size_t cap_new = *cap ? *cap : 8;
    while (cap_new < need) {
        if (cap_new > SIZE_MAX / 2)
            out_of_memory(need, item);
        cap_new *= 2;
    }
    *cap = cap_new;
    return vc_realloc(items, cap_new, item);
}

typedef struct {
    uint8_t *data;
    size_t size, used;
} Chunk;

struct VcArena {
    const char *name;
    Chunk *chunks;
    size_t count, cap, current; // chunks after `current` are empty and kept for reuse
    size_t in_use, peak;
};

VcArena *vc_arena_create(const char *name)
{
    VcArena *arena = vc_calloc(1, sizeof *arena);
    arena->name = name;
    return arena;
}

void vc_arena_destroy(VcArena **arena)
{
    if (!arena || !*arena)
        return;
    for (size_t i = 0; i < (*arena)->count; i++)
        free((*arena)->chunks[i].data);
    free((*arena)->chunks);
    free(*arena);
    *arena = NULL;
}

// Makes `current` a chunk with room for `bytes`; chunks that are too small in between stay empty.
static Chunk *chunk_with_room(VcArena *arena, size_t bytes)
{
    for (; arena->current < arena->count; arena->current++) {
        Chunk *c = &arena->chunks[arena->current];
        if (c->size - c->used >= bytes)
            return c;
    }
    size_t size = arena->count ? arena->chunks[arena->count - 1].size * 2 : CHUNK_MIN;
    if (size > ((size_t)1 << 30))
        size = (size_t)1 << 30;
    if (size < bytes)
        size = bytes;
    arena->chunks = vc_grow(arena->chunks, &arena->cap, arena->count + 1, sizeof *arena->chunks);
    arena->chunks[arena->count] = (Chunk){.data = vc_alloc_aligned(size, 1), .size = size};
    arena->current = arena->count++;
    return &arena->chunks[arena->current];
}

void *vc_arena_alloc(VcArena *arena, size_t n, size_t size)
{
    size_t bytes = checked_bytes(n, size);
    if (!vc_add_size(bytes, ALIGN - 1, &bytes))
        out_of_memory(n, size);
    bytes = bytes / ALIGN * ALIGN;
    Chunk *c = chunk_with_room(arena, bytes);
    void *p = c->data + c->used;
    c->used += bytes;
    arena->in_use += bytes;
    if (arena->in_use > arena->peak)
        arena->peak = arena->in_use;
    return p;
}

void *vc_arena_zalloc(VcArena *arena, size_t n, size_t size)
{
    void *p = vc_arena_alloc(arena, n, size);
    memset(p, 0, n * size);
    return p;
}

VcArenaMark vc_arena_mark(const VcArena *arena)
{
    size_t used = arena->current < arena->count ? arena->chunks[arena->current].used : 0;
    return (VcArenaMark){.chunk = arena->current, .used = used};
}

void vc_arena_release(VcArena *arena, VcArenaMark mark)
{
    for (size_t i = mark.chunk; i < arena->count && i <= arena->current; i++) {
        size_t keep = i == mark.chunk ? mark.used : 0;
        arena->in_use -= arena->chunks[i].used - keep;
        arena->chunks[i].used = keep;
    }
    arena->current = mark.chunk;
}

void vc_arena_reset(VcArena *arena)
{
    vc_arena_release(arena, (VcArenaMark){0, 0});
}

size_t vc_arena_peak(const VcArena *arena)
{
    return arena->peak;
}
