// SPDX-License-Identifier: MIT
#include "extract/sandbox.h"

#include "base/clock.h"
#include "base/mem.h"
#include "extract/image.h"
#include "extract/sniff.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Both ends are the same program: structs travel as they are. Pointers in them mean nothing to the other end.
typedef struct {
    ExtractThumbnailOptions options;
    uint64_t bytes; // follow
} Request;

typedef struct {
    ExtractCause cause;
    char mime[32]; // "" for none
    VcErr err;
    ExtractThumbnail thumbnail; // thumbnail.bytes of JPEG follow
} Reply;

struct ExtractSandbox {
    ExtractSandboxOptions options;
    const ExtractThumbnailOptions *thumbnail;
    pid_t pid; // 0: none
    int fd;
};

void extract_sandbox_options_init(ExtractSandboxOptions *options)
{
    *options = (ExtractSandboxOptions){.memory = 3ULL << 29, .seconds = 30};
}

// --- moving bytes

// All n bytes before the time `until` (vc_now; 0: no limit). False on an end, an error, or time: *late tells which.
static bool move(int fd, void *data, size_t n, bool out, double until, bool *late)
{
    *late = false;
    for (uint8_t *p = data; n > 0;) {
        const double left = until > 0 ? until - vc_now() : 1;
        struct pollfd wait = {.fd = fd, .events = out ? POLLOUT : POLLIN};
        const int ready = left > 0 ? poll(&wait, 1, until > 0 ? (int)(left * 1e3) + 1 : -1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0) {
            *late = true;
            return false;
        }
        const ssize_t moved = ready < 0 ? -1 : out ? send(fd, p, n, MSG_NOSIGNAL) : recv(fd, p, n, 0);
        if (moved < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (moved <= 0)
            return false;
        p += moved;
        n -= (size_t)moved;
    }
    return true;
}

// --- our side

// What the process may know of our environment.
static char **small_environment(void)
{
    static const char *const names[] = {"VC_CPU", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                                        "MALLOC_PERTURB_"};
    enum { COUNT = sizeof names / sizeof *names };
    char **env = vc_calloc(COUNT + 1, sizeof *env);
    size_t at = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const char *value = getenv(names[i]);
        if (!value)
            continue;
        const size_t n = strlen(names[i]) + strlen(value) + 2;
        env[at] = vc_alloc(n, 1);
        snprintf(env[at++], n, "%s=%s", names[i], value);
    }
    return env;
}

// The socket as standard input, nothing else; a process group of its own, so that Ctrl-C is not for it.
static int spawn(pid_t *pid, const char *program, int socket)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, socket, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    char name[] = "vicha", word[] = EXTRACT_SANDBOX_WORD, *argv[] = {name, word, NULL}, **env = small_environment();
    const int failed = posix_spawn(pid, program, &files, &attributes, argv, env);
    for (char **e = env; *e; e++)
        free(*e);
    free(env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

static void end_process(ExtractSandbox *s)
{
    if (s->pid == 0)
        return;
    close(s->fd);
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    s->pid = 0;
}

static bool begin_process(ExtractSandbox *s, VcErr *err)
{
    const char *program = s->options.program ? s->options.program : "/proc/self/exe";
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return vc_fail_errno(err, "cannot make a socket for a decoder's process");
    const int failed = spawn(&s->pid, program, ends[1]);
    close(ends[1]);
    if (failed) {
        s->pid = 0;
        close(ends[0]);
        errno = failed;
        return vc_fail_errno(err, "cannot start '%s' as a decoder's process", program);
    }
    s->fd = ends[0];
    const struct rlimit memory = {s->options.memory, s->options.memory};
    prlimit(s->pid, RLIMIT_AS, &memory, NULL);
    uint8_t ready;
    bool late;
    if (move(s->fd, &ready, 1, false, vc_now() + s->options.seconds, &late))
        return true;
    end_process(s);
    return vc_fail(err, VC_ERR_IO, "a decoder's process %s; try without --sandbox",
                   late ? "does not start" : "ended before it was ready");
}

bool extract_sandbox_start(ExtractSandbox **out, const ExtractSandboxOptions *options,
                           const ExtractThumbnailOptions *thumbnail, VcErr *err)
{
    ExtractSandbox *s = vc_calloc(1, sizeof *s);
    s->options = *options;
    s->thumbnail = thumbnail;
    if (begin_process(s, err)) {
        *out = s;
    } else {
        free(s);
    }
    return *out == s;
}

static bool exchange(ExtractSandbox *s, Reply *reply, const uint8_t *bytes, size_t n, bool *late)
{
    Request request = {.options = *s->thumbnail, .bytes = n};
    const double until = vc_now() + s->options.seconds;
    *late = false;
    if (!move(s->fd, &request, sizeof request, true, until, late) ||
        !move(s->fd, (void *)(uintptr_t)bytes, n, true, until, late) ||
        !move(s->fd, reply, sizeof *reply, false, until, late))
        return false;
    // The other end may be in anybody's hands by now: its sizes are checked like those of a file.
    ExtractThumbnail *t = &reply->thumbnail;
    t->jpeg = NULL;
    t->mime = NULL;
    if (reply->cause != EXTRACT_OK)
        return true;
    if (t->bytes == 0 || t->bytes > 1u << 30 || t->width < 1 || t->height < 1 || t->original_width < 1 ||
        t->original_height < 1)
        return false;
    t->jpeg = vc_alloc(t->bytes, 1);
    if (move(s->fd, t->jpeg, t->bytes, false, until, late))
        return true;
    free(t->jpeg);
    return false;
}

ExtractCause extract_sandbox_thumbnail(ExtractSandbox *s, ExtractThumbnail *out, const uint8_t *bytes, size_t n,
                                       VcErr *err)
{
    *out = (ExtractThumbnail){0};
    if (s->pid == 0 && !begin_process(s, err))
        return EXTRACT_CRASHED;
    Reply reply = {0};
    bool late;
    if (!exchange(s, &reply, bytes, n, &late)) {
        end_process(s);
        vc_fail(err, VC_ERR_FORMAT, "the decoder's process %s", late ? "did not answer in time" : "died of this image");
        return late ? EXTRACT_TOO_SLOW : EXTRACT_CRASHED;
    }
    *out = reply.thumbnail;
    reply.mime[sizeof reply.mime - 1] = '\0';
    out->mime = extract_format_mime(reply.mime);
    if (reply.cause != EXTRACT_OK && strcmp(extract_cause_name(reply.cause), "unknown") == 0)
        reply.cause = EXTRACT_CRASHED;
    if (reply.cause != EXTRACT_OK) {
        reply.err.text[sizeof reply.err.text - 1] = '\0';
        vc_fail(err, VC_ERR_FORMAT, "%s", reply.err.text);
    }
    return reply.cause;
}

pid_t extract_sandbox_pid(const ExtractSandbox *s)
{
    return s->pid;
}

void extract_sandbox_stop(ExtractSandbox **sandbox)
{
    if (!sandbox || !*sandbox)
        return;
    end_process(*sandbox);
    free(*sandbox);
    *sandbox = NULL;
}

// --- the process

static bool answer(const Request *request, const uint8_t *bytes)
{
    Reply reply = {0};
    ExtractThumbnail *t = &reply.thumbnail;
    reply.cause = extract_thumbnail(t, bytes, (size_t)request->bytes, &request->options, &reply.err);
    snprintf(reply.mime, sizeof reply.mime, "%s", t->mime ? t->mime : "");
    bool late;
    const bool ok = move(0, &reply, sizeof reply, true, 0, &late) &&
                    (reply.cause != EXTRACT_OK || move(0, t->jpeg, t->bytes, true, 0, &late));
    free(t->jpeg);
    return ok;
}

int extract_sandbox_main(void)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &none);
    if (!extract_image_init(NULL))
        return 1;
    extract_sandbox_lock();
    uint8_t ready = 1;
    bool late;
    if (!move(0, &ready, 1, true, 0, &late))
        return 1;
    Request request;
    while (move(0, &request, sizeof request, false, 0, &late)) {
        uint8_t *bytes = vc_alloc(request.bytes ? (size_t)request.bytes : 1, 1);
        const bool ok = move(0, bytes, (size_t)request.bytes, false, 0, &late) && answer(&request, bytes);
        free(bytes);
        if (!ok)
            return 1;
    }
    return 0;
}
