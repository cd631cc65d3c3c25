// SPDX-License-Identifier: MIT
// Arenas and overflow-checked sizes.
#include "base/mem.h"

#include "tests/support/test.h"

static void test_sizes(void **state)
{
    (void)state;
    size_t out;
    assert_true(vc_mul_size(1 << 20, 1 << 20, &out) && out == (size_t)1 << 40);
    assert_false(vc_mul_size(SIZE_MAX, 2, &out));
    assert_false(vc_add_size(SIZE_MAX, 1, &out));
}

static void test_marks(void **state)
{
    (void)state;
    VcArena *arena = vc_arena_create("test");
    uint8_t *first = vc_arena_alloc(arena, 100, 1);
    memset(first, 0xAB, 100);
    VcArenaMark mark = vc_arena_mark(arena);
    uint8_t *a = vc_arena_alloc(arena, 10, 8);
    assert_int_equal((uintptr_t)a % 64, 0);
    for (int i = 0; i < 50; i++) // far past the first chunk
        memset(vc_arena_alloc(arena, 100000, 1), 0xCD, 100000);
    size_t peak = vc_arena_peak(arena);
    assert_true(peak >= 5000000);
    vc_arena_release(arena, mark);
    assert_ptr_equal(vc_arena_alloc(arena, 10, 8), a);
    for (int i = 0; i < 50; i++) // the chunks are used again: the peak does not grow
        memset(vc_arena_alloc(arena, 100000, 1), 0xEF, 100000);
    assert_int_equal(vc_arena_peak(arena), peak);
    for (int i = 0; i < 100; i++)
        assert_int_equal(first[i], 0xAB);
    const uint8_t *zero = vc_arena_zalloc(arena, 1000, 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zero[i], 0);
    vc_arena_reset(arena);
    assert_ptr_equal(vc_arena_alloc(arena, 1, 1), first);
    vc_arena_destroy(&arena);
    assert_null(arena);
    vc_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_marks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
