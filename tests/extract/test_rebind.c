// SPDX-License-Identifier: MIT
// Names that change their mind: public when they are looked at, private when they are used. The system's calls for
// names and connections are ours here, so nothing leaves the machine.
#include "tests/extract/bad_server.h"

#include "base/clock.h"
#include "base/pool.h"
#include "extract/fetch.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define PUBLIC "93.184.216.34"

// What the name "rebind.test" stands for, by the number of the question; the last for all further ones.
static const char *const *answers;
static atomic_uint questions;
static atomic_uint to_public; // connections that were tried there
static atomic_bool diverted;  // they lead to loopback, as through a rewriting of addresses
static atomic_int divert_port;

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
                                                       const struct addrinfo *hints, struct addrinfo **out)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || strcmp(node, "rebind.test") != 0)
        return real(node, service, hints, out);
    unsigned i = 0;
    for (const unsigned wanted = atomic_fetch_add(&questions, 1); i < wanted && answers[i + 1]; i++)
        ;
    // "A,B": two addresses, one behind the other
    char first[64];
    const char *comma = strchr(answers[i], ',');
    snprintf(first, sizeof first, "%.*s", comma ? (int)(comma - answers[i]) : 63, answers[i]);
    struct addrinfo numeric = *hints;
    numeric.ai_flags = AI_NUMERICHOST;
    const int code = real(first, service, &numeric, out);
    if (code != 0 || !comma)
        return code;
    struct addrinfo *last = *out;
    while (last->ai_next)
        last = last->ai_next;
    return real(comma + 1, service, &numeric, &last->ai_next);
}

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_in to = {0};
    if (address->sa_family == AF_INET) {
        memcpy(&to, address, sizeof to);
        if ((ntohl(to.sin_addr.s_addr) >> 24) != 127) {
            atomic_fetch_add(&to_public, 1);
            if (!atomic_load(&diverted)) {
                errno = ECONNREFUSED;
                return -1;
            }
            to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            to.sin_port = htons((uint16_t)atomic_load(&divert_port));
            return (int)syscall(SYS_connect, fd, &to, sizeof to);
        }
    } else if (address->sa_family != AF_UNIX) {
        errno = ENETUNREACH;
        return -1;
    }
    return (int)syscall(SYS_connect, fd, address, size);
}

typedef struct {
    ExtractCause cause;
    char words[200];
} Outcome;

static void on_done(void *ctx, void *ticket, ExtractFetched *fetched)
{
    Outcome *o = ticket;
    o->cause = fetched->cause;
    snprintf(o->words, sizeof o->words, "%s", fetched->err.text);
    free(fetched->bytes);
    if (!vc_queue_put(ctx, o))
        abort();
}

static ExtractCause fetch(int port, bool allow_private, bool ignore_robots, Outcome *o)
{
    ExtractFetchOptions options;
    extract_fetch_options_init(&options);
    options.timeout = 5;
    options.retries = 0;
    options.max_bytes = 1 << 20;
    options.max_memory = 8 << 20;
    options.allow_private = allow_private;
    options.ignore_robots = ignore_robots;
    VcQueue *done = vc_queue_create(1);
    ExtractFetcher *f = NULL;
    assert_ok(extract_fetcher_start(&f, &options, on_done, done, err));
    VcStr url = {0};
    vc_str_putf(&url, "http://rebind.test:%d/a", port);
    extract_fetcher_add(f, url.data, o);
    void *item;
    assert_true(vc_queue_get_within(done, &item, 60));
    extract_fetcher_stop(&f);
    vc_queue_destroy(&done);
    vc_str_finish(&url);
    return o->cause;
}

static const BadCase good[] = {{.name = "inside", .answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"}};

static void begin(const char *const *said, BadServers *servers, bool divert)
{
    answers = said;
    atomic_store(&questions, 0);
    atomic_store(&to_public, 0);
    atomic_store(&diverted, divert);
    atomic_store(&divert_port, bad_servers_port(servers, 0));
}

static void test_name_of_this_machine(void **state)
{
    (void)state;
    BadServers *servers = bad_servers_start(good, 1, false);
    const int port = bad_servers_port(servers, 0);
    static const char *const loopback[] = {"127.0.0.1", NULL};
    Outcome o;
    begin(loopback, servers, false);
    assert_int_equal(fetch(port, true, false, &o), EXTRACT_OK); // the calls of this test do what they should
    assert_int_equal(bad_servers_requests(servers, 0), 1);
    for (int robots = 0; robots < 2; robots++)
        assert_int_equal(fetch(port, false, robots, &o), EXTRACT_PRIVATE);
    assert_int_equal(bad_servers_requests(servers, 0), 1);
    bad_servers_stop(&servers);
}

static void test_second_answer_is_private(void **state)
{
    (void)state;
    BadServers *servers = bad_servers_start(good, 1, false);
    static const char *const said[] = {PUBLIC, "127.0.0.1", NULL};
    Outcome o;
    begin(said, servers, false);
    const int port = bad_servers_port(servers, 0);
    assert_int_equal(fetch(port, false, true, &o), EXTRACT_CONNECT);
    assert_true(atomic_load(&to_public) > 0);
    // One question: what was judged is what was used.
    assert_int_equal(atomic_load(&questions), 1);
    assert_int_equal(fetch(port, false, true, &o), EXTRACT_PRIVATE);
    assert_int_equal(bad_servers_requests(servers, 0), 0);
    bad_servers_stop(&servers);
}

static void test_one_answer_of_both_kinds(void **state)
{
    (void)state;
    BadServers *servers = bad_servers_start(good, 1, false);
    static const char *const both[][2] = {{PUBLIC ",127.0.0.1", NULL}, {"127.0.0.1," PUBLIC, NULL}};
    for (int i = 0; i < 2; i++) {
        Outcome o;
        begin(both[i], servers, false);
        const ExtractCause cause = fetch(bad_servers_port(servers, 0), false, true, &o);
        if (cause != EXTRACT_PRIVATE && cause != EXTRACT_CONNECT)
            fail_msg("%s: %s", extract_cause_name(cause), o.words);
    }
    assert_int_equal(bad_servers_requests(servers, 0), 0);
    assert_false(bad_servers_saw(servers, "GET"));
    bad_servers_stop(&servers);
}

// The address is public, the other end of the connection is not: seen on the connected socket, before a byte is sent.
static void test_connected_socket(void **state)
{
    (void)state;
    BadServers *servers = bad_servers_start(good, 1, false);
    static const char *const said[] = {PUBLIC, NULL};
    Outcome o;
    begin(said, servers, true);
    const int port = bad_servers_port(servers, 0);
    for (int robots = 0; robots < 2; robots++) {
        if (fetch(port, false, robots, &o) != EXTRACT_PRIVATE)
            fail_msg("%s: %s", extract_cause_name(o.cause), o.words);
    }
    assert_true(atomic_load(&to_public) >= 2);
    assert_false(bad_servers_saw(servers, "GET"));
    assert_int_equal(fetch(port, true, true, &o), EXTRACT_OK); // it could have been had
    bad_servers_stop(&servers);
}

int main(void)
{
    const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
        unsetenv(proxies[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_of_this_machine), cmocka_unit_test(test_second_answer_is_private),
        cmocka_unit_test(test_one_answer_of_both_kinds), cmocka_unit_test(test_connected_socket)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
