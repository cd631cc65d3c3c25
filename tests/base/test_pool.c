// SPDX-License-Identifier: MIT
// parallel_for covers every index once; queues keep every item. Meant for ThreadSanitizer as much as for itself.
#include "base/pool.h"

#include "tests/support/test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { N = 1000 };

static void mark(void *ctx, size_t begin, size_t end, size_t worker)
{
    uint8_t *seen = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        seen[i]++;
}

static void test_parallel_for(void **state)
{
    (void)state;
    for (size_t threads = 0; threads <= 5; threads++) {
        VcPool *pool = threads ? vc_pool_create(threads) : NULL;
        for (size_t chunk = 1; chunk < 300; chunk = chunk * 3 + 1) {
            uint8_t seen[N + 1] = {0};
            vc_parallel_for(pool, N, chunk, mark, seen);
            for (size_t i = 0; i < N; i++)
                assert_int_equal(seen[i], 1);
            assert_int_equal(seen[N], 0);
        }
        vc_parallel_for(pool, 0, 1, mark, NULL);
        vc_pool_destroy(&pool);
        assert_null(pool);
    }
}

typedef struct {
    size_t n;
    size_t sum_of_worker[4][8]; // one cache line each
} Loop;

static void add_up(void *ctx, size_t begin, size_t end, size_t worker)
{
    Loop *loop = ctx;
    for (size_t i = begin; i < end; i++)
        loop->sum_of_worker[worker][0] += i;
}

// A worker that comes late to a loop must neither be waited for, nor touch the next one with the arguments of the last.
static void test_many_short_loops(void **state)
{
    (void)state;
    VcPool *pool = vc_pool_create(4);
    for (size_t i = 0; i < 20000; i++) {
        Loop loop = {.n = i % 50};
        vc_parallel_for(pool, loop.n, 1 + i % 3, add_up, &loop);
        size_t sum = 0;
        for (size_t w = 0; w < 4; w++)
            sum += loop.sum_of_worker[w][0];
        assert_int_equal(sum, loop.n ? loop.n * (loop.n - 1) / 2 : 0);
    }
    vc_pool_destroy(&pool);
}

typedef struct {
    VcQueue *in;
    atomic_size_t sum, count;
} Sink;

static void *consume(void *arg)
{
    Sink *sink = arg;
    void *item;
    while (vc_queue_get(sink->in, &item)) {
        atomic_fetch_add(&sink->sum, *(size_t *)item);
        atomic_fetch_add(&sink->count, 1);
    }
    return NULL;
}

static void test_queue(void **state)
{
    (void)state;
    static size_t items[N];
    Sink sink = {.in = vc_queue_create(3)};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, consume, &sink), 0);
    for (size_t i = 0; i < N; i++) {
        items[i] = i;
        assert_true(vc_queue_put(sink.in, &items[i]));
    }
    vc_queue_close(sink.in);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&sink.count), N);
    assert_int_equal(atomic_load(&sink.sum), N * (N - 1) / 2);
    assert_false(vc_queue_put(sink.in, &items[0]));
    void *item;
    assert_false(vc_queue_try_get(sink.in, &item));
    vc_queue_destroy(&sink.in);
    assert_null(sink.in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parallel_for), cmocka_unit_test(test_many_short_loops),
                                       cmocka_unit_test(test_queue)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
