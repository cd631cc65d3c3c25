// SPDX-License-Identifier: MIT
// The parts of the network that need none: addresses, proxies, robots.txt, headers, the pace, the cache of names.
#include "base/clock.h"
#include "extract/address.h"
#include "extract/dns.h"
#include "extract/headers.h"
#include "extract/pace.h"
#include "extract/robots.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>

// --- addresses

static bool private_text(const char *text)
{
    uint8_t ip[16];
    const int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    assert_int_equal(inet_pton(family, text, ip), 1);
    return extract_ip_private(family, ip);
}

static void test_private(void **state)
{
    (void)state;
    static const char *const private[] = {"0.0.0.0",
                                          "10.0.0.0",
                                          "10.255.255.255",
                                          "100.64.0.0",
                                          "100.127.255.255",
                                          "127.0.0.1",
                                          "127.255.0.9",
                                          "169.254.0.1",
                                          "169.254.169.254",
                                          "172.16.0.0",
                                          "172.31.255.255",
                                          "192.0.0.1",
                                          "192.0.2.9",
                                          "192.168.0.1",
                                          "198.18.0.1",
                                          "198.19.9.9",
                                          "198.51.100.1",
                                          "203.0.113.255",
                                          "224.0.0.1",
                                          "239.1.1.1",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::127.0.0.1",
                                          "::8.8.8.8",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::a00:1",
                                          "2002:a00:1::",
                                          "2002:7f00:1::1",
                                          "fc00::1",
                                          "fdff::1",
                                          "fe80::1",
                                          "febf::1",
                                          "fec0::1",
                                          "ff02::1",
                                          "2001:db8::1",
                                          "2001::1",
                                          "2001:10::1",
                                          "2001:2::1",
                                          "3fff::1",
                                          "100::1",
                                          "5f00::1"};
    static const char *const open[] = {
        "1.1.1.1",         "9.255.255.255",   "11.0.0.0",         "100.63.255.255",  "100.128.0.0",
        "126.255.255.255", "128.0.0.1",       "169.253.9.9",      "169.255.0.0",     "172.15.255.255",
        "172.32.0.0",      "192.0.1.1",       "192.167.9.9",      "192.169.0.0",     "198.17.9.9",
        "198.20.0.0",      "223.255.255.255", "8.8.8.8",          "2600::1",         "2001:4860:4860::8888",
        "2a00:1450::1",    "::ffff:8.8.8.8",  "64:ff9b::808:808", "2002:808:808::1", "3ffe::1"};
    for (size_t i = 0; i < sizeof private / sizeof *private; i++) {
        if (!private_text(private[i]))
            fail_msg("'%s' counts as open", private[i]);
    }
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        if (private_text(open[i]))
            fail_msg("'%s' counts as private", open[i]);
    }
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_true(extract_address_private(&other));
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const private[] = {"127.0.0.1",           "127.1",      "0x7f000001",       "2130706433",
                                          "017700000001",        "[::1]",      "[fe80::1%25eth0]", "localhost",
                                          "LOCALHOST",           "localhost.", "a.localhost",      "0",
                                          "[::ffff:192.168.0.1]"};
    static const char *const open[] = {
        "example.org", "8.8.8.8",      "[2600::1]", "localhost.example", "notlocalhost", "127.0.0.1.example",
        "face",        "0x7f.example", ""};
    for (size_t i = 0; i < sizeof private / sizeof *private; i++) {
        if (!extract_host_private(private[i]))
            fail_msg("'%s' counts as open", private[i]);
    }
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        if (extract_host_private(open[i]))
            fail_msg("'%s' counts as private", open[i]);
    }
}

static void test_proxy(void **state)
{
    (void)state;
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY",
                                        "all_proxy",  "ALL_PROXY",   "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    assert_null(extract_proxy_for("http", "example.org"));
    setenv("HTTP_PROXY", "http://evil", 1); // what a CGI would make of a header
    assert_null(extract_proxy_for("http", "example.org"));
    setenv("http_proxy", "http://p:1", 1);
    setenv("ALL_PROXY", "http://q:2", 1);
    assert_string_equal(extract_proxy_for("http", "example.org"), "http://p:1");
    assert_string_equal(extract_proxy_for("https", "example.org"), "http://q:2");
    setenv("no_proxy", "a.example, .example.net ,host", 1);
    assert_null(extract_proxy_for("http", "a.example"));
    assert_null(extract_proxy_for("http", "b.a.example"));
    assert_null(extract_proxy_for("http", "x.example.net"));
    assert_null(extract_proxy_for("http", "HOST."));
    assert_non_null(extract_proxy_for("http", "ba.example"));
    assert_non_null(extract_proxy_for("http", "hostx"));
    setenv("no_proxy", "*", 1);
    assert_null(extract_proxy_for("https", "example.org"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

// --- robots

static bool allows(const char *text, const char *path)
{
    ExtractRobots *r = extract_robots_parse(text, strlen(text), "vicha");
    const bool allowed = extract_robots_allow(r, path);
    extract_robots_free(&r);
    assert_null(r);
    return allowed;
}

static void test_robots_groups(void **state)
{
    (void)state;
    assert_true(allows("", "/a"));
    assert_true(extract_robots_allow(NULL, "/a"));
    assert_false(allows("User-agent: *\nDisallow: /", "/a"));
    assert_true(allows("User-agent: other\nDisallow: /", "/a"));
    assert_false(allows("user-AGENT : ViCha\ndisallow:/a\n", "/a/b"));
    assert_false(allows("User-agent: vicha/1.0 (x)\nDisallow: /\n", "/"));
    assert_true(allows("User-agent: vichabot\nDisallow: /\n", "/"));
    // A group of our own makes the one for all of no account, also when it says nothing.
    assert_true(allows("User-agent: *\nDisallow: /\n\nUser-agent: vicha\nDisallow:\n", "/a"));
    assert_true(allows("User-agent: vicha\n\nUser-agent: *\nAllow: /\n", "/a"));
    // Several names of one group, several groups of one name.
    assert_false(allows("User-agent: x\nUser-agent: vicha\nUser-agent: y\nDisallow: /a", "/a"));
    assert_false(
        allows("User-agent: vicha\nDisallow: /a\nUser-agent: x\nDisallow: /b\nUser-agent: vicha\nDisallow: /c", "/c"));
    assert_true(allows("User-agent: vicha\nDisallow: /a\nUser-agent: x\nDisallow: /b\n", "/b"));
    // Sitemap ends no group; rules before any group belong to nobody.
    assert_false(allows("User-agent: x\nSitemap: http://s\nUser-agent: vicha\nDisallow: /a\n", "/a"));
    assert_true(allows("Disallow: /\nUser-agent: *\nDisallow: /b\n", "/a"));
    // Line ends of all kinds, a byte order mark, remarks.
    assert_false(allows("\xEF\xBB\xBFUser-agent: *\r\nDisallow: /a # not this\r\n", "/a"));
    assert_false(allows("User-agent: * # all\rDisallow: /a\r", "/a"));
    assert_true(allows("#User-agent: *\n#Disallow: /\n", "/a"));
    assert_true(allows("<html>Disallow: / User-agent: *</html>", "/a"));
}

static void test_robots_paths(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *path;
        bool fits;
    } table[] = {
        {"/fish", "/fish", true},
        {"/fish", "/fish.html", true},
        {"/fish", "/Fish", false},
        {"/fish", "/catfish", false},
        {"/fish*", "/fishheads", true},
        {"/fish/", "/fish", false},
        {"/fish/", "/fish/?id=1", true},
        {"/*.php", "/a/b.php?x", true},
        {"/*.php", "/", false},
        {"/*.php$", "/a.php", true},
        {"/*.php$", "/a.php?x", false},
        {"/fish*.php", "/fishheads/x.php", true},
        {"/a$b", "/a$b", true},
        {"/a%24b", "/a$b", true},
        {"/a%3cd.html", "/a%3Cd.html", true},
        {"/a%62c", "/abc", true},
        {"/%E3%83%84", "/\xE3\x83\x84", true},
        {"/\xE3\x83\x84", "/%E3%83%84", true},
        {"/a%2Fb", "/a/b", false},
        {"/a/b", "/a%2Fb", false},
        {"*", "/anything", true},
        {"/x*y*z$", "/x1y2yz3z", true},
        {"/x*y*z$", "/x1y2yz3", false},
        {"/**a", "/bba", true},
        {"/?q=", "/?q=1", true},
        {"$", "/", false},
        {"/$", "/", true},
        {"/$", "/a", false},
        {"/*", "/", true},
        {"/a%2A", "/a*", true},
        {"/a%2A", "/ab", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        VcStr text = {0};
        vc_str_putf(&text, "User-agent: *\nDisallow: %s\n", table[i].rule);
        if (allows(text.data, table[i].path) == table[i].fits)
            fail_msg("'%s' on '%s': expected %s", table[i].rule, table[i].path, table[i].fits ? "a fit" : "none");
        vc_str_finish(&text);
    }
    // The longest rule decides, Allow among equals, in any order.
    assert_true(allows("User-agent: *\nAllow: /p\nDisallow: /\n", "/page"));
    assert_true(allows("User-agent: *\nDisallow: /folder\nAllow: /folder\n", "/folder/page"));
    assert_false(allows("User-agent: *\nAllow: /page\nDisallow: /*.htm\n", "/page.htm"));
    assert_true(allows("User-agent: *\nDisallow: /\nAllow: /$\n", "/"));
    assert_false(allows("User-agent: *\nDisallow: /\nAllow: /$\n", "/a"));
}

static void test_robots_limits(void **state)
{
    (void)state;
    ExtractRobots *r = extract_robots_parse("User-agent: *\nCrawl-delay: 2.5\n", 31, "vicha");
    assert_close(extract_robots_delay(r), 2.5, 1e-12);
    extract_robots_free(&r);
    static const char delays[] = "User-agent: *\nCrawl-delay: 99999999\nCrawl-delay: -1\nCrawl-delay: x\n";
    r = extract_robots_parse(delays, sizeof delays - 1, "vicha");
    assert_close(extract_robots_delay(r), 3600, 1e-12);
    extract_robots_free(&r);
    // Rules that are made to be slow end all the same, with a no.
    VcStr text = {0}, path = {0};
    vc_str_put(&text, "User-agent: *\n");
    for (int i = 0; i < 2000; i++)
        vc_str_putf(&text, "Disallow: /*a*a*a*a*a*a*a*a*a*a*a*a*a*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab%d\n", i);
    vc_str_putc(&path, '/');
    for (int i = 0; i < 8000; i++)
        vc_str_putc(&path, 'a');
    const double begun = vc_thread_time();
    assert_false(allows(text.data, path.data));
    assert_true(vc_thread_time() - begun < 2);
    vc_str_finish(&text);
    vc_str_finish(&path);
    char token[64];
    extract_robots_token("vicha/1.0 (+x)", token, sizeof token);
    assert_string_equal(token, "vicha");
    extract_robots_token("My_Bot-2 x", token, 5);
    assert_string_equal(token, "My_B");
}

static bool tag(const char *value)
{
    return extract_robots_tag(value, strlen(value), "vicha");
}

static void test_robots_tag(void **state)
{
    (void)state;
    assert_true(tag("noai"));
    assert_true(tag("NoImageAI"));
    assert_true(tag("noindex, noai"));
    assert_true(tag("vicha: noai"));
    assert_true(tag("other: noindex, vicha: noimageai"));
    assert_true(tag("unavailable_after: 25 Jun 2030 15:00:00 PST, noai"));
    assert_false(tag("other: noai"));
    assert_false(tag("other: noindex, noai"));
    assert_false(tag("noindex, nofollow"));
    assert_false(tag("noaix"));
    assert_false(tag(""));
}

// --- headers

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        double seconds;
    } table[] = {{"120", 120},
                 {"0", 0},
                 {"", -1},
                 {"x", -1},
                 {"12x", -1},
                 {"-5", -1},
                 {"99999999999999999999", 1 << 30},
                 {"Sun, 06 Nov 1994 08:49:37 GMT", 37},
                 {"Sunday, 06-Nov-94 08:49:37 GMT", 37},
                 {"Sun Nov  6 08:49:37 1994", 37},
                 {"Sun, 06 Nov 1994 08:48:00 GMT", 0},
                 {"Sun, 06 Nov", -1},
                 {"Sun, 06 Foo 1994 08:49:37 GMT", -1},
                 {",", -1}};
    const int64_t now = 784111740; // 1994-11-06 08:49:00
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double got = extract_retry_after(table[i].value, strlen(table[i].value), now);
        if (got != table[i].seconds)
            fail_msg("'%s' is %g, expected %g", table[i].value, got, table[i].seconds);
    }
    assert_close(extract_retry_after("Thu, 29 Feb 2024 00:00:10 GMT", 29, 1709164800), 10, 1e-9);
}

static ExtractHeadersVerdict feed(ExtractHeaders *h, const char *lines)
{
    ExtractHeadersVerdict v = EXTRACT_HEADERS_OK;
    while (*lines && v == EXTRACT_HEADERS_OK) {
        const size_t n = strcspn(lines, "\n") + 1;
        v = extract_headers_line(h, lines, n, 0);
        lines += n;
    }
    return v;
}

static void test_headers(void **state)
{
    (void)state;
    ExtractHeaders h;
    extract_headers_begin(&h, "vicha");
    assert_int_equal(feed(&h, "HTTP/1.1 103 Early\r\nX-Robots-Tag: noai\r\n\r\n"), EXTRACT_HEADERS_OK);
    assert_false(h.complete);
    assert_int_equal(feed(&h, "HTTP/2 503 \r\nretry-after:  7 \r\nContent-Encoding: identity, gzip\r\n\r\n"),
                     EXTRACT_HEADERS_OK);
    assert_true(h.complete);
    assert_false(h.opted_out); // that was another answer
    assert_int_equal(h.status, 503);
    assert_int_equal(h.answers, 2);
    assert_int_equal(h.encodings, 1);
    assert_close(h.retry_after, 7, 0);

    extract_headers_begin(&h, "vicha");
    assert_int_equal(feed(&h, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\ncontent-encoding: gzip\r\n"),
                     EXTRACT_HEADERS_ENCODED);
    extract_headers_begin(&h, "vicha");
    assert_int_equal(feed(&h, "HTTP/1.1 200 OK\r\nContent-Encoding: br , gzip\r\n"), EXTRACT_HEADERS_ENCODED);

    extract_headers_begin(&h, "vicha");
    for (int i = 0; i < EXTRACT_HEADER_ANSWERS; i++)
        assert_int_equal(feed(&h, "HTTP/1.1 100 Go\r\n\r\n"), EXTRACT_HEADERS_OK);
    assert_int_equal(feed(&h, "HTTP/1.1 100 Go\r\n\r\n"), EXTRACT_HEADERS_TOO_LONG);

    extract_headers_begin(&h, "vicha");
    char line[1024];
    memset(line, 'a', sizeof line);
    for (int i = 0; i < EXTRACT_HEADER_BYTES / 1024; i++)
        assert_int_equal(extract_headers_line(&h, line, sizeof line, 0), EXTRACT_HEADERS_OK);
    assert_int_equal(extract_headers_line(&h, line, 1, 0), EXTRACT_HEADERS_TOO_LONG);
    extract_headers_begin(&h, "vicha");
    assert_int_equal(extract_headers_line(&h, line, SIZE_MAX, 0), EXTRACT_HEADERS_TOO_LONG);
}

// --- the pace

// A world with a latency and a ceiling of answers a second, in which `window` transfers are always under way.
static double simulate(ExtractPace *p, double now, double seconds, double latency, double most, double bad_share)
{
    const double until = now + seconds;
    double bad = 0;
    while (now < until) {
        const double window = (double)extract_pace_window(p);
        const double rate = window / latency < most ? window / latency : most;
        now += 1 / rate;
        bad += bad_share;
        const bool is_bad = bad >= 1;
        bad -= is_bad;
        extract_pace_started(p, now, extract_pace_window(p));
        extract_pace_ended(p, now, is_bad);
    }
    return now;
}

static void test_pace(void **state)
{
    (void)state;
    ExtractPace p;
    // Far away and wide: all that is allowed, soon.
    extract_pace_init(&p, 16, 256);
    double now = simulate(&p, 1, 4, 0.25, 1e9, 0);
    assert_int_equal(extract_pace_window(&p), 256);
    // The other side breaks down: it shrinks to next to nothing, and comes back when that is over.
    now = simulate(&p, now, 20, 0.25, 1e9, 0.9);
    assert_true(extract_pace_window(&p) < 8);
    now = simulate(&p, now, 60, 0.25, 1e9, 0);
    assert_true(extract_pace_window(&p) > 200);
    // A failure now and then is life.
    simulate(&p, now, 20, 0.25, 1e9, 0.05);
    assert_true(extract_pace_window(&p) > 200);
    // Near and narrow: more transfers bring nothing, so there are not many more.
    extract_pace_init(&p, 16, 256);
    now = simulate(&p, 1, 2, 0.01, 300, 0);
    assert_true(extract_pace_window(&p) <= 64);
    extract_pace_halve(&p, now);
    assert_true(extract_pace_window(&p) <= 32);
    // Ceilings hold.
    extract_pace_init(&p, 16, 4);
    simulate(&p, 1, 5, 0.25, 1e9, 0);
    assert_int_equal(extract_pace_window(&p), 4);
    extract_pace_init(&p, 0, 0);
    assert_int_equal(extract_pace_window(&p), 1);
}

// --- names

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned news;
} Bell;

static void ring(void *ctx)
{
    Bell *b = ctx;
    pthread_mutex_lock(&b->lock);
    b->news++;
    pthread_cond_signal(&b->more);
    pthread_mutex_unlock(&b->lock);
}

static ExtractDnsState wait_for(ExtractDns *dns, Bell *bell, const char *host, const char **text)
{
    for (unsigned heard = 0;;) {
        const ExtractDnsState state = extract_dns_find(dns, host, vc_now(), text);
        if (state != EXTRACT_DNS_WAIT)
            return state;
        pthread_mutex_lock(&bell->lock);
        while (bell->news == heard)
            pthread_cond_wait(&bell->more, &bell->lock);
        heard = bell->news;
        pthread_mutex_unlock(&bell->lock);
    }
}

static void test_dns(void **state)
{
    (void)state;
    Bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    ExtractDns *dns = extract_dns_create(2, 60, ring, &bell);
    const char *text;
    assert_int_equal(wait_for(dns, &bell, "127.0.0.1", &text), EXTRACT_DNS_FOUND);
    assert_string_equal(text, "127.0.0.1");
    assert_int_equal(wait_for(dns, &bell, "not a name at all", &text), EXTRACT_DNS_FAILED);
    assert_true(strlen(text) > 0);
    // Both are remembered: the answer is there at once, and nobody is asked.
    const unsigned before = bell.news;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(extract_dns_find(dns, "127.0.0.1", vc_now(), &text), EXTRACT_DNS_FOUND);
        assert_int_equal(extract_dns_find(dns, "not a name at all", vc_now(), &text), EXTRACT_DNS_FAILED);
    }
    assert_int_equal(bell.news, before);
    // ... until they are out of date.
    assert_int_equal(extract_dns_find(dns, "127.0.0.1", vc_now() + 1000, &text), EXTRACT_DNS_WAIT);
    assert_int_equal(wait_for(dns, &bell, "127.0.0.1", &text), EXTRACT_DNS_FOUND);
    // Many names for two threads: each gets its answer.
    for (int i = 0; i < 200; i++) {
        char host[32];
        snprintf(host, sizeof host, "127.0.1.%d", i);
        extract_dns_find(dns, host, vc_now(), &text);
    }
    for (int i = 0; i < 200; i++) {
        char host[32];
        snprintf(host, sizeof host, "127.0.1.%d", i);
        assert_int_equal(wait_for(dns, &bell, host, &text), EXTRACT_DNS_FOUND);
        assert_string_equal(text, host);
    }
    extract_dns_destroy(&dns);
    assert_null(dns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_private),       cmocka_unit_test(test_hosts),        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_robots_groups), cmocka_unit_test(test_robots_paths), cmocka_unit_test(test_robots_limits),
        cmocka_unit_test(test_robots_tag),    cmocka_unit_test(test_retry_after),  cmocka_unit_test(test_headers),
        cmocka_unit_test(test_pace),          cmocka_unit_test(test_dns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
