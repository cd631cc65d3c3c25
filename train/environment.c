// SPDX-License-Identifier: MIT
#include "train/environment.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/pool.h"
#include "extract/extract.h"
#include "git_version.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

const char *train_commit(void)
{
    return VICHA_COMMIT;
}

static void put_text(VcStr *out, const char *name, const char *text)
{
    vc_str_putf(out, ", \"%s\": ", name);
    vc_str_put_json(out, text, strlen(text), false);
}

// "model name" of /proc/cpuinfo; "unknown" where there is none.
static void processor_name(VcStr *out)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && out->len == 0 && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (colon && vc_has_prefix(line, "model name")) {
            colon += strspn(colon, ": \t");
            vc_str_putn(out, colon, strcspn(colon, "\n"));
        }
    }
    if (f)
        fclose(f);
    if (out->len == 0)
        vc_str_put(out, "unknown");
}

void train_environment_put(VcStr *out, const TrainEnvironment *e)
{
    char when[32] = "", flags[64];
    time_t now = (time_t)vc_unix_time();
    struct tm utc;
    if (gmtime_r(&now, &utc))
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    struct utsname system = {0};
    if (uname(&system) != 0)
        snprintf(system.sysname, sizeof system.sysname, "unknown");
    VcStr processor = {0}, blas = {0}, kernel = {0};
    processor_name(&processor);
    nn_blas_describe(&blas);
    vc_str_putf(&kernel, "%s %s %s", system.sysname, system.release, system.machine);
    vc_cpu_describe(vc_cpu_flags(), flags);
    vc_str_putf(out, "{\"started\": \"%s\", \"step\": %" PRIu64, when, e->step);
    put_text(out, "version", VICHA_VERSION);
    put_text(out, "commit", VICHA_COMMIT);
    put_text(out, "compiler", __VERSION__);
    put_text(out, "host", system.nodename);
    put_text(out, "system", kernel.data);
    put_text(out, "processor", processor.data);
    vc_str_putf(out, ", \"processors\": %zu, \"threads\": %zu, \"processes\": %zu", vc_cpu_count(), e->threads,
                train_parallel_size(e->world));
    put_text(out, "kernels", flags);
    put_text(out, "blas", vc_str_get(&blas));
    put_text(out, "records", e->records);
    vc_str_putf(out, ", \"recipe\": \"%016" PRIx64 "\"", e->recipe);
    vc_str_put(out, ", \"libraries\": {");
    vc_str_putf(out, "\"libvips\": \"%s\", \"jansson\": \"%s\"}}", extract_vips_version(), vc_json_library_version());
    vc_str_finish(&processor);
    vc_str_finish(&blas);
    vc_str_finish(&kernel);
}

bool train_environment_note(const char *run, const TrainEnvironment *environment, VcErr *err)
{
    VcStr line = {0};
    train_environment_put(&line, environment);
    vc_str_putc(&line, '\n');
    char *path = vc_path_join(run, "environment.jsonl");
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    bool ok =
        (fd >= 0 || vc_fail_errno(err, "cannot open '%s'", path)) && vc_full_write(fd, line.data, line.len, path, err);
    if (fd >= 0 && close(fd) != 0 && ok)
        ok = vc_fail_errno(err, "cannot write '%s'", path);
    free(path);
    vc_str_finish(&line);
    return ok;
}

bool train_groups_write(const char *run, const NnParams *params, VcErr *err)
{
    VcStr text = {0};
    vc_str_put(&text, "parameter\tshape\tnumbers\tgroup\n");
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        vc_str_putf(&text, "%s\t", p->name);
        for (size_t d = 0; d < p->shape.rank; d++)
            vc_str_putf(&text, "%s%zu", d ? "x" : "", p->shape.dim[d]);
        const char *group = p->flags & NN_PARAM_FROZEN ? "frozen" : p->flags & NN_PARAM_DECAY ? "decay" : "no decay";
        vc_str_putf(&text, "%s\t%zu\t%s\n", p->shape.rank == 0 ? "scalar" : "", p->size, group);
    }
    char *path = vc_path_join(run, "parameters.tsv");
    bool ok = vc_write_file(path, text.data, text.len, err);
    free(path);
    vc_str_finish(&text);
    return ok;
}
