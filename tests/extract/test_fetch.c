// SPDX-License-Identifier: MIT
// The fetcher against servers that misbehave in every way we know: each URL ends within its deadline, with the right
// cause, in bounded memory.
#include "tests/extract/bad_cases.h"

#include "base/clock.h"
#include "base/pool.h"
#include "extract/fetch.h"
#include "tests/support/test.h"

#include <stdlib.h>

// A busy machine may be late; a server must not.
static const double lateness = 6;
enum { MAX_BYTES = 1 << 20, MAX_MEMORY = 8 << 20 };

typedef struct {
    size_t index;
    double begun, ended;
    ExtractCause cause;
    size_t n;
    unsigned attempts;
    char words[200];
} Outcome;

static void on_done(void *ctx, void *ticket, ExtractFetched *fetched)
{
    Outcome *o = ticket;
    o->cause = fetched->cause;
    o->n = fetched->n;
    o->attempts = fetched->attempts;
    o->ended = vc_now();
    snprintf(o->words, sizeof o->words, "%s", fetched->err.text);
    free(fetched->bytes);
    if (!vc_queue_put(ctx, o))
        abort();
}

static ExtractFetchOptions strict(void)
{
    return bad_options(MAX_BYTES, MAX_MEMORY);
}

static bool expected(const BadCase *c, ExtractCause cause)
{
    const char *name = cause == EXTRACT_OK ? "ok" : extract_cause_name(cause);
    const char *at = strstr(c->causes, name);
    const size_t n = strlen(name);
    return at && (at == c->causes || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ');
}

// All at once, each from its own server.
static void fetch_all(const ExtractFetchOptions *options, BadServers *servers, Outcome *outcomes)
{
    VcQueue *done = vc_queue_create(CASES);
    ExtractFetcher *f = NULL;
    assert_ok(extract_fetcher_start(&f, options, on_done, done, err));
    for (size_t i = 0; i < CASES; i++) {
        VcStr url = {0};
        vc_str_putf(&url, "%s://127.0.0.1:%d/a", cases[i].scheme ? cases[i].scheme : "http",
                    bad_servers_port(servers, i));
        outcomes[i] = (Outcome){.index = i, .begun = vc_now()};
        extract_fetcher_add(f, url.data, &outcomes[i]);
        vc_str_finish(&url);
    }
    for (size_t i = 0; i < CASES; i++) {
        void *item;
        assert_true(vc_queue_get_within(done, &item, 120));
        Outcome *o = item;
        if (o->cause == EXTRACT_OK)
            extract_fetcher_release(f, o->n);
    }
    extract_fetcher_stop(&f);
    vc_queue_destroy(&done);
}

static void test_every_server(void **state)
{
    (void)state;
    const uint64_t before = vc_peak_rss();
    BadServers *servers = bad_servers_start(cases, CASES, false);
    Outcome outcomes[CASES];
    const ExtractFetchOptions options = strict();
    fetch_all(&options, servers, outcomes);
    unsigned wrong = 0;
    for (size_t i = 0; i < CASES; i++) {
        const BadCase *c = &cases[i];
        const Outcome *o = &outcomes[i];
        const unsigned requests = bad_servers_requests(servers, i);
        const double seconds = o->ended - o->begun;
        const char *name = o->cause == EXTRACT_OK ? "ok" : extract_cause_name(o->cause);
        const bool right = expected(c, o->cause) && (c->requests == 0 || c->requests == requests) &&
                           (c->bytes == 0 || c->bytes == o->n) && seconds < 2 * timeout + lateness;
        if (getenv("VICHA_VERBOSE"))
            print_message("# %-40s %-12s %.2f s, %u attempts: %s\n", c->name, name, seconds, o->attempts, o->words);
        if (!right) {
            print_message("# '%s': %s (%s), %zu bytes, %u requests, %.1f s; expected %s, %u requests\n", c->name, name,
                          o->words, o->n, requests, seconds, c->causes, c->requests);
        }
        wrong += !right;
    }
    assert_false(bad_servers_saw(servers, "Cookie"));
    assert_false(bad_servers_saw(servers, "Authorization"));
    bad_servers_stop(&servers);
    assert_int_equal(wrong, 0);
    assert_true(CASES >= 60);
    // The servers are in here too: their bomb takes most of it.
    assert_true(vc_peak_rss() - before < 200u << 20);
}

// The same when not even robots.txt is answered: as fast, and nothing that was bad becomes good.
static void test_every_server_from_robots_on(void **state)
{
    (void)state;
    BadServers *servers = bad_servers_start(cases, CASES, true);
    Outcome outcomes[CASES];
    const ExtractFetchOptions options = strict();
    fetch_all(&options, servers, outcomes);
    unsigned wrong = 0;
    for (size_t i = 0; i < CASES; i++) {
        const bool good = strstr(cases[i].causes, "ok") != NULL, was_good = outcomes[i].cause == EXTRACT_OK;
        const bool right = outcomes[i].ended - outcomes[i].begun < 2 * timeout + lateness && (good || !was_good);
        if (!right) {
            print_message("# '%s': %s after %.1f s\n", cases[i].name, extract_cause_name(outcomes[i].cause),
                          outcomes[i].ended - outcomes[i].begun);
        }
        wrong += !right;
    }
    bad_servers_stop(&servers);
    assert_int_equal(wrong, 0);
}

// --- single URLs

static ExtractCause fetch_one(const ExtractFetchOptions *options, const char *url, Outcome *o)
{
    VcQueue *done = vc_queue_create(1);
    ExtractFetcher *f = NULL;
    assert_ok(extract_fetcher_start(&f, options, on_done, done, err));
    *o = (Outcome){.begun = vc_now()};
    extract_fetcher_add(f, url, o);
    void *item;
    assert_true(vc_queue_get_within(done, &item, 120));
    extract_fetcher_stop(&f);
    vc_queue_destroy(&done);
    return o->cause;
}

static void test_private_addresses(void **state)
{
    (void)state;
    static const BadCase good[] = {{.name = "never asked", .answer = GOOD}};
    BadServers *servers = bad_servers_start(good, 1, true);
    ExtractFetchOptions options = strict();
    options.allow_private = false;
    Outcome o;
    static const char *const hosts[] = {"127.0.0.1",          "localhost", "127.1",       "0x7f.1",
                                        "2130706433",         "[::1]",     "a.localhost", "localhost.",
                                        "[::ffff:127.0.0.1]", "0"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        VcStr url = {0};
        vc_str_putf(&url, "http://%s:%d/a", hosts[i], bad_servers_port(servers, 0));
        if (fetch_one(&options, url.data, &o) != EXTRACT_PRIVATE)
            fail_msg("'%s' ended with %s: %s", url.data, extract_cause_name(o.cause), o.words);
        vc_str_finish(&url);
    }
    static const char *const metadata[] = {"http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/a",
                                           "http://192.168.1.1/a", "http://[fd00::1]/a", "http://[fe80::1]/a"};
    for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++)
        assert_int_equal(fetch_one(&options, metadata[i], &o), EXTRACT_PRIVATE);
    assert_int_equal(bad_servers_requests(servers, 0), 0);
    assert_false(bad_servers_saw(servers, "robots.txt"));
    bad_servers_stop(&servers);
}

// A name that stands for this machine only shows on the socket what it is.
static void test_private_name(void **state)
{
    (void)state;
    char name[256];
    if (gethostname(name, sizeof name) != 0 || !*name)
        skip();
    ExtractFetchOptions options = strict();
    Outcome o;
    VcStr url = {0};
    vc_str_putf(&url, "http://%s:1/a", name);
    options.allow_private = true;
    if (fetch_one(&options, url.data, &o) != EXTRACT_CONNECT) { // it has no address here
        vc_str_finish(&url);
        skip();
    }
    options.allow_private = false;
    const ExtractCause cause = fetch_one(&options, url.data, &o);
    vc_str_finish(&url);
    assert_true(cause == EXTRACT_PRIVATE || cause == EXTRACT_CONNECT); // the latter: its address is a public one
}

// The proxy plays the open internet: it answers for names that only it knows, and sends us inside.
static void test_redirect_inside(void **state)
{
    (void)state;
    static const BadCase inside[] = {
        {.name = "metadata", .answer = MOVED("http://169.254.169.254/latest/")},
        {.name = "loopback", .answer = MOVED("http://@/a")},
        {.name = "mapped", .answer = MOVED("http://[::ffff:10.1.2.3]/a")},
        {.name = "good", .answer = GOOD},
    };
    BadServers *servers = bad_servers_start(inside, 4, false);
    ExtractFetchOptions options = strict();
    options.allow_private = false;
    for (size_t i = 0; i < 4; i++) {
        VcStr proxy = {0};
        Outcome o;
        vc_str_putf(&proxy, "http://127.0.0.1:%d", bad_servers_port(servers, i));
        setenv("http_proxy", proxy.data, 1);
        const ExtractCause cause = fetch_one(&options, "http://images.example/a", &o);
        unsetenv("http_proxy");
        vc_str_finish(&proxy);
        if (cause != (i < 3 ? EXTRACT_PRIVATE : EXTRACT_OK))
            fail_msg("'%s' ended with %s: %s", inside[i].name, extract_cause_name(cause), o.words);
    }
    assert_true(bad_servers_saw(servers, "GET http://images.example/a HTTP/1.1"));
    bad_servers_stop(&servers);
}

static void test_bad_urls(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://",      "http://a b/",   "http://x:99999/",     "http://u:p@host/x",
                                       "ftp://host/x", "file:///etc/x", "javascript:alert(1)", "http://[::1/x"};
    const ExtractFetchOptions options = strict();
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        Outcome o;
        if (fetch_one(&options, urls[i], &o) != EXTRACT_BAD_URL)
            fail_msg("'%s' ended with %s: %s", urls[i], extract_cause_name(o.cause), o.words);
    }
}

static void test_closed_port_and_no_name(void **state)
{
    (void)state;
    const ExtractFetchOptions options = strict();
    Outcome o;
    assert_int_equal(fetch_one(&options, "http://127.0.0.1:1/a", &o), EXTRACT_CONNECT);
    assert_int_equal(o.attempts, 0); // robots.txt was tried in its place
    assert_int_equal(fetch_one(&options, "http://no-such-host.invalid/a", &o), EXTRACT_DNS);
    assert_true(o.ended - o.begun < 4 * timeout + lateness);
}

// Servers that say nothing wait for their deadline beside the others, not in front of them.
static void test_dead_hosts_hold_nobody_up(void **state)
{
    (void)state;
    enum { SILENT = 40, GOOD_URLS = 200, ALL = SILENT + GOOD_URLS };
    BadCase dead[SILENT + 1];
    for (size_t i = 0; i < SILENT; i++)
        dead[i] = (BadCase){.name = "silent", .then = THEN_SILENT};
    dead[SILENT] = (BadCase){.name = "good", .answer = GOOD};
    BadServers *servers = bad_servers_start(dead, SILENT + 1, false);
    ExtractFetchOptions options = strict();
    options.ignore_robots = true;
    options.timeout = 30;
    options.header_timeout = 20;
    VcQueue *done = vc_queue_create(ALL);
    ExtractFetcher *f = NULL;
    assert_ok(extract_fetcher_start(&f, &options, on_done, done, err));
    Outcome outcomes[ALL];
    for (size_t i = 0; i < ALL; i++) {
        VcStr url = {0};
        vc_str_putf(&url, "http://127.0.0.1:%d/%zu", bad_servers_port(servers, i < SILENT ? i : SILENT), i);
        outcomes[i] = (Outcome){.index = i, .begun = vc_now()};
        extract_fetcher_add(f, url.data, &outcomes[i]);
        vc_str_finish(&url);
    }
    for (size_t good = 0; good < GOOD_URLS; good++) { // the first to come back are the good ones
        void *item;
        assert_true(vc_queue_get_within(done, &item, 15));
        const Outcome *o = item;
        assert_true(o->index >= SILENT);
        assert_int_equal(o->cause, EXTRACT_OK);
        extract_fetcher_release(f, o->n);
    }
    extract_fetcher_stop(&f);
    vc_queue_destroy(&done);
    bad_servers_stop(&servers);
}

static void test_who_we_are(void **state)
{
    (void)state;
    static const BadCase good[] = {{.name = "good", .answer = GOOD}};
    BadServers *servers = bad_servers_start(good, 1, false);
    ExtractFetchOptions options = strict();
    options.contact = "owner@example.org";
    Outcome o;
    VcStr url = {0};
    vc_str_putf(&url, "http://127.0.0.1:%d/a", bad_servers_port(servers, 0));
    assert_int_equal(fetch_one(&options, url.data, &o), EXTRACT_OK);
    vc_str_finish(&url);
    assert_true(bad_servers_saw(servers, "User-Agent: vicha/"));
    assert_true(bad_servers_saw(servers, " (+owner@example.org)\r\n"));
    assert_true(bad_servers_saw(servers, "From: owner@example.org\r\n"));
    bad_servers_stop(&servers);
}

int main(void)
{
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("https_proxy");
    unsetenv("HTTPS_PROXY");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_server),
        cmocka_unit_test(test_every_server_from_robots_on),
        cmocka_unit_test(test_private_addresses),
        cmocka_unit_test(test_private_name),
        cmocka_unit_test(test_redirect_inside),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_closed_port_and_no_name),
        cmocka_unit_test(test_dead_hosts_hold_nobody_up),
        cmocka_unit_test(test_who_we_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
