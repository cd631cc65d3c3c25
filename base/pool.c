// SPDX-License-Identifier: MIT
#include "base/pool.h"

#include "base/err.h"
#include "base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

// A loop is a gate. The caller fills in what to do and opens it; a worker that arrives steps inside, takes chunks and
// leaves; when the chunks have run out the caller closes it and waits for those inside. A worker that arrives late, or
// whom the machine has not run at all, keeps nobody waiting: the others have done its share.
//
// `open` and `inside` are what makes this safe (both sequentially consistent): a worker counts itself before it looks
// at the gate, the caller closes the gate before it looks at the count; so no worker reads the loop while it is
// changed.
struct VcPool {
    size_t threads;
    pthread_t *handles;   // threads - 1 of them
    pthread_mutex_t lock; // for sleeping only
    pthread_cond_t wake, done;
    atomic_ulong generation; // counts loops
    atomic_bool open, stop;
    atomic_size_t inside;
    VcChunkFn fn;
    void *ctx;
    size_t n, chunk;
    atomic_size_t next;
};

typedef struct {
    VcPool *pool;
    size_t worker;
} WorkerArgs;

// Before a thread sleeps it looks again this often, some 50 microseconds: a training step is hundreds of loops, and the
// scheduler likes to wake a sleeper on the very processor of the thread that woke it, where it waits in line.
enum { SPINS = 1500 };

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void run_chunks(VcPool *pool, size_t worker)
{
    for (;;) {
        size_t begin = atomic_fetch_add(&pool->next, pool->chunk);
        if (begin >= pool->n)
            return;
        size_t end = pool->n - begin < pool->chunk ? pool->n : begin + pool->chunk;
        pool->fn(pool->ctx, begin, end, worker);
    }
}

static void wait_for_loop(VcPool *pool, unsigned long seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->generation) != seen || atomic_load(&pool->stop))
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->generation) == seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg)
{
    WorkerArgs args = *(WorkerArgs *)arg;
    free(arg);
    VcPool *pool = args.pool;
    unsigned long seen = 0;
    for (;;) {
        wait_for_loop(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        seen = atomic_load(&pool->generation);
        atomic_fetch_add(&pool->inside, 1);
        if (atomic_load(&pool->open))
            run_chunks(pool, args.worker);
        if (atomic_fetch_sub(&pool->inside, 1) == 1 && !atomic_load(&pool->open)) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void wait_for_workers(VcPool *pool)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load(&pool->inside) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->inside))
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

VcPool *vc_pool_create(size_t threads)
{
    VcPool *pool = vc_calloc(1, sizeof *pool);
    pool->threads = threads ? threads : 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->handles = vc_calloc(pool->threads, sizeof *pool->handles);
    for (size_t i = 1; i < pool->threads; i++) {
        WorkerArgs *args = vc_alloc(1, sizeof *args);
        *args = (WorkerArgs){pool, i};
        VC_ASSERT(pthread_create(&pool->handles[i - 1], NULL, worker_main, args) == 0);
    }
    return pool;
}

void vc_pool_destroy(VcPool **pool_ptr)
{
    if (!pool_ptr || !*pool_ptr)
        return;
    VcPool *pool = *pool_ptr;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 1; i < pool->threads; i++)
        pthread_join(pool->handles[i - 1], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->handles);
    free(pool);
    *pool_ptr = NULL;
}

size_t vc_pool_threads(const VcPool *pool)
{
    return pool ? pool->threads : 1;
}

void vc_parallel_for(VcPool *pool, size_t n, size_t chunk, VcChunkFn fn, void *ctx)
{
    VC_ASSERT(chunk > 0);
    if (n == 0)
        return;
    if (!pool || pool->threads == 1 || n <= chunk) {
        for (size_t begin = 0; begin < n; begin += chunk)
            fn(ctx, begin, n - begin < chunk ? n : begin + chunk, 0);
        return;
    }
    VC_ASSERT(!atomic_load(&pool->open)); // not re-entrant
    pool->fn = fn;
    pool->ctx = ctx;
    pool->n = n;
    pool->chunk = chunk;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->open, true);
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    run_chunks(pool, 0);
    atomic_store(&pool->open, false);
    wait_for_workers(pool);
}

struct VcQueue {
    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    void **items;
    size_t capacity, head, length;
    bool closed;
};

VcQueue *vc_queue_create(size_t capacity)
{
    VcQueue *q = vc_calloc(1, sizeof *q);
    VC_ASSERT(capacity > 0);
    q->capacity = capacity;
    q->items = vc_calloc(capacity, sizeof *q->items);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->not_full, NULL);
    pthread_cond_init(&q->not_empty, NULL);
    return q;
}

void vc_queue_destroy(VcQueue **queue)
{
    if (!queue || !*queue)
        return;
    VcQueue *q = *queue;
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->lock);
    free(q->items);
    free(q);
    *queue = NULL;
}

static bool put(VcQueue *q, void *item, bool wait)
{
    pthread_mutex_lock(&q->lock);
    while (wait && !q->closed && q->length == q->capacity)
        pthread_cond_wait(&q->not_full, &q->lock);
    bool ok = !q->closed && q->length < q->capacity;
    if (ok) {
        q->items[(q->head + q->length++) % q->capacity] = item;
        pthread_cond_signal(&q->not_empty);
    }
    pthread_mutex_unlock(&q->lock);
    return ok;
}

// until: NULL waits for ever, a time in the past does not wait at all.
static bool get(VcQueue *q, void **item, const struct timespec *until)
{
    pthread_mutex_lock(&q->lock);
    bool late = false;
    while (!late && !q->closed && q->length == 0) {
        if (until) {
            late = pthread_cond_timedwait(&q->not_empty, &q->lock, until) != 0;
        } else {
            pthread_cond_wait(&q->not_empty, &q->lock);
        }
    }
    bool ok = q->length > 0;
    if (ok) {
        *item = q->items[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->length--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->lock);
    return ok;
}

bool vc_queue_put(VcQueue *queue, void *item)
{
    return put(queue, item, true);
}

bool vc_queue_try_put(VcQueue *queue, void *item)
{
    return put(queue, item, false);
}

bool vc_queue_get(VcQueue *queue, void **item)
{
    return get(queue, item, NULL);
}

bool vc_queue_try_get(VcQueue *queue, void **item)
{
    return get(queue, item, &(struct timespec){0});
}

bool vc_queue_get_within(VcQueue *queue, void **item, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const int64_t ns = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    return get(queue, item, &until);
}

void vc_queue_close(VcQueue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->not_full);
    pthread_cond_broadcast(&queue->not_empty);
    pthread_mutex_unlock(&queue->lock);
}

size_t vc_queue_length(VcQueue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t length = queue->length;
    pthread_mutex_unlock(&queue->lock);
    return length;
}

size_t vc_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        return n > 0 ? (size_t)n : 1;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
}
