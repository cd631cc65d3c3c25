// SPDX-License-Identifier: MIT
// All servers that misbehave at once, with the limits that `vicha extract` has: the fetcher stays within 100 MiB. The
// servers run in a process of their own, so that what they need is not counted.
#include "tests/extract/bad_cases.h"

#include "base/clock.h"
#include "base/pool.h"
#include "extract/fetch.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <sys/wait.h>

enum { PEAK_MIB = 100, MAX_BYTES = 32 << 20, MAX_MEMORY = 32 << 20 };
static const double lateness = 10; // seconds

// --- the other process: a port a line, then until standard input ends

static int serve(void)
{
    BadServers *servers = bad_servers_start(cases, CASES, false);
    for (size_t i = 0; i < CASES; i++)
        printf("%d\n", bad_servers_port(servers, i));
    fflush(stdout);
    char rest[64];
    while (read(STDIN_FILENO, rest, sizeof rest) > 0)
        ;
    _exit(0);
}

typedef struct {
    pid_t pid;
    int hold;
    int ports[CASES];
} Child;

static void start_child(Child *c)
{
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        const int all[] = {in[0], in[1], out[0], out[1]};
        for (size_t i = 0; i < 4; i++)
            close(all[i]);
        execl("/proc/self/exe", "test_fetch_memory", "--serve", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    c->hold = in[1];
    FILE *ports = fdopen(out[0], "r");
    char line[32];
    for (size_t i = 0; i < CASES; i++) {
        assert_non_null(fgets(line, sizeof line, ports));
        c->ports[i] = (int)strtol(line, NULL, 10);
    }
    fclose(ports);
}

static void on_done(void *ctx, void *ticket, ExtractFetched *fetched)
{
    (void)ticket;
    ExtractFetched *copy = vc_calloc(1, sizeof *copy);
    *copy = *fetched;
    if (!vc_queue_put(ctx, copy))
        abort();
}

// Every server `times` times at once; returns how many URLs came back as images.
static size_t fetch_all(const Child *child, size_t times, double *seconds)
{
    const ExtractFetchOptions o = bad_options(MAX_BYTES, MAX_MEMORY);
    VcQueue *done = vc_queue_create(times * CASES);
    ExtractFetcher *f = NULL;
    assert_ok(extract_fetcher_start(&f, &o, on_done, done, err));
    const double begun = vc_now();
    for (size_t i = 0; i < times * CASES; i++) {
        const BadCase *c = &cases[i % CASES];
        VcStr url = {0};
        vc_str_putf(&url, "%s://127.0.0.1:%d/a%zu", c->scheme ? c->scheme : "http", child->ports[i % CASES], i / CASES);
        extract_fetcher_add(f, url.data, NULL);
        vc_str_finish(&url);
    }
    size_t good = 0;
    for (size_t i = 0; i < times * CASES; i++) {
        void *item;
        assert_true(vc_queue_get_within(done, &item, 120));
        ExtractFetched *got = item;
        good += got->cause == EXTRACT_OK;
        free(got->bytes);
        if (got->cause == EXTRACT_OK)
            extract_fetcher_release(f, got->n);
        free(got);
    }
    *seconds = vc_now() - begun;
    extract_fetcher_stop(&f);
    vc_queue_destroy(&done);
    return good;
}

static void test_memory(void **state)
{
    (void)state;
    Child child;
    double seconds;
    start_child(&child);
    size_t wanted = 0;
    for (size_t i = 0; i < CASES; i++)
        wanted += strcmp(cases[i].causes, "ok") == 0;
    const size_t good = fetch_all(&child, 1, &seconds);
    close(child.hold);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    print_message("# %d servers at once: %.1f s, peak memory %.1f MiB\n", CASES, seconds,
                  (double)vc_peak_rss() / (1 << 20));
    assert_true(good >= wanted); // at least the first of each good one
    assert_true(seconds < 2 * timeout + 2 * lateness);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(vc_peak_rss() < (uint64_t)PEAK_MIB << 20);
#endif
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--serve") == 0)
        return serve();
    const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        unsetenv(proxies[i]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
