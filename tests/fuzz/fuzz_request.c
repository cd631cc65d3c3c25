// SPDX-License-Identifier: MIT
// A request to the page's server, from behind the HTTP library on: who may ask, addresses, arguments, questions,
// bodies. Input: "METHOD ADDRESS", header lines, an empty line, the body. Any of them gets an answer that is no failure
// of ours; what says that it is JSON is JSON.
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "extract/extract.h"
#include "serve/guard.h"
#include "tests/fuzz/target.h"

#include <strings.h>
#include <unistd.h>

static char folder[] = "/tmp/vicha-fuzz-request-XXXXXX";
static ServeContext *ctx;
static ServeGuard guard;

static void clean_up(void)
{
    serve_context_close(&ctx);
    serve_guard_finish(&guard);
    VcFileList files = {0};
    VcErr ignored;
    if (vc_list_files(&files, folder, &ignored)) {
        for (size_t i = 0; i < files.count; i++) {
            char *path = vc_path_join(folder, files.paths[i]);
            unlink(path);
            free(path);
        }
        vc_file_list_finish(&files);
    }
    static const char *const folders[] = {"runs/first", "runs", "images", "vectors", ""};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = vc_path_join(folder, folders[i]);
        rmdir(path);
        free(path);
    }
}

static void must(bool ok, const VcErr *err)
{
    if (!ok) {
        fprintf(stderr, "%s\n", err->text);
        abort();
    }
}

static void make_workspace(void)
{
    VcWorkspace ws = {0};
    VcErr err = {0};
    static const char recipe[] = "{\"name\": \"r\"}", metrics[] = "{\"step\": 1, \"loss\": 2}\nbroken\n{\"st";
    VC_ASSERT(mkdtemp(folder));
    must(vc_workspace_open(&ws, folder, VC_DB_CREATE, &err), &err);
    must(vc_db_exec(ws.db,
                    "INSERT INTO source VALUES(1, 'one', '/data/one', 'CC BY', 0);"
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)"
                    " INSERT INTO image(image_id, row, source_id, key, width, height, status, error)"
                    " SELECT i, iif(i > 38, NULL, i - 1), 1, 'k' || i, 32, 24, iif(i > 38, -13, 2), NULL FROM n;"
                    "INSERT INTO caption(image_id, text) SELECT image_id, 'a dog ' || image_id FROM image;"
                    "INSERT INTO concept(concept_id, text, freq) VALUES(0, 'dog', 9), (1, 'cat', 8), (2, 'red cat', 7);"
                    "INSERT INTO image_concept SELECT image_id, 0, 0, 20000 - image_id FROM image WHERE status = 2;"
                    "INSERT INTO image_concept SELECT image_id, 1, image_id % 2 + 1, 12000 FROM image WHERE status = 2;"
                    "INSERT INTO concept_stat SELECT concept_id, count(*), sum(score), max(score), total(rank = 0)"
                    " FROM image_concept GROUP BY 1;"
                    "INSERT INTO split SELECT image_id, 'train' FROM image;"
                    "INSERT INTO tag SELECT image_id, 'even' FROM image WHERE image_id % 2 = 0",
                    &err),
         &err);
    must(vc_workspace_build_indexes(&ws, &err) && vc_workspace_rebuild_fts(&ws, &err), &err);
    vc_workspace_close(&ws);
    char *runs = vc_path_join(folder, "runs/first"), *a = vc_path_join(runs, "recipe.json"),
         *b = vc_path_join(runs, "metrics.jsonl");
    must(vc_make_dirs(runs, &err) && vc_write_file(a, recipe, strlen(recipe), &err) &&
             vc_write_file(b, metrics, strlen(metrics), &err),
         &err);
    free(runs);
    free(a);
    free(b);
    const ServeOptions options = {.workspace = folder, .threads = 1};
    must(serve_guard_init(&guard, &options, &err) && extract_image_init(&err) &&
             serve_context_open(&ctx, &options, &err),
         &err);
    atexit(clean_up);
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 32) : NULL;
    return at ? (int)(at - digits) : -1;
}

// As the HTTP library does it: %XX, and + in arguments.
static char *decode(const char *text, size_t n, bool plus)
{
    char *out = vc_alloc(n + 1, 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '%' && i + 2 < n && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
            out[k++] = (char)(digit(text[i + 1]) * 16 + digit(text[i + 2]));
            i += 2;
        } else {
            out[k++] = plus && text[i] == '+' ? ' ' : text[i];
        }
    }
    out[k] = 0;
    return out;
}

static bool add_arguments(ServeRequest *r, char *query)
{
    for (char *save = NULL, *part = strtok_r(query, "&", &save); part; part = strtok_r(NULL, "&", &save)) {
        const size_t key = strcspn(part, "=");
        const bool value = part[key] == '=';
        char *k = decode(part, key, true), *v = decode(part + key + value, strlen(part + key + value), true);
        if (r->arg_count == SERVE_MAX_ARGS || !vc_utf8_valid(v, strlen(v))) {
            free(k);
            free(v);
            return false;
        }
        r->args[r->arg_count++] = (ServeArg){k, v};
    }
    return true;
}

static void take_header(ServeAsking *a, char *line)
{
    char *value = strchr(line, ':');
    if (!value)
        return;
    *value++ = 0;
    value += strspn(value, " ");
    const struct {
        const char *name;
        const char **field;
    } known[] = {{"Host", &a->host},     {"Origin", &a->origin},         {"Authorization", &a->authorization},
                 {"Cookie", &a->cookie}, {"Content-Length", &a->length}, {"Transfer-Encoding", &a->transfer}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcasecmp(line, known[i].name) == 0)
            *known[i].field = value;
    }
}

static void check(ServeReply *reply)
{
    VcErr err = {0};
    VC_ASSERT(reply->status >= 200 && reply->status < 500);
    VcStr all = {0};
    for (bool more = reply->stream.next != NULL; more;) {
        const size_t before = all.len;
        VC_ASSERT(reply->stream.next(reply->stream.state, &all, &err));
        more = all.len > before;
    }
    vc_str_finish(&all);
    if (!reply->type && reply->body.len > 0) {
        VcJson *json = NULL;
        VC_ASSERT(vc_json_parse(&json, reply->body.data, reply->body.len, "answer", &err));
        VC_ASSERT(vc_json_is_object(json));
        vc_json_destroy(&json);
    }
    serve_reply_finish(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!ctx)
        make_workspace();
    char *text = vc_strndup((const char *)data, size), *body = strstr(text, "\n\n"), *save = NULL;
    ServeAsking asking = {.host = "localhost"};
    ServeRequest r = {0};
    if (body) {
        *body = 0;
        body += 2;
        r.body = (const uint8_t *)body;
        r.body_size = strlen(body);
    }
    char *line = strtok_r(text, "\n", &save), *address = line ? strchr(line, ' ') : NULL, *path = NULL;
    if (address && address[1] == '/') {
        *address++ = 0;
        const size_t n = strcspn(address, "?");
        path = decode(address, n, false);
        r.method = asking.method = line;
        r.path = asking.path = path;
        for (char *header; (header = strtok_r(NULL, "\n", &save));)
            take_header(&asking, header);
        ServeReply reply = {0};
        if (!serve_guard_check(&guard, &asking, &reply)) {
            check(&reply);
        } else if (add_arguments(&r, address + n + (address[n] == '?'))) {
            serve_dispatch(ctx, &r, &reply);
            check(&reply);
        }
    }
    for (size_t i = 0; i < r.arg_count; i++) {
        free((void *)(uintptr_t)r.args[i].key);
        free((void *)(uintptr_t)r.args[i].value);
    }
    free(path);
    free(text);
    return 0;
}
