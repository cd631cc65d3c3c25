// SPDX-License-Identifier: MIT
// /api/runs, /api/runs/NAME, /api/metrics/NAME: what training left in WORKSPACE/runs/NAME.
#include "serve/internal.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_METRICS_PIECE = 4 << 20, MAX_RECIPE = 4 << 20, MAX_RUNS = 1000, TAIL = 8192 };

// A run is a plain name of a folder in runs/; nothing else is opened, so no name leads elsewhere.
static bool run_path(VcStr *out, ServeContext *ctx, const char *name, const char *file, VcErr *err)
{
    if (!*name || *name == '.' || strchr(name, '/') || strlen(name) > 200)
        return vc_fail(err, VC_ERR_USAGE, "there is no run of that name");
    vc_str_putf(out, "%s/runs/%s/%s", ctx->workspace, name, file);
    return true;
}

// Opened without following a link out of the folder, and only if it is a plain file.
static int open_plain(const char *path, struct stat *info)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, info) != 0 || !S_ISREG(info->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

// Bytes [from, from + most) of a file. *text is freed by the caller.
static bool read_piece(const char *path, int64_t from, size_t most, VcStr *text, struct stat *info)
{
    int fd = open_plain(path, info);
    if (fd < 0)
        return false;
    char buffer[65536];
    ssize_t n = 1;
    while (n > 0 && text->len < most) {
        size_t want = most - text->len < sizeof buffer ? most - text->len : sizeof buffer;
        n = pread(fd, buffer, want, from + (off_t)text->len);
        if (n > 0)
            vc_str_putn(text, buffer, (size_t)n);
    }
    close(fd);
    return n >= 0;
}

// The last whole lines that carry a step and a recall.
static void put_summary(VcStr *out, const char *path)
{
    struct stat info = {0};
    VcStr tail = {0};
    int fd = open_plain(path, &info);
    if (fd >= 0)
        close(fd);
    int64_t from = info.st_size > TAIL ? (int64_t)info.st_size - TAIL : 0;
    double step = -1, loss = -1, recall = -1, speed = -1;
    if (fd >= 0 && read_piece(path, from, TAIL, &tail, &info)) {
        for (size_t at = 0; at < tail.len; at += strcspn(tail.data + at, "\n") + 1) {
            VcJson *json = NULL;
            if (!vc_json_parse(&json, tail.data + at, strcspn(tail.data + at, "\n"), "metrics", NULL))
                continue;
            step = vc_json_number(vc_json_member(json, "step"), step);
            loss = vc_json_number(vc_json_member(json, "loss"), loss);
            recall = vc_json_number(vc_json_member(json, "t2i_r10"), recall);
            speed = vc_json_number(vc_json_member(json, "images_per_s"), speed);
            vc_json_destroy(&json);
        }
    }
    vc_str_finish(&tail);
    const struct {
        const char *key;
        double value;
    } rows[] = {{"step", step}, {"loss", loss}, {"t2i_r10", recall}, {"images_per_s", speed}};
    for (size_t i = 0; i < 4; i++) {
        if (rows[i].value >= 0) {
            serve_json_real(out, rows[i].key, rows[i].value);
        } else {
            serve_json_text(out, rows[i].key, NULL);
        }
    }
    serve_json_int(out, "changed", info.st_mtime);
    // A run that wrote within the last two minutes is taken to be going on.
    serve_json_bool(out, "live", info.st_mtime > 0 && vc_unix_time() - info.st_mtime < 120);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Steps the recipe asks for, 0 where it does not say.
static int64_t recipe_steps(const char *path, char **name)
{
    struct stat info;
    VcStr text = {0};
    VcJson *json = NULL;
    int64_t steps = 0;
    if (read_piece(path, 0, MAX_RECIPE, &text, &info) &&
        vc_json_parse(&json, vc_str_get(&text), text.len, path, NULL)) {
        steps = vc_json_int(vc_json_member(vc_json_member(json, "train"), "steps"), 0);
        const char *title = vc_json_string(vc_json_member(json, "name"), NULL);
        *name = title ? vc_strdup(title) : NULL;
    }
    vc_json_destroy(&json);
    vc_str_finish(&text);
    return steps;
}

static bool put_run(VcStr *out, ServeContext *ctx, const char *name, VcErr *err)
{
    VcStr metrics = {0}, recipe = {0};
    char *title = NULL;
    bool ok = run_path(&metrics, ctx, name, "metrics.jsonl", err) && run_path(&recipe, ctx, name, "recipe.json", err);
    if (ok && access(vc_str_get(&recipe), R_OK) == 0) {
        serve_json_key(out, NULL);
        vc_str_putc(out, '{');
        serve_json_text(out, "run", name);
        serve_json_int(out, "steps", recipe_steps(vc_str_get(&recipe), &title));
        serve_json_text(out, "title", title);
        put_summary(out, vc_str_get(&metrics));
        vc_str_putc(out, '}');
    }
    free(title);
    vc_str_finish(&metrics);
    vc_str_finish(&recipe);
    return ok;
}

bool serve_get_runs(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply, VcErr *err)
{
    (void)worker;
    (void)request;
    char *folder = vc_path_join(ctx->workspace, "runs");
    char **names = NULL;
    size_t count = 0, cap = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && count < MAX_RUNS && (e = readdir(dir));) {
        if (*e->d_name == '.' || !vc_utf8_valid(e->d_name, strlen(e->d_name)) || strlen(e->d_name) > 200)
            continue;
        names = vc_grow(names, &cap, count + 1, sizeof *names);
        names[count++] = vc_strdup(e->d_name);
    }
    if (dir)
        closedir(dir);
    if (count)
        qsort(names, count, sizeof *names, by_name);
    vc_str_put(&reply->body, "{\"runs\": [");
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        ok = ok && put_run(&reply->body, ctx, names[i], err);
        free(names[i]);
    }
    vc_str_put(&reply->body, "]}\n");
    free(names);
    free(folder);
    return ok;
}

// A file of the run as JSON, or null where it is absent or not JSON.
static void put_file(VcStr *out, const char *key, const char *path, bool first_line)
{
    struct stat info;
    VcStr text = {0};
    VcJson *json = NULL;
    bool ok = read_piece(path, 0, MAX_RECIPE, &text, &info);
    size_t n = first_line && ok ? strcspn(vc_str_get(&text), "\n") : text.len;
    ok = ok && vc_json_parse(&json, vc_str_get(&text), n, path, NULL);
    serve_json_key(out, key);
    if (ok) {
        vc_str_putn(out, text.data, n);
    } else {
        vc_str_put(out, "null");
    }
    vc_json_destroy(&json);
    vc_str_finish(&text);
}

bool serve_get_run(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply, VcErr *err)
{
    (void)worker;
    const char *name = strrchr(request->path, '/') + 1;
    VcStr recipe = {0}, environment = {0};
    bool ok =
        run_path(&recipe, ctx, name, "recipe.json", err) && run_path(&environment, ctx, name, "environment.jsonl", err);
    if (ok && access(vc_str_get(&recipe), R_OK) != 0)
        ok = vc_fail(err, VC_ERR_USAGE, "there is no run '%.60s' in this workspace", name);
    if (ok) {
        VcStr *out = &reply->body;
        vc_str_putc(out, '{');
        serve_json_text(out, "run", name);
        put_file(out, "recipe", vc_str_get(&recipe), false);
        put_file(out, "environment", vc_str_get(&environment), true);
        vc_str_put(out, "}\n");
    } else {
        reply->status = 404;
    }
    vc_str_finish(&recipe);
    vc_str_finish(&environment);
    return ok;
}

// Whole lines of metrics.jsonl from byte `from` on, as an array, and the byte to ask from next time: so a page that
// watches a run gets each line once. A file that became shorter (a run begun anew) is sent from its start, `restarted`.
bool serve_get_metrics(ServeContext *ctx, ServeWorker *worker, const ServeRequest *request, ServeReply *reply,
                       VcErr *err)
{
    (void)worker;
    int64_t from;
    VcStr path = {0}, text = {0};
    struct stat info = {0};
    if (!serve_arg_int(request, "from", 0, INT64_MAX, 0, &from, err))
        return false;
    if (!run_path(&path, ctx, strrchr(request->path, '/') + 1, "metrics.jsonl", err)) {
        reply->status = 404;
        return false;
    }
    bool ok = read_piece(vc_str_get(&path), from, MAX_METRICS_PIECE, &text, &info),
         restarted = ok && info.st_size < from;
    if (restarted) {
        from = 0;
        vc_str_clear(&text);
        ok = read_piece(vc_str_get(&path), 0, MAX_METRICS_PIECE, &text, &info);
    }
    if (!ok) {
        reply->status = 404;
        vc_fail(err, VC_ERR_USAGE, "this run has no metrics yet");
    }
    VcStr *out = &reply->body;
    vc_str_put(out, "{\"lines\": [");
    size_t at = 0;
    for (size_t n; ok && at < text.len; at += n + 1) {
        n = strcspn(text.data + at, "\n");
        if (at + n >= text.len)
            break; // the end of this line is still to come
        VcJson *json = NULL;
        if (vc_json_parse(&json, text.data + at, n, "metrics", NULL)) {
            serve_json_key(out, NULL);
            vc_str_putn(out, text.data + at, n);
        }
        vc_json_destroy(&json);
    }
    vc_str_put(out, "]");
    serve_json_int(out, "next", from + (int64_t)at);
    serve_json_bool(out, "more", from + (int64_t)at < info.st_size && text.len == MAX_METRICS_PIECE);
    serve_json_bool(out, "restarted", restarted);
    vc_str_put(out, "}\n");
    vc_str_finish(&text);
    vc_str_finish(&path);
    return ok;
}
