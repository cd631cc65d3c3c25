// SPDX-License-Identifier: MIT
// The server over a socket: the API's answers, what is refused, what a broken client does to it, many at a time.
#include "base/hash.h"
#include "tests/serve/site.h"

#include <pthread.h>

typedef struct {
    char *dir;
    ServeServer *server;
    uint16_t port;
} Site;

static int begin(void **state)
{
    Site *s = vc_calloc(1, sizeof *s);
    s->dir = site_make();
    ServeOptions options = {.workspace = s->dir, .port = 0, .threads = 1};
    assert_ok(serve_start(&s->server, &options, err));
    s->port = serve_port(s->server);
    assert_true(s->port != 0);
    *state = s;
    return 0;
}

static int end(void **state)
{
    Site *s = *state;
    serve_stop(&s->server);
    assert_null(s->server);
    test_temp_remove(&s->dir);
    free(s);
    return 0;
}

static VcJson *get_json(const Site *s, const char *path, int status)
{
    char *answer = site_get(s->port, path, NULL);
    VcJson *json = NULL;
    if (site_status(answer) != status)
        fail_msg("%s: status %d, expected %d: %s", path, site_status(answer), status, site_body(answer));
    const char *body = site_body(answer);
    assert_ok(vc_json_parse(&json, body, strlen(body), path, err));
    free(answer);
    return json;
}

static int64_t number(const VcJson *json, const char *key)
{
    return vc_json_int(vc_json_member(json, key), -1);
}

static const char *text(const VcJson *json, const char *key)
{
    const char *t = vc_json_string(vc_json_member(json, key), NULL);
    return t ? t : "";
}

static void test_info(void **state)
{
    VcJson *json = get_json(*state, "/api/info", 200);
    assert_int_equal(number(json, "images"), SITE_IMAGES);
    assert_int_equal(number(json, "stored"), 58);
    assert_int_equal(number(json, "concepts"), 8);
    assert_int_equal(vc_json_length(vc_json_member(json, "sources")), 2);
    assert_int_equal(vc_json_length(vc_json_member(json, "splits")), 2);
    vc_json_destroy(&json);
}

// Pages by offset and by cursor give every image once, in one order.
static void test_pages(void **state)
{
    int64_t seen[64];
    size_t count = 0;
    for (int offset = 0; offset < 60; offset += 7) {
        char path[80];
        snprintf(path, sizeof path, "/api/images?with=dog&limit=7&offset=%d", offset);
        VcJson *json = get_json(*state, path, 200), *images = vc_json_member(json, "images");
        assert_int_equal(number(json, "matched"), 58);
        assert_string_equal(text(json, "order"), "concepts");
        for (size_t i = 0; i < vc_json_length(images); i++)
            seen[count++] = number(vc_json_item(images, i), "id");
        vc_json_destroy(&json);
    }
    assert_int_equal(count, 58);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(seen[i], i + 1); // scores fall with the number
    char path[200] = "/api/images?with=dog&limit=20";
    for (count = 0; *path;) {
        VcJson *json = get_json(*state, path, 200);
        count += vc_json_length(vc_json_member(json, "images"));
        const char *next = text(json, "next");
        if (*next) {
            snprintf(path, sizeof path, "/api/images?with=dog&limit=20&cursor=%s", next);
        } else {
            *path = 0;
        }
        vc_json_destroy(&json);
    }
    assert_int_equal(count, 58);
}

// The list of all, by offset: the same images as the engine's, past the end nothing.
static void test_all_by_offset(void **state)
{
    VcJson *engine = get_json(*state, "/api/images?limit=60", 200);
    VcJson *whole = get_json(*state, "/api/images?limit=60&offset=0", 200);
    VcJson *a = vc_json_member(engine, "images"), *b = vc_json_member(whole, "images");
    assert_int_equal(number(whole, "matched"), 58);
    assert_int_equal(vc_json_length(a), vc_json_length(b));
    for (size_t i = 0; i < vc_json_length(a); i++) {
        assert_int_equal(number(vc_json_item(a, i), "id"), number(vc_json_item(b, i), "id"));
        assert_string_equal(text(vc_json_item(a, i), "caption"), text(vc_json_item(b, i), "caption"));
        assert_string_equal(text(vc_json_item(a, i), "split"), text(vc_json_item(b, i), "split"));
    }
    vc_json_destroy(&engine);
    vc_json_destroy(&whole);
    whole = get_json(*state, "/api/images?limit=10&offset=55", 200);
    assert_int_equal(vc_json_length(vc_json_member(whole, "images")), 3);
    assert_int_equal(number(vc_json_item(vc_json_member(whole, "images"), 0), "id"), 56);
    vc_json_destroy(&whole);
    whole = get_json(*state, "/api/images?limit=10&offset=58", 200);
    assert_int_equal(vc_json_length(vc_json_member(whole, "images")), 0);
    vc_json_destroy(&whole);
}

static void test_filters(void **state)
{
    static const struct {
        const char *question;
        int64_t matched;
    } cases[] = {{"", 58},
                 {"with=cat", 19},
                 {"with=cat&with=a", 4},
                 {"with=cat%20OR%20sea", 38},
                 {"without=cat", 39},
                 {"split=val", 5},
                 {"source=one", 29},
                 {"source=one&split=val", 5},
                 {"with=dog&min_score=0.6100", 12},
                 {"caption=%2217%22", 1},
                 {"with=%22%3Cscript%3Ealert(1)%3C/script%3E%22", 14}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[200];
        snprintf(path, sizeof path, "/api/images?limit=1&%s", cases[i].question);
        VcJson *json = get_json(*state, path, 200);
        if (number(json, "matched") != cases[i].matched)
            fail_msg("%s: %lld images, expected %lld", path, (long long)number(json, "matched"),
                     (long long)cases[i].matched);
        vc_json_destroy(&json);
    }
}

static void test_image(void **state)
{
    Site *s = *state;
    VcJson *json = get_json(s, "/api/images/12", 200), *concepts = vc_json_member(json, "concepts");
    assert_string_equal(text(json, "key"), "k12.jpg");
    assert_string_equal(text(json, "licence"), "CC BY");
    assert_int_equal(vc_json_length(concepts), 3);
    assert_string_equal(text(vc_json_item(concepts, 0), "text"), "dog");
    assert_close(vc_json_number(vc_json_member(vc_json_item(concepts, 0), "score"), 0), 19988 / 32767.0, 1e-6);
    assert_string_equal(text(vc_json_item(vc_json_member(json, "captions"), 0), "text"), "a <b>dog</b> \"12\" & =cmd");
    assert_int_equal(number(json, "previous"), 11);
    vc_json_destroy(&json);
    json = get_json(s, "/api/images/60", 200);
    assert_string_equal(text(json, "cause"), "not_found");
    vc_json_destroy(&json);
    char *answer = site_get(s->port, "/api/pictures/12?side=256", NULL);
    assert_int_equal(site_status(answer), 200);
    assert_non_null(strstr(answer, "Content-Type: image/jpeg"));
    assert_true((uint8_t)site_body(answer)[0] == 0xFF && (uint8_t)site_body(answer)[1] == 0xD8);
    char *etag = strstr(answer, "ETag: "), line[120];
    assert_non_null(etag);
    snprintf(line, sizeof line, "If-None-Match: %.*s\r\n", (int)strcspn(etag + 6, "\r"), etag + 6);
    free(answer);
    answer = site_get(s->port, "/api/pictures/12?side=256", line);
    assert_int_equal(site_status(answer), 304);
    assert_string_equal(site_body(answer), "");
    free(answer);
}

static void test_concepts(void **state)
{
    VcJson *json = get_json(*state, "/api/concepts?prefix=re", 200), *list = vc_json_member(json, "concepts");
    assert_int_equal(vc_json_length(list), 1);
    assert_string_equal(text(vc_json_item(list, 0), "text"), "red cat");
    vc_json_destroy(&json);
    json = get_json(*state, "/api/concepts?limit=3", 200);
    list = vc_json_member(json, "concepts");
    assert_int_equal(vc_json_length(list), 3);
    assert_string_equal(text(vc_json_item(list, 0), "text"), "dog");
    assert_int_equal(number(vc_json_item(list, 0), "images"), 58);
    vc_json_destroy(&json);
    json = get_json(*state, "/api/concept?text=cat", 200);
    assert_int_equal(number(json, "images"), 19);
    int64_t sum = 0;
    VcJson *bins = vc_json_member(json, "histogram"), *together = vc_json_member(json, "together");
    for (size_t i = 0; i < vc_json_length(bins); i++)
        sum += vc_json_int(vc_json_item(bins, i), 0);
    assert_int_equal(sum, 19);
    // Every image of "cat" has "dog", and so has every other: that says nothing, 0 bits.
    assert_string_equal(text(vc_json_item(together, 0), "text"), "dog");
    assert_int_equal(number(vc_json_item(together, 0), "images"), 19);
    assert_close(vc_json_number(vc_json_member(vc_json_item(together, 0), "pmi"), 9), 0, 1e-9);
    vc_json_destroy(&json);
    json = get_json(*state, "/api/concept?text=doog", 404);
    assert_non_null(strstr(text(json, "error"), "dog"));
    vc_json_destroy(&json);
}

static void test_stats_and_failures(void **state)
{
    VcJson *json = get_json(*state, "/api/stats", 200), *stats = vc_json_member(json, "stats");
    assert_int_equal(number(stats, "images"), 60);
    assert_int_equal(number(stats, "rejected"), 2);
    assert_int_equal(number(stats, "image_concepts"), 3 * 58);
    assert_int_equal(vc_json_length(vc_json_member(stats, "by_source")), 2);
    vc_json_destroy(&json);
    json = get_json(*state, "/api/failures?cause=not_found&limit=1", 200);
    VcJson *rows = vc_json_member(json, "failures");
    assert_int_equal(vc_json_length(rows), 1);
    assert_int_equal(number(vc_json_item(rows, 0), "id"), 59);
    assert_string_equal(text(vc_json_item(rows, 0), "error"), "gone");
    vc_json_destroy(&json);
    json = get_json(*state, "/api/failures?after=59", 200);
    assert_int_equal(number(vc_json_item(vc_json_member(json, "failures"), 0), "id"), 60);
    vc_json_destroy(&json);
    json = get_json(*state, "/api/failures?cause=bad_luck", 400);
    vc_json_destroy(&json);
}

// Lines come once, the one that is still being written when it is whole.
static void test_runs(void **state)
{
    Site *s = *state;
    VcJson *json = get_json(s, "/api/runs", 200), *run = vc_json_item(vc_json_member(json, "runs"), 0);
    assert_string_equal(text(run, "run"), "first");
    assert_int_equal(number(run, "steps"), 40);
    assert_close(vc_json_number(vc_json_member(run, "t2i_r10"), 0), 50.5, 1e-9);
    vc_json_destroy(&json);
    json = get_json(s, "/api/metrics/first", 200);
    assert_int_equal(vc_json_length(vc_json_member(json, "lines")), 3);
    int64_t next = number(json, "next");
    vc_json_destroy(&json);
    VcStr path = {0};
    vc_str_putf(&path, "%s/runs/first/metrics.jsonl", s->dir);
    FILE *file = fopen(path.data, "a");
    assert_non_null(file);
    fputs("ss\": 1.25}\n", file);
    fclose(file);
    char address[80];
    snprintf(address, sizeof address, "/api/metrics/first?from=%lld", (long long)next);
    json = get_json(s, address, 200);
    assert_int_equal(vc_json_length(vc_json_member(json, "lines")), 1);
    assert_int_equal(number(vc_json_item(vc_json_member(json, "lines"), 0), "step"), 30);
    vc_json_destroy(&json);
    // Begun anew: shorter than where we were.
    assert_ok(vc_write_file(path.data, "{\"step\": 1, \"loss\": 9}\n", 23, err));
    json = get_json(s, address, 200);
    assert_true(vc_json_bool(vc_json_member(json, "restarted"), false));
    assert_int_equal(vc_json_length(vc_json_member(json, "lines")), 1);
    vc_json_destroy(&json);
    vc_str_finish(&path);
}

static size_t lines_of(const char *t)
{
    size_t n = 0;
    for (; *t; t++)
        n += *t == '\n';
    return n;
}

// An export comes in chunks: HTTP/1.0 asks for it as it is.
static char *get_whole(const Site *s, const char *path)
{
    VcStr request = {0};
    vc_str_putf(&request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", path);
    char *answer = site_send(s->port, request.data, request.len);
    vc_str_finish(&request);
    return answer;
}

static void test_export(void **state)
{
    Site *s = *state;
    char *answer = get_whole(s, "/api/export?format=jsonl&with=cat");
    assert_non_null(strstr(answer, "attachment"));
    assert_int_equal(lines_of(site_body(answer)), 19);
    VcJson *json = NULL;
    const char *body = site_body(answer);
    assert_ok(vc_json_parse(&json, body, strcspn(body, "\n"), "line", err));
    assert_int_equal(number(json, "id"), 3);
    assert_int_equal(vc_json_length(vc_json_member(json, "concepts")), 3);
    vc_json_destroy(&json);
    free(answer);
    answer = get_whole(s, "/api/export?format=csv");
    assert_int_equal(lines_of(site_body(answer)), 59);
    assert_non_null(strstr(answer, "\"a <b>dog</b> \"\"7\"\" & =cmd\""));
    free(answer);
    answer = get_whole(s, "/api/export?format=ids&split=val");
    assert_string_equal(site_body(answer), "10\n20\n30\n40\n50\n");
    free(answer);
    json = get_json(s, "/api/export?format=exe", 400);
    vc_json_destroy(&json);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *path;
        int status;
    } cases[] = {{"/nothing", 404},
                 {"/api/", 404},
                 {"/api/images/999", 404},
                 {"/api/images/1x", 404},
                 {"/api/images/-1", 404},
                 {"/api/pictures/59", 404},
                 {"/api/pictures/1?side=1", 400},
                 {"/api/pictures/1?side=99999", 400},
                 {"/api/images?limit=0", 400},
                 {"/api/images?limit=501", 400},
                 {"/api/images?limit=ten", 400},
                 {"/api/images?offset=-1", 400},
                 {"/api/images?with=unicorn", 400},
                 {"/api/images?with=dog+AND", 400},
                 {"/api/images?caption=%22dog", 400},
                 {"/api/images?split=none", 400},
                 {"/api/images?cursor=zzz", 400},
                 {"/api/images?min_score=x", 400},
                 {"/api/images?like=0", 400},
                 {"/api/images?like=picture-00", 400},
                 {"/api/images?with=%00", 400},
                 {"/api/images?with=%FF%FE", 400},
                 {"/api/runs/none", 404},
                 {"/api/runs/..", 404},
                 {"/api/runs/%2e%2e", 404},
                 {"/api/runs/..%2f..%2fvicha.db", 404},
                 {"/api/runs/../../etc/passwd", 404},
                 {"/api/metrics/..%2ffirst", 404},
                 {"/../vicha.db", 404},
                 {"/%2e%2e/vicha.db", 404},
                 {"/vicha.db", 404},
                 {"/images/00000.tar", 404},
                 {"//", 404},
                 {"/style.css/", 404},
                 {"/style.css%00.js", 404}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *answer = site_get(((Site *)*state)->port, cases[i].path, NULL);
        if (site_status(answer) != cases[i].status && !(strstr(cases[i].path, "%00.js") && site_status(answer) == 200))
            fail_msg("%s: status %d, expected %d: %.200s", cases[i].path, site_status(answer), cases[i].status,
                     site_body(answer));
        assert_null(strstr(site_body(answer), "SQLite format"));
        free(answer);
    }
}

static void test_headers(void **state)
{
    Site *s = *state;
    static const char *const paths[] = {"/", "/app.js", "/api/info", "/nothing"};
    for (size_t i = 0; i < 4; i++) {
        char *answer = site_get(s->port, paths[i], NULL);
        assert_non_null(
            strstr(answer, "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self';"));
        assert_null(strstr(answer, "unsafe"));
        assert_non_null(strstr(answer, "X-Content-Type-Options: nosniff"));
        assert_non_null(strstr(answer, "frame-ancestors 'none'"));
        assert_null(strstr(answer, "Access-Control"));
        free(answer);
    }
    // The page has no script of its own and names nothing outside.
    char *answer = site_get(s->port, "/", NULL);
    assert_null(strstr(answer, "http://"));
    assert_null(strstr(answer, "https://"));
    assert_null(strstr(answer, " onclick="));
    assert_null(strstr(answer, "style="));
    free(answer);
}

static void test_other_names(void **state)
{
    Site *s = *state;
    static const char *const requests[] = {
        "GET /api/info HTTP/1.1\r\nHost: evil.example.org\r\nConnection: close\r\n\r\n",
        "GET /api/info HTTP/1.0\r\n\r\n",
        ("POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example.org\r\nContent-Length: "
         "3\r\nConnection: close\r\n\r\nabc"),
        "POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\nabc",
        "GET /api/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        "DELETE /api/images/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "POST /api/info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    };
    static const int status[] = {421, 421, 403, 413, 413, 405, 405};
    for (size_t i = 0; i < sizeof status / sizeof *status; i++) {
        char *answer = site_send(s->port, requests[i], strlen(requests[i]));
        if (site_status(answer) != status[i])
            fail_msg("request %zu: status %d, expected %d", i, site_status(answer), status[i]);
        free(answer);
    }
}

// Nonsense and half requests; afterwards the server still answers.
static void test_broken_clients(void **state)
{
    Site *s = *state;
    static const char *const starts[] = {
        "",
        "\r\n\r\n\r\n",
        "GET",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        "GET  /  HTTP/1.1\r\n\r\n",
        "POST /api/pictures HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nshort"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        site_poke(s->port, starts[i], strlen(starts[i]));
    VcStr long_one = {0};
    vc_str_put(&long_one, "GET /");
    for (int i = 0; i < 20000; i++)
        vc_str_put(&long_one, "aaaaaaaaaa");
    vc_str_put(&long_one, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    char *answer = site_send(s->port, long_one.data, long_one.len);
    assert_true(site_status(answer) == 0 || site_status(answer) >= 400);
    free(answer);
    vc_str_clear(&long_one);
    vc_str_put(&long_one, "/api/images?x=1");
    for (int i = 0; i < 500; i++)
        vc_str_put(&long_one, "&with=dog");
    answer = site_get(s->port, long_one.data, NULL);
    assert_int_equal(site_status(answer), 400);
    free(answer);
    vc_str_finish(&long_one);
    VcJson *json = get_json(s, "/api/info", 200);
    vc_json_destroy(&json);
}

typedef struct {
    uint16_t port;
    int good, all;
} Client;

static void *client_main(void *arg)
{
    Client *c = arg;
    static const char *const paths[] = {
        "/",          "/api/images?with=dog",   "/api/pictures/7", "/api/concept?text=cat",
        "/api/stats", "/api/export?format=csv", "/api/images/5",   "/api/images?with=unicorn"};
    for (int i = 0; i < 80; i++) {
        char *answer = site_get(c->port, paths[i % 8], NULL);
        c->all++;
        c->good += site_status(answer) == (i % 8 == 7 ? 400 : 200);
        free(answer);
    }
    return NULL;
}

static void test_many_at_a_time(void **state)
{
    Site *s = *state;
    enum { CLIENTS = 8 };
    pthread_t threads[CLIENTS];
    Client clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (Client){s->port, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, client_main, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].good, clients[i].all);
    }
}

// A stage may write while the page reads, and the page sees what was committed.
static void test_writer_beside(void **state)
{
    Site *s = *state;
    VcWorkspace ws = {0};
    assert_ok(vc_workspace_open(&ws, s->dir, VC_DB_WRITE, err));
    assert_ok(vc_db_begin(ws.db, err));
    assert_ok(vc_db_exec(ws.db, "INSERT INTO image(image_id, source_id, key, status) VALUES(61, 1, 'new', 0)", err));
    VcJson *json = get_json(s, "/api/info", 200);
    assert_int_equal(number(json, "images"), 60);
    vc_json_destroy(&json);
    assert_ok(vc_db_commit(ws.db, err));
    json = get_json(s, "/api/info", 200);
    assert_int_equal(number(json, "images"), 61);
    vc_json_destroy(&json);
    vc_workspace_close(&ws);
}

static void test_token(void **state)
{
    Site *s = *state;
    ServeServer *server = NULL;
    ServeOptions options = {.workspace = s->dir, .token = "a-long-token", .threads = 1};
    assert_ok(serve_start(&server, &options, err));
    uint16_t port = serve_port(server);
    static const char *const paths[] = {"/", "/app.js", "/api/info", "/api/pictures/1"};
    for (size_t i = 0; i < 4; i++) {
        char *answer = site_get(port, paths[i], NULL);
        assert_int_equal(site_status(answer), 401);
        free(answer);
        answer = site_get(port, paths[i], "Authorization: Bearer a-long-token\r\n");
        assert_int_equal(site_status(answer), 200);
        free(answer);
        answer = site_get(port, paths[i], "Cookie: a=b; vicha_token=a-long-token\r\n");
        assert_int_equal(site_status(answer), 200);
        free(answer);
    }
    char *answer = site_get(port, "/?token=a-long-token", NULL);
    assert_int_equal(site_status(answer), 303);
    assert_non_null(strstr(answer, "HttpOnly"));
    free(answer);
    serve_stop(&server);
    options.workspace = "/nonexistent";
    assert_error(serve_start(&server, &options, err), "/nonexistent");
    assert_null(server);
    options = (ServeOptions){.workspace = s->dir, .bind = "example.org", .token = "a-long-token"};
    assert_error(serve_start(&server, &options, err), "numeric address");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_all_by_offset),
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_concepts),
        cmocka_unit_test(test_stats_and_failures),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_broken_clients),
        cmocka_unit_test(test_many_at_a_time),
        cmocka_unit_test(test_writer_beside),
        cmocka_unit_test(test_token),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
