// SPDX-License-Identifier: MIT
// What every unit test includes: cmocka, and a few helpers of ours.
#pragma once

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

// cmocka.h needs these four first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEST_SKIPPED = 77 };

// The text of an error must name what went wrong: a test for a failure checks its words.
#define assert_error(call, words)                                                \
    do {                                                                         \
        VcErr e_ = {0};                                                          \
        VcErr *err = &e_;                                                        \
        if (call)                                                                \
            fail_msg("%s succeeded; expected an error with '%s'", #call, words); \
        if (!strstr(e_.text, words))                                             \
            fail_msg("error text '%s' lacks '%s'", e_.text, words);              \
        (void)err;                                                               \
    } while (0)

// A call that must succeed; prints the error's text when it does not. The call names its error argument `err`.
#define assert_ok(call)                                \
    do {                                               \
        VcErr e_ = {0};                                \
        VcErr *err = &e_;                              \
        if (!(call))                                   \
            fail_msg("%s failed: %s", #call, e_.text); \
        (void)err;                                     \
    } while (0)

#define assert_close(a, b, tolerance)                                                  \
    do {                                                                               \
        double a_ = (a), b_ = (b), t_ = (tolerance);                                   \
        if (!(fabs(a_ - b_) <= t_))                                                    \
            fail_msg("%s = %.9g, expected %s = %.9g within %.3g", #a, a_, #b, b_, t_); \
    } while (0)

// A fresh folder below $TMPDIR, removed by test_temp_remove. The path is owned by the caller (free).
static inline char *test_temp_folder(void)
{
    const char *base = getenv("TMPDIR");
    VcStr path = {0};
    vc_str_putf(&path, "%s/vicha-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path.data))
        fail_msg("cannot make a temporary folder from '%s'", path.data);
    return path.data;
}

static inline void test_temp_remove(char **folder)
{
    VcStr command = {0};
    vc_str_putf(&command, "rm -rf '%s'", *folder);
    if (system(command.data) != 0)
        fail_msg("cannot remove '%s'", *folder);
    vc_str_finish(&command);
    free(*folder);
    *folder = NULL;
}

// $VICHA_SHARED/NAME when it exists, else NULL after a message; the caller owns the path. A program whose every test
// needs it returns TEST_SKIPPED from main.
static inline char *test_shared(const char *name)
{
    const char *shared = getenv("VICHA_SHARED");
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s", shared ? shared : "", name);
    if (shared && access(path.data, R_OK) == 0)
        return path.data;
    fprintf(stderr, "SKIP: reference data '%s' is not here (VICHA_SHARED names its folder)\n", name);
    vc_str_finish(&path);
    return NULL;
}
