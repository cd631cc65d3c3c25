// SPDX-License-Identifier: MIT
// Threads: a fixed pool with parallel_for over chunks of fixed size, and bounded queues between stages.
//
// Work is cut in chunks whose size does not depend on the number of threads, so sums do not depend on it either.
// One level of parallelism at a time: BLAS and vips run with one thread inside the pool.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct VcPool VcPool;
typedef void (*VcChunkFn)(void *ctx, size_t begin, size_t end, size_t worker); // worker in [0, threads)

VcPool *vc_pool_create(size_t threads); // at least 1; the caller counts as worker 0
void vc_pool_destroy(VcPool **pool);
size_t vc_pool_threads(const VcPool *pool); // a NULL pool has one thread
// Calls fn on [0,n) in pieces of `chunk` items and returns when all are done. A NULL pool runs everything here.
// Not re-entrant: fn may not call parallel_for on the same pool.
void vc_parallel_for(VcPool *pool, size_t n, size_t chunk, VcChunkFn fn, void *ctx);

// Bounded first-in-first-out queue of pointers. Threads: any number on both sides.
typedef struct VcQueue VcQueue;
VcQueue *vc_queue_create(size_t capacity);
void vc_queue_destroy(VcQueue **queue);         // items left in it are the caller's to have drained
bool vc_queue_put(VcQueue *queue, void *item);  // waits for room; false once closed (the item stays the caller's)
bool vc_queue_get(VcQueue *queue, void **item); // waits for an item; false when closed and empty
bool vc_queue_get_within(VcQueue *queue, void **item, double seconds); // false also when nothing came in that time
bool vc_queue_try_put(VcQueue *queue, void *item);                     // false when full or closed
bool vc_queue_try_get(VcQueue *queue, void **item);
void vc_queue_close(VcQueue *queue); // no more puts; gets drain what is left
size_t vc_queue_length(VcQueue *queue);

size_t vc_cpu_count(void); // processors this process may run on (sched_getaffinity), at least 1
