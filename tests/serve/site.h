// SPDX-License-Identifier: MIT
// A workspace of 60 small pictures with captions, concepts, failures and a run; and a plain HTTP client on loopback.
#pragma once

#include "base/file.h"
#include "base/json.h"
#include "base/workspace.h"
#include "extract/extract.h"
#include "extract/store.h"
#include "serve/serve.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>

enum { SITE_IMAGES = 60 };

static inline void site_store(VcWorkspace *ws, ExtractStore *store, int64_t id)
{
    uint8_t pixels[32 * 24 * 3], *jpeg = NULL;
    size_t n;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)((size_t)id * 37 + i * (size_t)(id % 5 + 1) / 8);
    ExtractImage image = {
        .width = 32, .height = 24, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1, .pixels = pixels};
    assert_ok(extract_image_encode_jpeg(&image, 90, &jpeg, &n, err));
    const ExtractRecord record = {
        .image_id = id, .jpeg = jpeg, .jpeg_bytes = n, .text = "c\n", .text_bytes = 2, .json = "{}\n", .json_bytes = 3};
    (void)ws;
    assert_ok(extract_store_add(store, &record, err));
    free(jpeg);
}

// The last two images are rejected. Image i has the concepts 0, i % 3 + 1 and i % 4 + 4.
static inline char *site_make(void)
{
    char *dir = test_temp_folder();
    VcWorkspace ws = {0};
    ExtractStore *store = NULL;
    const ExtractStoreOptions options = {.shard_count = 1, .shard_images = 1000, .shard_bytes = 1 << 30};
    assert_ok(extract_image_init(err));
    assert_ok(vc_workspace_open(&ws, dir, VC_DB_CREATE, err));
    assert_ok(extract_store_open(&store, &ws, &options, err));
    assert_ok(vc_db_begin(ws.db, err));
    assert_ok(vc_db_exec(
        ws.db,
        "INSERT INTO source VALUES(1, 'one', '/data/one', 'CC BY', 0), (2, 'two', 'http://t', NULL, 0);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)"
        " INSERT INTO image(image_id, row, source_id, key, width, height, status, error)"
        " SELECT i, iif(i > 58, NULL, i - 1), 1 + i % 2, 'k' || i || '.jpg', 32, 24, iif(i > 58, -13, 2), iif(i > 58, "
        "'gone', NULL) FROM n;"
        "INSERT INTO caption(image_id, kind, text) SELECT image_id, NULL, 'a <b>dog</b> \"' || image_id ||"
        " '\" & =cmd' FROM image;"
        "INSERT INTO concept(concept_id, text, freq, pos) VALUES(0, 'dog', 9, 'object'), (1, 'cat', 8, NULL),"
        " (2, 'red cat', 7, NULL), (3, 'sea', 6, NULL), (4, 'a', 5, NULL), (5, 'b', 5, NULL), (6, 'c', 5, NULL),"
        " (7, '<script>alert(1)</script>', 5, NULL);"
        "INSERT INTO image_concept SELECT image_id, 0, 0, 20000 - image_id FROM image WHERE status = 2;"
        "INSERT INTO image_concept SELECT image_id, 1, image_id % 3 + 1, 12000 + image_id FROM image WHERE status = 2;"
        "INSERT INTO image_concept SELECT image_id, 2, image_id % 4 + 4, 9000 FROM image WHERE status = 2;"
        "INSERT INTO concept_stat SELECT concept_id, count(*), sum(score), max(score), total(rank = 0) FROM"
        " image_concept GROUP BY 1;"
        "INSERT INTO split SELECT image_id, iif(image_id % 10, 'train', 'val') FROM image;",
        err));
    for (int64_t id = 1; id <= 58; id++)
        site_store(&ws, store, id);
    assert_ok(extract_store_sync(store, err));
    assert_ok(vc_db_commit(ws.db, err));
    assert_ok(extract_store_committed(store, err));
    assert_ok(extract_store_finish(store, err));
    assert_ok(vc_workspace_build_indexes(&ws, err));
    assert_ok(vc_workspace_rebuild_fts(&ws, err));
    extract_store_close(&store);
    VcStr path = {0};
    vc_str_putf(&path, "%s/runs/first", dir);
    assert_ok(vc_make_dirs(path.data, err));
    static const char recipe[] = "{\"name\": \"a <b>run</b>\", \"train\": {\"steps\": 40}}",
                      metrics[] = "{\"step\": 10, \"loss\": 2.5, \"images_per_s\": 100}\nbroken line\n"
                                  "{\"step\": 20, \"loss\": 1.5, \"images_per_s\": 101}\n"
                                  "{\"step\": 20, \"eval_loss\": 1.4, \"t2i_r10\": 50.5}\n{\"step\": 30, \"lo";
    vc_str_put(&path, "/recipe.json");
    assert_ok(vc_write_file(path.data, recipe, strlen(recipe), err));
    vc_str_clear(&path);
    vc_str_putf(&path, "%s/runs/first/metrics.jsonl", dir);
    assert_ok(vc_write_file(path.data, metrics, strlen(metrics), err));
    vc_str_finish(&path);
    vc_workspace_close(&ws);
    return dir;
}

// Sends bytes and reads to the end of the connection; the caller owns the answer (free).
static inline char *site_send(uint16_t port, const char *bytes, size_t n)
{
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VcStr answer = {0};
    char buffer[65536];
    vc_str_put(&answer, "");
    if (fd < 0 || connect(fd, (struct sockaddr *)&there, sizeof there) != 0)
        return fd >= 0 ? (close(fd), vc_strdup("")) : vc_strdup("");
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(fd, bytes + at, n - at, MSG_NOSIGNAL);
        if (sent <= 0)
            break;
        at += (size_t)sent;
    }
    shutdown(fd, SHUT_WR);
    for (ssize_t got; (got = recv(fd, buffer, sizeof buffer, 0)) > 0;)
        vc_str_putn(&answer, buffer, (size_t)got);
    close(fd);
    return answer.data ? answer.data : vc_strdup("");
}

// Sends bytes and goes away.
static inline void site_poke(uint16_t port, const char *bytes, size_t n)
{
    struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&there, sizeof there) == 0 && n > 0)
        assert_true(send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
    close(fd);
}

static inline char *site_get(uint16_t port, const char *path, const char *headers)
{
    VcStr request = {0};
    vc_str_putf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path,
                headers ? headers : "");
    char *answer = site_send(port, request.data, request.len);
    vc_str_finish(&request);
    return answer;
}

static inline int site_status(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : 0;
}

static inline const char *site_body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    return end ? end + 4 : "";
}
