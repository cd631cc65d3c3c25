// SPDX-License-Identifier: MIT
// The fetcher against servers that misbehave in every way we know: each URL ends within its deadline, with the right
// cause, in bounded memory.
#include "tests/extract/bad_server.h"

#include "base/clock.h"
#include "base/pool.h"
#include "extract/fetch.h"
#include "tests/support/test.h"

#include <stdlib.h>

#define OK_HEAD   "HTTP/1.1 200 OK\r\n"
#define GOOD      OK_HEAD "Content-Length: 5\r\n\r\nhello"
#define MOVED(to) "HTTP/1.1 302 Found\r\nLocation: " to "\r\nContent-Length: 0\r\n\r\n"
#define NUL_LINE  OK_HEAD "X-Zero: a\0b\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED   OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"
#define TLS_ALERT "\x15\x03\x01\x00\x02\x02\x28"

static const BadCase cases[] = {
    // that are right, or near enough
    {.name = "plain", .answer = GOOD, .causes = "ok", .requests = 1, .bytes = 5},
    {.name = "no length, closed", .answer = OK_HEAD "\r\nhello", .then = THEN_CLOSE, .causes = "ok", .bytes = 5},
    {.name = "HTTP/1.0", .answer = "HTTP/1.0 200 OK\r\n\r\nhello", .then = THEN_CLOSE, .causes = "ok", .bytes = 5},
    {.name = "chunked", .answer = CHUNKED "5\r\nhello\r\n0\r\n\r\n", .causes = "ok", .bytes = 5},
    {.name = "chunked, extensions and a trailer",
     .answer = CHUNKED "5;a=b\r\nhello\r\n0\r\nX-After: 1\r\n\r\n",
     .causes = "ok",
     .bytes = 5},
    {.name = "a few 1xx", .answer = "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" GOOD, .causes = "ok", .bytes = 5},
    {.name = "gzip, not asked for", .encoding = "gzip", .causes = "ok", .bytes = 1000},
    {.name = "folded header", .answer = OK_HEAD "X-Fold: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", .causes = "ok"},
    {.name = "more than Content-Length", .answer = GOOD " and more", .then = THEN_CLOSE, .causes = "ok", .bytes = 5},
    {.name = "no body at all", .answer = "HTTP/1.1 204 No Content\r\n\r\n", .causes = "ok"},
    {.name = "redirect to a good one",
     .answer = MOVED("/b"),
     .second = GOOD,
     .causes = "ok",
     .requests = 2,
     .bytes = 5},
    {.name = "500, then good",
     .answer = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
     .second = GOOD,
     .causes = "ok",
     .requests = 2},
    {.name = "429 with Retry-After: 0, then good",
     .answer = "HTTP/1.1 429 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
     .second = GOOD,
     .causes = "ok",
     .requests = 2},
    {.name = "reset once", .answer = OK_HEAD, .then = THEN_RESET, .second = GOOD, .causes = "ok", .requests = 2},
    {.name = "cookie",
     .answer = "HTTP/1.1 302 Found\r\nSet-Cookie: secret=1\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
     .second = GOOD,
     .causes = "ok"},
    // redirects
    {.name = "redirect to itself", .answer = MOVED("http://@/a"), .causes = "redirect", .requests = 6},
    {.name = "redirect growing", .answer = MOVED("x/a"), .causes = "redirect", .requests = 6},
    {.name = "redirect to file:", .answer = MOVED("file:///etc/passwd"), .causes = "redirect", .requests = 1},
    {.name = "redirect to ftp:", .answer = MOVED("ftp://@/a"), .causes = "redirect", .requests = 1},
    {.name = "redirect to gopher:", .answer = MOVED("gopher://@/_GET"), .causes = "redirect", .requests = 1},
    {.name = "redirect to data:", .answer = MOVED("data:image/png;base64,AAAA"), .causes = "redirect", .requests = 1},
    {.name = "redirect with a password", .answer = MOVED("http://u:p@127.0.0.1/"), .causes = "redirect", .requests = 1},
    {.name = "redirect to no URL", .answer = MOVED("http://"), .causes = "redirect"},
    {.name = "redirect without a place",
     .answer = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
     .causes = "redirect"},
    {.name = "not modified", .answer = "HTTP/1.1 304 Not Modified\r\n\r\n", .causes = "redirect"},
    // refusals
    {.name = "404", .answer = "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", .causes = "not_found", .requests = 1},
    {.name = "410", .answer = "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", .causes = "not_found", .requests = 1},
    {.name = "404, endless",
     .answer = "HTTP/1.1 404 No\r\n\r\n",
     .then = THEN_FOREVER,
     .piece = "no ",
     .causes = "not_found",
     .requests = 1},
    {.name = "404, silent",
     .answer = "HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\n",
     .then = THEN_SILENT,
     .causes = "not_found",
     .requests = 1},
    {.name = "401",
     .answer = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
     .causes = "forbidden",
     .requests = 1},
    {.name = "407",
     .answer = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
     .causes = "forbidden",
     .requests = 1},
    {.name = "451", .answer = "HTTP/1.1 451 No\r\nContent-Length: 0\r\n\r\n", .causes = "forbidden", .requests = 1},
    {.name = "500 always",
     .answer = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
     .causes = "server_error",
     .requests = 2},
    {.name = "503 for an hour",
     .answer = "HTTP/1.1 503 No\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n",
     .causes = "server_error",
     .requests = 1},
    {.name = "X-Robots-Tag",
     .answer = OK_HEAD "X-Robots-Tag: noindex, noai\r\nContent-Length: 5\r\n\r\nhello",
     .causes = "opted_out",
     .requests = 1},
    {.name = "robots.txt says no",
     .answer = GOOD,
     .causes = "robots",
     .robots = "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nUser-agent: vicha\r\nDisallow: /\r\n\r\n\r\n\r\n\r\n"},
    {.name = "robots.txt out of order",
     .answer = GOOD,
     .causes = "server_error",
     .robots = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"},
    // lengths
    {.name = "less than Content-Length",
     .answer = OK_HEAD "Content-Length: 50\r\n\r\nhello",
     .then = THEN_CLOSE,
     .causes = "broken_off"},
    {.name = "Content-Length: -5",
     .answer = OK_HEAD "Content-Length: -5\r\n\r\nhello",
     .then = THEN_CLOSE,
     .causes = "protocol"},
    {.name = "Content-Length: x",
     .answer = OK_HEAD "Content-Length: x\r\n\r\nhello",
     .then = THEN_CLOSE,
     .causes = "protocol"},
    {.name = "Content-Length: 2^70",
     .answer = OK_HEAD "Content-Length: 1180591620717411303424\r\n\r\nhello",
     .then = THEN_CLOSE,
     .causes = "too_large"},
    {.name = "Content-Length over the limit",
     .answer = OK_HEAD "Content-Length: 99999999\r\n\r\n",
     .then = THEN_FOREVER,
     .piece = "a",
     .causes = "too_large"},
    {.name = "a part nobody asked for",
     .answer = "HTTP/1.1 206 Part\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello",
     .causes = "protocol"},
    // chunks
    {.name = "chunk size zz", .answer = CHUNKED "zz\r\nhello\r\n", .then = THEN_CLOSE, .causes = "protocol"},
    {.name = "chunk size 2^70",
     .answer = CHUNKED "FFFFFFFFFFFFFFFFFF\r\nhello",
     .then = THEN_CLOSE,
     .causes = "protocol"},
    {.name = "chunk without an end", .answer = CHUNKED "5\r\nhelloXX", .then = THEN_CLOSE, .causes = "protocol"},
    {.name = "chunks broken off", .answer = CHUNKED "5\r\nhello\r\n", .then = THEN_CLOSE, .causes = "broken_off"},
    {.name = "endless chunks",
     .answer = CHUNKED,
     .then = THEN_FOREVER,
     .piece = "10\r\n0123456789abcdef\r\n",
     .causes = "too_large"},
    {.name = "endless chunk extension",
     .answer = CHUNKED "5;",
     .then = THEN_FOREVER,
     .piece = "a",
     .causes = "timeout protocol"},
    {.name = "endless trailer",
     .answer = CHUNKED "5\r\nhello\r\n0\r\n",
     .then = THEN_FOREVER,
     .piece = "X-More: and more\r\n",
     .causes = "protocol"},
    {.name = "gzip as a transfer coding of zeros",
     .answer = OK_HEAD "Transfer-Encoding: gzip\r\n\r\n",
     .then = THEN_FOREVER,
     .piece = "0",
     .causes = "protocol"},
    // bodies
    {.name = "endless body",
     .answer = OK_HEAD "\r\n",
     .then = THEN_FOREVER,
     .piece = "\xFF\xD8 more ",
     .causes = "too_large"},
    {.name = "gzip bomb", .encoding = "bomb", .causes = "too_large"},
    {.name = "gzip in gzip", .encoding = "gzip, gzip", .causes = "protocol"},
    {.name = "gzip that is none",
     .answer = OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
     .causes = "protocol"},
    {.name = "an encoding nobody knows",
     .answer = OK_HEAD "Content-Encoding: zap\r\nContent-Length: 5\r\n\r\nhello",
     .causes = "protocol"},
    {.name = "silent after the headers",
     .answer = OK_HEAD "Content-Length: 50\r\n\r\n",
     .then = THEN_SILENT,
     .causes = "timeout"},
    {.name = "slow trickle",
     .answer = OK_HEAD "Content-Length: 50000\r\n\r\n",
     .then = THEN_TRICKLE,
     .piece = "a",
     .ms = 50,
     .causes = "timeout"},
    {.name = "trickle over the low-speed limit",
     .answer = OK_HEAD "\r\n",
     .then = THEN_TRICKLE,
     .piece = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
     .ms = 10,
     .causes = "timeout"},
    // resets and ends, stage by stage
    {.name = "reset at once", .at_once = true, .then = THEN_RESET, .causes = "broken_off connect"},
    {.name = "closed at once", .at_once = true, .then = THEN_CLOSE, .causes = "broken_off"},
    {.name = "silent", .then = THEN_SILENT, .causes = "timeout"},
    {.name = "reset after the request", .then = THEN_RESET, .causes = "broken_off"},
    {.name = "closed after the request", .then = THEN_CLOSE, .causes = "broken_off"},
    {.name = "reset in the status line", .answer = "HTTP/1.1 20", .then = THEN_RESET, .causes = "broken_off"},
    {.name = "closed in the status line", .answer = "HTTP/1.1 20", .then = THEN_CLOSE, .causes = "broken_off protocol"},
    {.name = "silent after the status line", .answer = OK_HEAD, .then = THEN_SILENT, .causes = "timeout"},
    {.name = "reset in the headers", .answer = OK_HEAD "Content-Le", .then = THEN_RESET, .causes = "broken_off"},
    {.name = "closed in the headers",
     .answer = OK_HEAD "Content-Le",
     .then = THEN_CLOSE,
     .causes = "broken_off protocol"},
    {.name = "reset after the headers",
     .answer = OK_HEAD "Content-Length: 50\r\n\r\n",
     .then = THEN_RESET,
     .causes = "broken_off"},
    {.name = "reset in the body",
     .answer = OK_HEAD "Content-Length: 50\r\n\r\nhello",
     .then = THEN_RESET,
     .causes = "broken_off"},
    {.name = "reset in an unmeasured body", .answer = OK_HEAD "\r\nhello", .then = THEN_RESET, .causes = "broken_off"},
    // headers
    {.name = "HTTP/0.9", .answer = "hello, I am a picture\n", .then = THEN_CLOSE, .causes = "protocol"},
    {.name = "another protocol, at once",
     .at_once = true,
     .answer = "220 mail.example ESMTP\r\n",
     .then = THEN_SILENT,
     .causes = "protocol"},
    {.name = "endless greeting",
     .at_once = true,
     .then = THEN_FOREVER,
     .piece = "SSH-2.0-OpenSSH_9\n",
     .causes = "protocol"},
    {.name = "HTTP/9.9", .answer = "HTTP/9.9 200 OK\r\n\r\n", .then = THEN_CLOSE, .causes = "protocol"},
    {.name = "status 099",
     .answer = "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
     .then = THEN_CLOSE,
     .causes = "protocol"},
    {.name = "status abc",
     .answer = "HTTP/1.1 abc What\r\nContent-Length: 0\r\n\r\n",
     .then = THEN_CLOSE,
     .causes = "protocol"},
    {.name = "101 without being asked",
     .answer = "HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n",
     .then = THEN_SILENT,
     .causes = "protocol timeout"},
    {.name = "1xx without an end",
     .then = THEN_FOREVER,
     .piece = "HTTP/1.1 100 Continue\r\n\r\n",
     .causes = "protocol"},
    {.name = "1xx at leisure",
     .then = THEN_TRICKLE,
     .piece = "HTTP/1.1 102 Wait\r\n\r\n",
     .ms = 500,
     .causes = "timeout"},
    {.name = "endless headers",
     .answer = OK_HEAD,
     .then = THEN_FOREVER,
     .piece = "X-More: and more\r\n",
     .causes = "protocol"},
    {.name = "endless header line",
     .answer = OK_HEAD "X-Long: ",
     .then = THEN_FOREVER,
     .piece = "a",
     .causes = "protocol"},
    {.name = "endless status line",
     .answer = "HTTP/1.1 200 ",
     .then = THEN_FOREVER,
     .piece = "O",
     .causes = "protocol"},
    {.name = "endless header without a colon",
     .answer = OK_HEAD,
     .then = THEN_FOREVER,
     .piece = "a\r\n",
     .causes = "protocol"},
    {.name = "endless line of nothing",
     .answer = OK_HEAD "X:",
     .then = THEN_FOREVER,
     .piece = " ",
     .causes = "protocol"},
    {.name = "slow headers",
     .answer = OK_HEAD,
     .then = THEN_TRICKLE,
     .piece = "X-Slow: 1\r\n",
     .ms = 60,
     .causes = "timeout"},
    {.name = "a header byte at a time",
     .answer = OK_HEAD "X-Slow: ",
     .then = THEN_TRICKLE,
     .piece = "a",
     .ms = 20,
     .causes = "timeout"},
    {.name = "a zero in a header",
     .answer = NUL_LINE,
     .answer_bytes = sizeof NUL_LINE - 1,
     .then = THEN_CLOSE,
     .causes = "protocol"},
    // TLS
    {.name = "TLS garbage",
     .scheme = "https",
     .at_once = true,
     .then = THEN_FOREVER,
     .piece = "garbage ",
     .causes = "tls"},
    {.name = "plain HTTP for https",
     .scheme = "https",
     .at_once = true,
     .answer = GOOD,
     .then = THEN_CLOSE,
     .causes = "tls broken_off"},
    {.name = "TLS alert",
     .scheme = "https",
     .at_once = true,
     .answer = TLS_ALERT,
     .answer_bytes = sizeof TLS_ALERT - 1,
     .then = THEN_CLOSE,
     .causes = "tls"},
    {.name = "TLS silence", .scheme = "https", .at_once = true, .then = THEN_SILENT, .causes = "timeout"},
    {.name = "TLS broken off", .scheme = "https", .at_once = true, .then = THEN_CLOSE, .causes = "tls"},
    {.name = "TLS reset", .scheme = "https", .at_once = true, .then = THEN_RESET, .causes = "tls broken_off connect"},
};
enum { CASES = sizeof cases / sizeof *cases };

static const double timeout = 6, header_timeout = 3; // seconds
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
    ExtractFetchOptions o;
    extract_fetch_options_init(&o);
    o.timeout = timeout;
    o.header_timeout = header_timeout;
    o.retries = 1;
    o.max_bytes = MAX_BYTES;
    o.max_memory = MAX_MEMORY;
    o.allow_private = true;
    return o;
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
        cmocka_unit_test(test_who_we_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
