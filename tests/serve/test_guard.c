// SPDX-License-Identifier: MIT
// Who may ask: names in the Host header, tokens, bodies, pages of other sites.
#include "serve/guard.h"

#include "tests/support/test.h"

static ServeGuard make(const char *bind, const char *token, const char *host)
{
    ServeGuard g;
    const char *hosts[] = {host};
    ServeOptions options = {.bind = bind, .token = token, .hosts = hosts, .host_count = host ? 1 : 0};
    assert_ok(serve_guard_init(&g, &options, err));
    return g;
}

static unsigned check(const ServeGuard *g, ServeAsking a, ServeReply *kept)
{
    ServeReply reply = {0};
    a.method = a.method ? a.method : "GET";
    a.path = a.path ? a.path : "/";
    unsigned status = serve_guard_check(g, &a, &reply) ? 200 : reply.status;
    assert_true(status != 0);
    if (kept) {
        *kept = reply;
    } else {
        serve_reply_finish(&reply);
    }
    return status;
}

static void test_hosts(void **state)
{
    (void)state;
    ServeGuard g = make(NULL, NULL, "box.example.org");
    static const char *const good[] = {"127.0.0.1",  "127.0.0.1:8650", "localhost",       "LOCALHOST:9",       "[::1]",
                                       "[::1]:8650", "127.9.9.9:1",    "box.example.org", "BOX.example.org:80"};
    static const char *const bad[] = {"",
                                      "evil.example.org",
                                      "evil.example.org:8650",
                                      "192.168.1.2",
                                      "0.0.0.0",
                                      "localhost.evil.org",
                                      "127.0.0.1.evil.org",
                                      "127.0.0.1:x",
                                      "[::1",
                                      "[::1]x",
                                      "localhost:80:80",
                                      ":8650",
                                      "box.example.org.",
                                      "127.0.0.1@evil.org"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(serve_guard_host(&g, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (serve_guard_host(&g, bad[i]))
            fail_msg("the host '%s' was let in", bad[i]);
    }
    assert_false(serve_guard_host(&g, NULL));
    assert_int_equal(check(&g, (ServeAsking){.host = "evil.example.org"}, NULL), 421);
    assert_int_equal(check(&g, (ServeAsking){.host = "localhost"}, NULL), 200);
    serve_guard_finish(&g);
    // Beyond loopback any address will do, a name only when it was given.
    g = make("0.0.0.0", "0123456789", NULL);
    assert_true(serve_guard_host(&g, "192.168.1.2:8650"));
    assert_false(serve_guard_host(&g, "localhost"));
    assert_false(serve_guard_host(&g, "evil.example.org"));
    serve_guard_finish(&g);
}

static void test_bind_needs_token(void **state)
{
    (void)state;
    static const char *const far[] = {"0.0.0.0", "::", "192.168.1.2", "2001:db8::1"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        ServeGuard g;
        ServeOptions options = {.bind = far[i]};
        assert_error(serve_guard_init(&g, &options, err), "--token");
        serve_guard_finish(&g);
    }
    static const char *const bad[] = {"short", "with space in it", "semi;colon;here", "new\nline\nhere",
                                      "\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ServeGuard g;
        ServeOptions options = {.token = bad[i]};
        assert_error(serve_guard_init(&g, &options, err), "--token must have");
        serve_guard_finish(&g);
    }
}

static void test_token(void **state)
{
    (void)state;
    ServeGuard g = make(NULL, "correct-horse", NULL);
    const char *host = "localhost";
    assert_int_equal(check(&g, (ServeAsking){.host = host}, NULL), 401);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .path = "/api/info"}, NULL), 401);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .authorization = "Bearer correct-hors"}, NULL), 401);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .authorization = "correct-horse"}, NULL), 401);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .cookie = "wrong"}, NULL), 401);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .token = ""}, NULL), 401);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .authorization = "Bearer correct-horse"}, NULL), 200);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .authorization = "bearer correct-horse"}, NULL), 200);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .cookie = "correct-horse"}, NULL), 200);
    ServeReply reply;
    assert_int_equal(check(&g, (ServeAsking){.host = host, .token = "correct-horse"}, &reply), 303);
    assert_string_equal(reply.location, "/");
    assert_non_null(strstr(reply.cookie, "vicha_token=correct-horse; Path=/; HttpOnly; SameSite=Strict"));
    serve_reply_finish(&reply);
    // A wrong name is refused before the token is looked at.
    assert_int_equal(check(&g, (ServeAsking){.host = "evil.org", .cookie = "correct-horse"}, NULL), 421);
    serve_guard_finish(&g);
}

static void test_bodies(void **state)
{
    (void)state;
    ServeGuard g = make(NULL, NULL, NULL);
    const char *host = "localhost:1";
    ServeAsking post = {.method = "POST", .host = host, .length = "1000"};
    assert_int_equal(check(&g, post, NULL), 200);
    post.origin = "http://localhost:1";
    assert_int_equal(check(&g, post, NULL), 200);
    static const char *const strangers[] = {"http://evil.org", "null", "http://localhost:2",
                                            "http://localhost:1.evil.org", ""};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        post.origin = strangers[i];
        assert_int_equal(check(&g, post, NULL), 403);
    }
    post.origin = NULL;
    post.length = "16777217";
    assert_int_equal(check(&g, post, NULL), 413);
    post.length = "-1";
    assert_int_equal(check(&g, post, NULL), 400);
    post.length = "99999999999999999999";
    assert_int_equal(check(&g, post, NULL), 400);
    post.length = NULL;
    post.transfer = "chunked";
    assert_int_equal(check(&g, post, NULL), 411);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .length = "1"}, NULL), 413);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .method = "PUT"}, NULL), 405);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .method = "DELETE"}, NULL), 405);
    assert_int_equal(check(&g, (ServeAsking){.host = host, .method = "HEAD"}, NULL), 200);
    serve_guard_finish(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hosts), cmocka_unit_test(test_bind_needs_token),
                                       cmocka_unit_test(test_token), cmocka_unit_test(test_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
