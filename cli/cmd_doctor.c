// SPDX-License-Identifier: MIT
// vicha doctor: what this machine computes with, whether it is right and fast, and what to mend.
//
// Speed is measured in a child process (vicha bench gemm), because OpenBLAS reads its variables when it is loaded: only
// a new process can tell what another setting would give. A crash of the child is a finding, not the end of us.
#include "base/cpu.h"
#include "base/db.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "extract/extract.h"
#include "nn/nn.h"
#include "query/query.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const CliHelp help = {
    .name = "doctor",
    .summary = "check processor, BLAS, libraries and disk",
    .usage = "[options]",
    .details =
        "Prints a line a check: 'ok', 'advice' (it works, and could be better) or 'wrong', and what to do. Nothing is\n"
        "changed. Takes a few seconds, most of them to measure matrix products. With --json: \"check\", \"state\", "
        "\"text\",\n\"mend\" and the check's figures, an object a line. The exit status is 1 when something is wrong.\n"
        "Of the machine: instructions that are missing, clock, a hypervisor and what its other guests take, memory,\n"
        "a BLAS held to slow kernels.\n"
        "Where -w DIR is a workspace, it is read from end to end: database, shards, vectors, concepts, posting lists.",
    .example = "  vicha doctor -w DIR",
};

// Versions of the libraries in use. A folder that has one home for a library adds its row.
static const struct {
    const char *name;
    const char *(*version)(void);
} libraries[] = {
    {"SQLite", vc_db_library_version}, {"jansson", vc_json_library_version}, {"libvips", extract_vips_version},
    {"libcurl", extract_curl_version}, {"HTTP/2", extract_curl_http2},       {"libarchive", extract_archive_version},
};

typedef enum { OK, ADVICE, WRONG } State;

typedef struct {
    bool json;
    bool wrong;
    size_t threads;
} Doctor;

// One line. mend may be NULL; extra: JSON members beginning with ", ", or NULL.
static void say(Doctor *d, State state, const char *check, const char *text, const char *mend, const char *extra)
{
    static const char *const states[] = {"ok", "advice", "wrong"};
    d->wrong |= state == WRONG;
    if (!d->json) {
        printf("%-7s %-10s %s\n", states[state], check, text);
        if (mend != NULL)
            printf("%-7s %-10s -> %s\n", "", "", mend);
        fflush(stdout);
        return;
    }
    VcStr line = {0};
    vc_str_putf(&line, "{\"check\": \"%s\", \"state\": \"%s\", \"text\": ", check, states[state]);
    vc_str_put_json(&line, text, strlen(text), false);
    vc_str_put(&line, ", \"mend\": ");
    if (mend != NULL) {
        vc_str_put_json(&line, mend, strlen(mend), false);
    } else {
        vc_str_put(&line, "null");
    }
    vc_str_put(&line, extra != NULL ? extra : "");
    printf("%s}\n", line.data);
    fflush(stdout);
    vc_str_finish(&line);
}

// "text" of a member for `extra`: , "key": "value"
static void put_member(VcStr *extra, const char *key, const char *value)
{
    vc_str_putf(extra, ", \"%s\": ", key);
    if (value != NULL) {
        vc_str_put_json(extra, value, strlen(value), false);
    } else {
        vc_str_put(extra, "null");
    }
}

// ---- processor -----------------------------------------------------------------------------------------------------

static void processor_name(char *out, size_t size)
{
    snprintf(out, size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "re");
    if (f == NULL)
        return;
    char line[300];
    while (fgets(line, sizeof line, f) != NULL) {
        const char *value = strstr(line, ": ");
        if (vc_has_prefix(line, "model name") && value != NULL) {
            snprintf(out, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
            break;
        }
    }
    fclose(f);
}

static void check_processor(Doctor *d)
{
    char name[200], flags[64];
    processor_name(name, sizeof name);
    vc_cpu_describe(vc_cpu_flags(), flags);
    const NnKernels *k = nn_kernels();
    const char *mask = getenv("VC_CPU");
    VcStr text = {0}, extra = {0};
    vc_str_putf(&text, "%s, %zu threads here; instruction sets: %s", name, vc_cpu_count(), flags);
    if (mask != NULL)
        vc_str_putf(&text, " (masked by VC_CPU=%s)", mask);
    put_member(&extra, "flags", flags);
    vc_str_putf(&extra, ", \"processors\": %zu", vc_cpu_count());
    const bool masked = mask != NULL && strcmp(mask, "all") != 0;
    say(d, masked ? ADVICE : OK, "processor", text.data, masked ? "unset VC_CPU to use all the processor has" : NULL,
        extra.data);
    vc_str_clear(&text);
    vc_str_clear(&extra);
    put_member(&extra, "level", k->name);
    VcErr err = {0};
    if (nn_kernels_check(k, &err)) {
        vc_str_putf(&text, "vector kernels of level '%s', right against the C reference", k->name);
        say(d, OK, "kernels", text.data, NULL, extra.data);
    } else {
        say(d, WRONG, "kernels", err.text, "set VC_CPU=avx2 or VC_CPU=none, and report it", extra.data);
    }
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

// ---- BLAS ----------------------------------------------------------------------------------------------------------

// Files of /proc/self/maps that look like a BLAS, each once, separated by spaces.
static void mapped_blas(VcStr *out)
{
    FILE *f = fopen("/proc/self/maps", "re");
    if (f == NULL)
        return;
    char line[700];
    while (fgets(line, sizeof line, f) != NULL) {
        char *path = strchr(line, '/');
        if (path == NULL)
            continue;
        path[strcspn(path, "\n")] = 0;
        const char *name = vc_path_base(path);
        const bool blas =
            strstr(name, "blas") != NULL || strstr(name, "libmkl") != NULL || strstr(name, "libblis") != NULL;
        if (blas && (out->data == NULL || strstr(out->data, path) == NULL))
            vc_str_putf(out, "%s%s", out->len > 0 ? " " : "", path);
    }
    fclose(f);
}

static bool check_blas(Doctor *d)
{
    NnBlasInfo info;
    nn_blas_info(&info);
    VcStr text = {0}, extra = {0}, mapped = {0};
    mapped_blas(&mapped);
    vc_str_putf(&text, "%s; core type %s, threading %s (%d at start); mapped: %s", info.config, info.corename,
                info.threading, info.threads, vc_str_get(&mapped));
    put_member(&extra, "config", info.config);
    put_member(&extra, "corename", info.corename);
    put_member(&extra, "threading", info.threading);
    vc_str_putf(&extra, ", \"threads_at_start\": %d", info.threads);
    put_member(&extra, "file", info.file);
    put_member(&extra, "mapped", vc_str_get(&mapped));
    say(d, OK, "blas", text.data, NULL, extra.data);
    VcErr err = {0};
    const bool ok = nn_blas_check(&err);
    const char *mend = info.env_coretype != NULL      ? "unset OPENBLAS_CORETYPE"
                       : getenv("LD_PRELOAD") != NULL ? "unset LD_PRELOAD"
                                                      : "install another OpenBLAS: on Debian libopenblas0-pthread";
    if (ok) {
        say(d, OK, "products", "matrix products are right against plain C, in every transpose", NULL, NULL);
    } else {
        say(d, WRONG, "products", err.text, mend, NULL);
    }
    vc_str_finish(&text);
    vc_str_finish(&extra);
    vc_str_finish(&mapped);
    return ok;
}

// What `vicha bench gemm` says: one thread and all.
typedef struct {
    double one, all; // GFLOP/s
    char corename[40];
} Speed;

// The environment with OPENBLAS_CORETYPE as it is (coretype NULL), without it ("") or set. Freed by the caller with
// what it holds in *set.
static char **environment(const char *coretype, char **set)
{
    size_t n = 0;
    while (environ[n] != NULL)
        n++;
    char **env = vc_alloc(n + 2, sizeof *env);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (coretype == NULL || !vc_has_prefix(environ[i], "OPENBLAS_CORETYPE="))
            env[kept++] = environ[i];
    }
    *set = NULL;
    if (coretype != NULL && coretype[0] != 0) {
        VcStr entry = {0};
        vc_str_putf(&entry, "OPENBLAS_CORETYPE=%s", coretype);
        env[kept++] = *set = entry.data;
    }
    env[kept] = NULL;
    return env;
}

static void read_speed(FILE *f, Speed *out)
{
    char line[1000];
    while (fgets(line, sizeof line, f) != NULL) {
        VcJson *json = NULL;
        if (!vc_json_parse(&json, line, strlen(line), "bench", NULL))
            continue;
        const double gflops = vc_json_number(vc_json_member(json, "gflops"), 0);
        if (vc_json_int(vc_json_member(json, "threads"), 0) == 1)
            out->one = gflops;
        out->all = gflops; // the line of all threads comes last
        const char *name = vc_json_string(vc_json_member(json, "corename"), NULL);
        snprintf(out->corename, sizeof out->corename, "%s", name != NULL ? name : "");
        vc_json_destroy(&json);
    }
}

static bool measure(const Doctor *d, const char *coretype, Speed *out, VcErr *err)
{
    *out = (Speed){0};
    char self[4096], threads[24];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return vc_fail_errno(err, "cannot read '/proc/self/exe'");
    self[n] = 0;
    snprintf(threads, sizeof threads, "%zu", d->threads);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return vc_fail_errno(err, "cannot make a pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    char name[] = "vicha", bench[] = "bench", gemm[] = "gemm", shape[] = "1024x1024x1024", option[] = "--threads";
    char *args[] = {name, bench, gemm, shape, option, threads, NULL}, *set = NULL, **env = environment(coretype, &set);
    pid_t child;
    const int failed = posix_spawn(&child, self, &actions, NULL, args, env);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    free(env);
    free(set);
    if (failed != 0) {
        close(ends[0]);
        errno = failed;
        return vc_fail_errno(err, "cannot start '%s bench gemm'", self);
    }
    FILE *f = fdopen(ends[0], "r");
    VC_ASSERT(f != NULL);
    read_speed(f, out);
    fclose(f);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        return vc_fail(err, VC_ERR_IO, "'vicha bench gemm' was ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    }
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0 && out->one > 0) ||
           vc_fail(err, VC_ERR_IO, "'vicha bench gemm' failed with status %d", WEXITSTATUS(status));
}

// Is `coretype` clearly faster than the setting as it is? Both are measured twice, in turns: a machine that is busy for
// a moment must not lead to advice.
static bool clearly_faster(const Doctor *d, const char *coretype, Speed *now, Speed *other)
{
    for (int turn = 0; turn < 2; turn++) {
        VcErr err;
        if (turn > 0 && !measure(d, NULL, now, &err))
            return false;
        if (!measure(d, coretype, other, &err) || other->all < 1.25 * now->all)
            return false;
    }
    return true;
}

static void check_speed(Doctor *d)
{
    const char *coretype = getenv("OPENBLAS_CORETYPE");
    const double peak = nn_peak_gflops();
    Speed now, other;
    VcErr err = {0};
    if (!measure(d, NULL, &now, &err)) {
        say(d, WRONG, "speed", err.text, "look at 'vicha bench gemm'", NULL);
        return;
    }
    State state = OK;
    VcStr text = {0}, mend = {0}, extra = {0};
    const char *wider = (vc_cpu_flags() & VC_CPU_AVX512) != 0 ? "SkylakeX" : "Haswell";
    // Asked for: what would it be without? Chosen by OpenBLAS: does it reach half of what the processor can do?
    if (coretype != NULL && clearly_faster(d, "", &now, &other)) {
        state = ADVICE;
        vc_str_putf(&mend, "unset OPENBLAS_CORETYPE: %.0f GFLOP/s with %s, %.0f with the setting '%s'", other.all,
                    other.corename, now.all, coretype);
    } else if (coretype == NULL && now.one < 0.5 * peak && clearly_faster(d, wider, &now, &other)) {
        state = ADVICE;
        vc_str_putf(&mend, "OPENBLAS_CORETYPE=%s: %.0f GFLOP/s, %.0f with %s as OpenBLAS chose; or a newer OpenBLAS",
                    wider, other.all, now.all, now.corename);
    }
    vc_str_putf(&text, "1024 x 1024 x 1024 with %s: %.0f GFLOP/s with 1 thread", now.corename, now.one);
    if (peak > 0)
        vc_str_putf(&text, " (%.0f%% of %.0f)", 100 * now.one / peak, peak);
    if (d->threads > 1)
        vc_str_putf(&text, ", %.0f with %zu", now.all, d->threads);
    if (state == OK && (now.one < 0.4 * peak || (d->threads > 1 && now.all < 1.2 * now.one)))
        vc_str_put(&text, "; less than it could be: the processors are busy with something else");
    vc_str_putf(&extra, ", \"gflops_1\": %.1f, \"threads\": %zu, \"gflops\": %.1f, \"peak_1\": %.1f", now.one,
                d->threads, now.all, peak);
    say(d, state, "speed", text.data, mend.data, extra.data);
    vc_str_finish(&text);
    vc_str_finish(&mend);
    vc_str_finish(&extra);
}

static void check_environment(Doctor *d)
{
    static const struct {
        const char *name, *meaning;
    } variables[] = {
        {"OPENBLAS_CORETYPE", "chooses OpenBLAS's kernels"},
        {"OPENBLAS_NUM_THREADS", "no effect: products are spread over the program's own threads, --threads"},
        {"OMP_NUM_THREADS", "no effect on products: --threads is the setting"},
    };
    VcStr text = {0}, extra = {0};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *value = getenv(variables[i].name);
        put_member(&extra, variables[i].name, value);
        if (value != NULL) {
            vc_str_putf(&text, "%s%s=%s (%s)", text.len > 0 ? "; " : "", variables[i].name, value,
                        variables[i].meaning);
        }
    }
    say(d, OK, "variables",
        text.len > 0 ? text.data : "none of OPENBLAS_CORETYPE, OPENBLAS_NUM_THREADS, OMP_NUM_THREADS", NULL,
        extra.data);
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

// ---- libraries and disk --------------------------------------------------------------------------------------------

static void check_libraries(Doctor *d)
{
    VcStr text = {0}, extra = {0};
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        const char *version = libraries[i].version();
        vc_str_putf(&text, "%s%s %s", i > 0 ? ", " : "", libraries[i].name, version);
        put_member(&extra, libraries[i].name, version);
    }
    VcErr err = {0};
    if (extract_image_init(&err)) {
        say(d, OK, "libraries", text.data, NULL, extra.data);
    } else {
        say(d, WRONG, "libraries", err.text, "install libvips again: images cannot be read", extra.data);
    }
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

static void check_disk(Doctor *d, const char *folder)
{
    struct statvfs fs;
    VcStr text = {0}, extra = {0};
    if (statvfs(folder, &fs) != 0) {
        vc_str_putf(&text, "'%s': %s", folder, strerror(errno));
        say(d, WRONG, "disk", text.data, "name a folder that is there with -w DIR", NULL);
    } else {
        const double free_gib = (double)fs.f_bavail * (double)fs.f_frsize / (double)(1 << 30);
        vc_str_putf(&text, "%.1f GiB free at '%s'", free_gib, folder);
        vc_str_putf(&extra, ", \"free_bytes\": %.0f", (double)fs.f_bavail * (double)fs.f_frsize);
        if (access(folder, W_OK) != 0) {
            vc_str_putf(&text, ", which cannot be written: %s", strerror(errno));
            say(d, ADVICE, "disk", text.data, "a workspace must be a folder you may write", extra.data);
        } else {
            say(d, free_gib < 1 ? ADVICE : OK, "disk", text.data,
                free_gib < 1 ? "make room, or use another -w DIR" : NULL, extra.data);
        }
    }
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

// ---- the workspace -------------------------------------------------------------------------------------------------

static void say_check(void *ctx, QueryState state, const char *check, const char *text, const char *mend)
{
    static const State states[] = {[QUERY_WHOLE] = OK, [QUERY_MENDED] = ADVICE, [QUERY_BROKEN] = WRONG};
    say(ctx, states[state], check, text, mend, NULL);
}

static void check_workspace(Doctor *d, const char *folder)
{
    char *db = vc_path_join(folder, "vicha.db");
    VcErr err = {0};
    if (vc_exists(db) && !query_check(folder, say_check, d, &err))
        say(d, WRONG, "database", err.text, "go back to a copy", NULL);
    free(db);
}

static void say_machine(void *ctx, bool advice, const char *check, const char *text, const char *mend,
                        const char *extra)
{
    say(ctx, advice ? ADVICE : OK, check, text, mend, extra);
}

int cmd_doctor(int argc, char **argv)
{
    bool machine = true;
    const CliOption options[] = {{"machine", 0, CLI_FLAG, &machine, NULL,
                                  "look at processor, BLAS and libraries (--no-machine: the workspace alone)", 0, 0},
                                 {0}};
    CliContext ctx;
    VcErr err = {0};
    bool help_shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &help_shown, &err))
        return cli_error(&err);
    if (help_shown)
        return CLI_OK;
    Doctor d = {.json = ctx.json, .threads = (size_t)ctx.threads};
    if (ctx.argc > 0) {
        vc_fail(&err, VC_ERR_USAGE, "doctor takes no arguments, found '%s'", ctx.argv[0]);
        cli_context_finish(&ctx);
        return cli_error(&err);
    }
    if (machine) {
        check_processor(&d);
        machine_check(d.threads, say_machine, &d);
        const bool right = check_blas(&d);
        check_environment(&d);
        if (right)
            check_speed(&d);
        check_libraries(&d);
    }
    check_disk(&d, ctx.workspace);
    check_workspace(&d, ctx.workspace);
    cli_context_finish(&ctx);
    return d.wrong ? CLI_FAILED : CLI_OK;
}
