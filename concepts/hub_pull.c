// SPDX-License-Identifier: MIT
// The hub's protocol: GET /api/models/NAME/revision/REV lists files and the commit; HEAD /NAME/resolve/COMMIT/FILE
// gives size and ETag (X-Linked-*: of the file behind a redirect, where the ETag is the file's SHA-256); GET fetches
// it.
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "concepts/hub_private.h"
#include "extract/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LISTING = 64 << 20, MAX_FILES = 100000, TRIES = 5, STALL_SECONDS = 30, MIB = 1 << 20 };

typedef struct {
    const HubPull *pull;
    HubPulled *out;
    const char *endpoint, *revision;
    ExtractClient *client;
    char *repository, *locks; // folders
    char **files;
    size_t file_count, file_cap;
    VcProgress *progress;
} Puller;

static bool truthy(const char *value)
{
    static const char *const yes[] = {"1", "ON", "YES", "TRUE"};
    for (size_t i = 0; value != NULL && i < 4; i++) {
        if (strcasecmp(value, yes[i]) == 0)
            return true;
    }
    return false;
}

static const char *token(void)
{
    const char *value = getenv("HF_TOKEN");
    return value != NULL && value[0] != '\0' ? value : NULL;
}

// Path text of a URL: all but unreserved characters and, where asked, '/' as %XX.
static void put_escaped(VcStr *out, const char *text, bool slashes)
{
    for (const char *p = text; *p != '\0'; p++) {
        const unsigned char c = (unsigned char)*p;
        const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (word || strchr("-._~", c) != NULL || (c == '/' && !slashes)) {
            vc_str_putc(out, (char)c);
        } else {
            vc_str_putf(out, "%%%02X", c);
        }
    }
}

// ---- asking, with patience ----

static bool wait_before(int attempt, VcErr *err)
{
    for (int tenth = 0; tenth < (4 << attempt); tenth++) { // 0.4 s, doubled each time
        if (vc_interrupted())
            return vc_fail(err, VC_ERR_CANCELLED, "interrupted");
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return true;
}

static bool may_heal(const ExtractReply *reply)
{
    return reply->status == 429 || reply->status >= 500;
}

static bool refused(const Puller *p, const char *what, const ExtractReply *reply, VcErr *err)
{
    const char *why = reply->message != NULL ? reply->message : "no reason given";
    if (reply->status == 401 || reply->status == 403) {
        return vc_fail(err, VC_ERR_NET,
                       "'%s': the hub refuses '%s' (HTTP %ld: %s): the model does not exist, is private or wants its "
                       "terms accepted; %s",
                       p->pull->name, what, reply->status, why,
                       token() != NULL ? "HF_TOKEN was sent" : "set HF_TOKEN to your access token");
    }
    return vc_fail(err, VC_ERR_NET, "'%s': the hub answers '%s' with HTTP %ld (%s)", p->pull->name, what, reply->status,
                   why);
}

// A request tried again while it may heal. The answer may be any other status.
static bool ask(Puller *p, const ExtractRequest *request, ExtractReply *reply, VcErr *err)
{
    for (int attempt = 0;; attempt++) {
        VcErr failure = {0};
        const bool ok = extract_request(p->client, request, reply, &failure);
        if (ok && !may_heal(reply))
            return true;
        if (ok && attempt + 1 >= TRIES)
            return true;
        if (ok)
            extract_reply_finish(reply);
        if (!ok && (failure.code != VC_ERR_NET || attempt + 1 >= TRIES))
            return vc_fail(err, failure.code, "%s", failure.text);
        if (!wait_before(attempt, err))
            return false;
    }
}

// ---- the list of files ----

static bool take_text(void *ctx, const void *data, size_t n, uint64_t at, VcErr *err)
{
    VcStr *text = ctx;
    if (at == 0)
        vc_str_clear(text);
    if (text->len + n > MAX_LISTING)
        return vc_fail(err, VC_ERR_LIMIT, "the hub's list of files is over %d bytes", MAX_LISTING);
    vc_str_putn(text, data, n);
    return true;
}

// A path that stays in its folder.
static bool safe_path(const char *path)
{
    if (path[0] == '\0' || strlen(path) > 1000)
        return false;
    for (const char *part = path; part != NULL; part = strchr(part, '/') != NULL ? strchr(part, '/') + 1 : NULL) {
        const size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.') || n > 255)
            return false;
    }
    return strchr(path, '\\') == NULL;
}

// A name for a file in the cache: of a commit or an ETag.
static bool safe_name(const char *name)
{
    const size_t n = strlen(name);
    return n > 0 && n < 128 && strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == n;
}

static bool add_files(Puller *p, const VcJson *list, const char *key, VcErr *err)
{
    for (size_t i = 0; i < vc_json_length(list); i++) {
        const VcJson *entry = vc_json_item(list, i);
        const char *type = vc_json_string(vc_json_member(entry, "type"), NULL);
        if (type != NULL && strcmp(type, "file") != 0)
            continue;
        size_t n = 0;
        const char *name = vc_json_string(vc_json_member(entry, key), &n);
        if (name == NULL || strlen(name) != n || !safe_path(name) || i >= MAX_FILES) {
            return vc_fail(err, VC_ERR_FORMAT, "the hub lists a file '%.200s': that is no path inside a model",
                           name != NULL ? name : "");
        }
        p->files = vc_grow(p->files, &p->file_cap, p->file_count + 1, sizeof *p->files);
        p->files[p->file_count++] = vc_strdup(name);
    }
    return true;
}

static bool read_listing(Puller *p, const VcStr *text, VcErr *err)
{
    VcJson *json = NULL;
    const char *commit = NULL;
    if (!vc_json_parse(&json, vc_str_get(text), text->len, "the hub's list of files", err))
        return false;
    bool ok = vc_json_get_string(json, "sha", &commit, "the hub's list of files", err);
    if (ok && !safe_name(commit))
        ok = vc_fail(err, VC_ERR_FORMAT, "the hub gives '%.100s' as a commit", commit);
    if (ok)
        snprintf(p->out->commit, sizeof p->out->commit, "%s", commit);
    ok = ok && add_files(p, vc_json_member(json, "siblings"), "rfilename", err);
    vc_json_destroy(&json);
    return ok;
}

// The listing as an array with sizes, which has them all where the other leaves them out.
static bool read_tree(Puller *p, const VcStr *text, VcErr *err)
{
    VcJson *json = NULL;
    if (!vc_json_parse(&json, vc_str_get(text), text->len, "the hub's list of files", err))
        return false;
    const bool ok = add_files(p, json, "path", err);
    vc_json_destroy(&json);
    return ok;
}

static bool ask_listing(Puller *p, const char *kind, const char *revision, const char *options,
                        bool (*read)(Puller *, const VcStr *, VcErr *), VcErr *err)
{
    VcStr url = {0}, text = {0};
    vc_str_putf(&url, "%s/api/models/%s/%s/", p->endpoint, p->pull->name, kind);
    put_escaped(&url, revision, true);
    vc_str_put(&url, options);
    ExtractRequest request = {.url = url.data, .token = token(), .take = take_text, .ctx = &text};
    ExtractReply reply;
    bool ok = ask(p, &request, &reply, err);
    if (ok && reply.status == 404) {
        ok = vc_fail(err, VC_ERR_NET, "the hub at '%s' has no model '%s' with revision '%s' (HTTP 404: %s)",
                     p->endpoint, p->pull->name, revision, reply.message != NULL ? reply.message : "not found");
    } else if (ok && reply.status != 200) {
        ok = refused(p, "list of files", &reply, err);
    }
    extract_reply_finish(&reply);
    ok = ok && read(p, &text, err);
    vc_str_finish(&url);
    vc_str_finish(&text);
    return ok;
}

static bool list_files(Puller *p, VcErr *err)
{
    if (!ask_listing(p, "revision", p->revision, "", read_listing, err))
        return false;
    if (p->file_count == 0 && !ask_listing(p, "tree", p->out->commit, "?recursive=true", read_tree, err))
        return false;
    return p->file_count > 0 ||
           vc_fail(err, VC_ERR_FORMAT, "'%s' has no files at revision '%s'", p->pull->name, p->revision);
}

// ---- which of them ----

static bool matches(const char *const *patterns, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (fnmatch(patterns[i], path, 0) == 0)
            return true;
    }
    return false;
}

static bool any_matches(const Puller *p, const char *pattern)
{
    for (size_t i = 0; i < p->file_count; i++) {
        if (strchr(p->files[i], '/') == NULL && fnmatch(pattern, p->files[i], 0) == 0)
            return true;
    }
    return false;
}

// The weights to take where several forms are offered: the first of these that is there.
static const char *weight_pattern(const Puller *p)
{
    static const char *const forms[] = {"model*.safetensors",
                                        "open_clip_model*.safetensors",
                                        "*.safetensors",
                                        "pytorch_model*.bin",
                                        "open_clip_pytorch_model*.bin",
                                        "*.pth",
                                        "*.pt",
                                        "*.bin"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (any_matches(p, forms[i]))
            return forms[i];
    }
    return "";
}

static bool is_wanted(const Puller *p, const char *path, const char *weights)
{
    const HubPull *o = p->pull;
    if (matches(o->exclude, o->exclude_count, path))
        return false;
    if (o->include_count > 0)
        return matches(o->include, o->include_count, path);
    if (strchr(path, '/') != NULL)
        return false;
    if (vc_has_suffix(path, ".index.json")) { // of the form that is taken
        char *file = vc_strndup(path, strlen(path) - strlen(".index.json"));
        const bool ours = weights[0] != '\0' && vc_has_suffix(file, strrchr(weights, '.'));
        free(file);
        return ours;
    }
    return vc_has_suffix(path, ".json") || vc_has_suffix(path, ".txt") || vc_has_suffix(path, ".model") ||
           fnmatch(weights, path, 0) == 0;
}

static bool choose(Puller *p, VcErr *err)
{
    const char *weights = weight_pattern(p);
    size_t kept = 0;
    for (size_t i = 0; i < p->file_count; i++) {
        if (is_wanted(p, p->files[i], weights)) {
            p->files[kept++] = p->files[i];
        } else {
            free(p->files[i]);
        }
    }
    p->file_count = kept;
    return kept > 0 || vc_fail(err, VC_ERR_USAGE, "'%s': none of its files is asked for", p->pull->name);
}

// ---- one file ----

typedef struct {
    Puller *p;
    int fd;
    const char *path;
    int64_t size; // -1: unknown
    uint64_t end, shown;
} Sink;

static bool take_piece(void *ctx, const void *data, size_t n, uint64_t at, VcErr *err)
{
    Sink *s = ctx;
    if (s->size >= 0 && (at > (uint64_t)s->size || n > (uint64_t)s->size - at)) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is longer than the %lld bytes the hub has announced", s->path,
                       (long long)s->size);
    }
    if (at == 0 && s->end > 0 && ftruncate(s->fd, 0) != 0)
        return vc_fail_errno(err, "cannot write '%s'", s->path);
    if (lseek(s->fd, (off_t)at, SEEK_SET) < 0)
        return vc_fail_errno(err, "cannot write '%s'", s->path);
    if (!vc_full_write(s->fd, data, n, s->path, err))
        return false;
    s->end = at + n;
    s->p->out->bytes += n;
    const uint64_t mib = s->end / MIB;
    if (mib > s->shown) {
        vc_progress_add(s->p->progress, mib - s->shown, 0);
        s->shown = mib;
    }
    return true;
}

static bool is_sha256(const char *etag)
{
    return strlen(etag) == 64 && strspn(etag, "0123456789abcdef") == 64;
}

static bool hash_file(int fd, const char *path, char hex[65], VcErr *err)
{
    VcSha256 *sha = vc_sha256_begin();
    uint8_t *block = vc_alloc(MIB, 1), digest[32];
    off_t at = 0;
    ssize_t n;
    while ((n = pread(fd, block, MIB, at)) > 0) {
        vc_sha256_add(sha, block, (size_t)n);
        at += n;
    }
    vc_sha256_end(&sha, digest);
    vc_hex(digest, sizeof digest, hex);
    free(block);
    return n == 0 || vc_fail_errno(err, "cannot read '%s'", path);
}

// What has come is as long as announced and, where that is known, has the announced hash.
static bool verify(const Sink *s, const char *etag, bool *wrong, VcErr *err)
{
    struct stat st;
    *wrong = false;
    if (fstat(s->fd, &st) != 0)
        return vc_fail_errno(err, "cannot read '%s'", s->path);
    if (s->size >= 0 && st.st_size != s->size) {
        return vc_fail(err, VC_ERR_NET, "'%s' ended after %lld of %lld bytes", s->path, (long long)st.st_size,
                       (long long)s->size);
    }
    char hex[65];
    if (!is_sha256(etag))
        return true;
    if (!hash_file(s->fd, s->path, hex, err))
        return false;
    *wrong = strcmp(hex, etag) != 0;
    return !*wrong || vc_fail(err, VC_ERR_FORMAT, "'%s' has SHA-256 %s, the hub says %s", s->path, hex, etag);
}

typedef enum { TRY_DONE, TRY_AGAIN, TRY_OVER } Try;

// Asks for what is missing of the file and checks the whole.
static Try one_try(Sink *s, const char *url, const char *etag, int attempt, VcErr *err)
{
    Puller *p = s->p;
    struct stat st;
    if (fstat(s->fd, &st) != 0 || (s->size >= 0 && st.st_size > s->size && ftruncate(s->fd, 0) != 0) ||
        fstat(s->fd, &st) != 0) {
        vc_fail_errno(err, "cannot write '%s'", s->path);
        return TRY_OVER;
    }
    s->end = (uint64_t)st.st_size;
    if (s->size < 0 || st.st_size < s->size) {
        ExtractRequest request = {.url = url, .token = token(), .from = s->end, .take = take_piece, .ctx = s};
        ExtractReply reply;
        if (!extract_request(p->client, &request, &reply, err))
            return err->code == VC_ERR_NET ? TRY_AGAIN : TRY_OVER;
        const long status = reply.status;
        const bool again = may_heal(&reply) || (status == 416 && s->end > 0);
        if (status != 200 && status != 206)
            refused(p, url, &reply, err);
        extract_reply_finish(&reply);
        if (status == 416 && ftruncate(s->fd, 0) != 0) { // what is there is no beginning of the file
            vc_fail_errno(err, "cannot write '%s'", s->path);
            return TRY_OVER;
        }
        if (status != 200 && status != 206)
            return again ? TRY_AGAIN : TRY_OVER;
    }
    bool wrong;
    if (verify(s, etag, &wrong, err))
        return TRY_DONE;
    if (!wrong)
        return err->code == VC_ERR_NET ? TRY_AGAIN : TRY_OVER;
    // A wrong beginning, left by somebody else, or a wrong file: from the start, once.
    return ftruncate(s->fd, 0) == 0 && attempt == 0 ? TRY_AGAIN : TRY_OVER;
}

// Fetches into blobs/ETAG.incomplete and gives it its name. The lock is held.
static bool fetch_blob(Puller *p, const char *url, const char *blob, const char *etag, int64_t size, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s.incomplete", blob);
    Sink s = {.p = p, .path = path.data, .size = size};
    struct stat st = {0};
    s.fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    bool ok = (s.fd >= 0 && fstat(s.fd, &st) == 0) || vc_fail_errno(err, "cannot write '%s'", path.data);
    Try state = ok ? TRY_AGAIN : TRY_OVER;
    p->out->resumed += (uint64_t)st.st_size;
    for (int attempt = 0; state == TRY_AGAIN; attempt++) {
        VcErr failure = {0};
        state = one_try(&s, url, etag, attempt, &failure);
        if (state == TRY_AGAIN && attempt + 1 >= TRIES)
            state = TRY_OVER;
        if (state == TRY_OVER)
            ok = vc_fail(err, failure.code, "%s", failure.text);
        if (state == TRY_AGAIN && !wait_before(attempt, err)) {
            ok = false;
            state = TRY_OVER;
        }
    }
    ok = ok && vc_sync_file(s.fd, path.data, err);
    if (s.fd >= 0)
        close(s.fd);
    if (ok && rename(path.data, blob) != 0)
        ok = vc_fail_errno(err, "cannot rename '%s' to '%s'", path.data, blob);
    ok = ok && vc_sync_parent(blob, err);
    vc_str_finish(&path);
    return ok;
}

// Waits for the lock of a blob, as huggingface_hub takes it. Returns its descriptor, -1 on failure.
static int lock_blob(const Puller *p, const char *etag, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s.lock", p->locks, etag);
    int fd = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    bool told = false;
    if (fd < 0)
        vc_fail_errno(err, "cannot open '%s'", path.data);
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            vc_fail_errno(err, "cannot lock '%s'", path.data);
            close(fd);
            fd = -1;
        } else if (vc_interrupted()) {
            vc_fail(err, VC_ERR_CANCELLED, "interrupted while another process fetches the same file");
            close(fd);
            fd = -1;
        } else {
            if (!told)
                vc_info("another process fetches the same file: waiting");
            told = true;
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        }
    }
    vc_str_finish(&path);
    return fd;
}

// snapshots/COMMIT/FILE -> ../../blobs/ETAG
static bool link_blob(const char *link, const char *file, const char *etag, VcErr *err)
{
    VcStr target = {0}, tmp = {0};
    vc_str_put(&target, "../../");
    for (const char *c = file; *c != '\0'; c++) {
        if (*c == '/')
            vc_str_put(&target, "../");
    }
    vc_str_putf(&target, "blobs/%s", etag);
    vc_str_putf(&tmp, "%s.%ld.tmp", link, (long)getpid());
    char *dir = vc_strndup(link, (size_t)(vc_path_base(link) - link));
    bool ok = vc_make_dirs(dir, err);
    if (ok && (symlink(target.data, tmp.data) != 0 || rename(tmp.data, link) != 0)) {
        ok = vc_fail_errno(err, "cannot link '%s'", link);
        unlink(tmp.data);
    }
    free(dir);
    vc_str_finish(&target);
    vc_str_finish(&tmp);
    return ok;
}

static bool whole(const char *path, int64_t size)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (size < 0 || st.st_size == size);
}

static bool pull_blob(Puller *p, const char *file, const char *url, const char *link, VcErr *err)
{
    ExtractReply head;
    if (!ask(p, &(ExtractRequest){.url = url, .token = token(), .head = true}, &head, err))
        return false;
    const char *etag = head.linked_etag != NULL ? head.linked_etag : head.etag;
    const int64_t size = head.linked_etag != NULL ? head.linked_size : head.length;
    char *blob = NULL;
    int lock = -1;
    bool ok = (head.status >= 200 && head.status < 400) || refused(p, url, &head, err);
    if (ok && (etag == NULL || !safe_name(etag)))
        ok = vc_fail(err, VC_ERR_NET, "'%s' has no usable ETag: is '%s' a model hub?", url, p->endpoint);
    if (ok) {
        VcStr path = {0};
        vc_str_putf(&path, "%s/blobs/%s", p->repository, etag);
        blob = path.data;
        lock = lock_blob(p, etag, err);
        ok = lock >= 0;
    }
    if (ok && !whole(blob, size)) {
        p->out->fetched++;
        ok = fetch_blob(p, url, blob, etag, size, err) ||
             vc_prefix(err, "cannot fetch '%s' of '%s'", file, p->pull->name);
    }
    ok = ok && link_blob(link, file, etag, err);
    if (lock >= 0)
        close(lock);
    free(blob);
    extract_reply_finish(&head);
    return ok;
}

static bool pull_file(Puller *p, const char *file, VcErr *err)
{
    VcStr url = {0}, link = {0};
    vc_str_putf(&link, "%s/snapshots/%s/%s", p->repository, p->out->commit, file);
    vc_str_putf(&url, "%s/%s/resolve/%s/", p->endpoint, p->pull->name, p->out->commit);
    put_escaped(&url, file, false);
    const bool ok = whole(link.data, -1) || pull_blob(p, file, url.data, link.data, err); // a commit does not change
    p->out->files += ok;
    vc_str_finish(&url);
    vc_str_finish(&link);
    return ok;
}

// ---- all of them ----

static bool make_folders(Puller *p, VcErr *err)
{
    VcStr cache = {0}, folder = {0};
    hub_cache(&cache);
    hub_folder_name(&folder, p->pull->name);
    VcStr repository = {0}, locks = {0}, blobs = {0};
    vc_str_putf(&repository, "%s/%s", cache.data, folder.data);
    vc_str_putf(&locks, "%s/.locks/%s", cache.data, folder.data);
    vc_str_putf(&blobs, "%s/blobs", repository.data);
    p->repository = repository.data;
    p->locks = locks.data;
    const bool ok = vc_make_dirs(blobs.data, err) && vc_make_dirs(locks.data, err);
    vc_str_finish(&blobs);
    vc_str_finish(&cache);
    vc_str_finish(&folder);
    return ok;
}

// Others may write the same ref at the same time: each under a name of its own, then renamed.
static bool write_ref(const Puller *p, VcErr *err)
{
    if (strcmp(p->revision, p->out->commit) == 0)
        return true;
    VcStr path = {0}, tmp = {0};
    vc_str_putf(&path, "%s/refs/%s", p->repository, p->revision);
    vc_str_putf(&tmp, "%s.%ld", path.data, (long)getpid());
    char *dir = vc_strndup(path.data, (size_t)(vc_path_base(path.data) - path.data));
    bool ok = vc_make_dirs(dir, err) && vc_write_file(tmp.data, p->out->commit, strlen(p->out->commit), err);
    if (ok && rename(tmp.data, path.data) != 0)
        ok = vc_fail_errno(err, "cannot rename '%s' to '%s'", tmp.data, path.data);
    free(dir);
    vc_str_finish(&path);
    vc_str_finish(&tmp);
    return ok;
}

static bool from_cache(Puller *p, VcErr *err)
{
    VcStr repository = {0};
    hub_cache(&repository);
    vc_str_putc(&repository, '/');
    hub_folder_name(&repository, p->pull->name);
    p->out->dir = hub_snapshot(repository.data, p->revision);
    if (p->out->dir != NULL) {
        snprintf(p->out->commit, sizeof p->out->commit, "%s", vc_path_base(p->out->dir));
    } else {
        vc_fail(err, VC_ERR_NET, "HF_HUB_OFFLINE is set, and '%s' has no snapshot of revision '%s'", repository.data,
                p->revision);
    }
    vc_str_finish(&repository);
    return p->out->dir != NULL;
}

static bool from_hub(Puller *p, VcErr *err)
{
    p->client = extract_client_create("vicha/" VICHA_VERSION, STALL_SECONDS);
    bool ok = list_files(p, err) && choose(p, err) && make_folders(p, err);
    if (ok)
        p->progress = vc_progress_begin("pull", "MiB", 0);
    for (size_t i = 0; ok && i < p->file_count; i++) {
        vc_progress_note(p->progress, p->files[i]);
        ok = pull_file(p, p->files[i], err);
    }
    vc_progress_end(&p->progress);
    ok = ok && write_ref(p, err);
    if (ok) {
        VcStr dir = {0};
        vc_str_putf(&dir, "%s/snapshots/%s", p->repository, p->out->commit);
        p->out->dir = dir.data;
    }
    extract_client_destroy(&p->client);
    return ok;
}

bool hub_pull(const HubPull *pull, HubPulled *out, VcErr *err)
{
    const char *endpoint = getenv("HF_ENDPOINT");
    *out = (HubPulled){0};
    if (!hub_name_valid(pull->name)) {
        return vc_fail(err, VC_ERR_USAGE, "'%s' is no name of a model on the hub: expected ORGANISATION/MODEL",
                       pull->name);
    }
    if (pull->revision != NULL && !safe_path(pull->revision))
        return vc_fail(err, VC_ERR_USAGE, "'%s' is no revision", pull->revision);
    char *base = vc_strdup(endpoint != NULL && endpoint[0] != '\0' ? endpoint : "https://huggingface.co");
    while (base[0] != '\0' && base[strlen(base) - 1] == '/')
        base[strlen(base) - 1] = '\0';
    Puller p = {
        .pull = pull, .out = out, .endpoint = base, .revision = pull->revision != NULL ? pull->revision : "main"};
    const bool ok = truthy(getenv("HF_HUB_OFFLINE")) ? from_cache(&p, err) : from_hub(&p, err);
    for (size_t i = 0; i < p.file_count; i++)
        free(p.files[i]);
    free(p.files);
    free(p.repository);
    free(p.locks);
    free(base);
    if (!ok)
        hub_pulled_finish(out);
    return ok;
}

void hub_pulled_finish(HubPulled *pulled)
{
    free(pulled->dir);
    pulled->dir = NULL;
}
