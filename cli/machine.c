// SPDX-License-Identifier: MIT
#include "cli/machine.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/str.h"
#include "nn/nn.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ_BYTES = 256 << 20, READ_CHUNK = 1 << 17 };

// ---- memory and clock ----------------------------------------------------------------------------------------------

typedef struct {
    const uint64_t *data;
    uint64_t *sums; // one a thread, a cache line apart
} ReadJob;

static void read_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    const ReadJob *job = ctx;
    uint64_t sum = 0;
    for (size_t i = begin; i < end; i++)
        sum += job->data[i];
    job->sums[worker * 8] += sum;
}

double machine_read_rate(const void *data, size_t bytes, VcPool *pool)
{
    ReadJob job = {data, vc_calloc(vc_pool_threads(pool) * 8, sizeof(uint64_t))};
    double best = 0;
    for (int run = 0; run < 4; run++) {
        const double start = vc_now();
        vc_parallel_for(pool, bytes / sizeof *job.data, READ_CHUNK, read_chunk, &job);
        const double rate = (double)bytes / (vc_now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    volatile uint64_t sink = job.sums[0];
    (void)sink;
    free(job.sums);
    return best;
}

double machine_memory_rate(size_t threads)
{
    const size_t n = READ_BYTES / sizeof(uint64_t);
    uint64_t *data = vc_calloc(n, sizeof *data);
    for (size_t i = 0; i < n; i += 512)
        data[i] = i; // pages of its own
    VcPool *pool = vc_pool_create(threads);
    const double rate = machine_read_rate(data, READ_BYTES, pool);
    vc_pool_destroy(&pool);
    free(data);
    return rate;
}

// Additions and shifts that wait for each other, 1e9 a second: the clock where each takes a cycle, as on x86.
static double clock_ghz(void)
{
    enum { STEPS = 1 << 19, WAITS = 6 };
    volatile uint64_t seed = 88172645463325252u;
    double best = 0;
    for (int run = 0; run < 12; run++) {
        uint64_t x = seed;
        const double start = vc_now();
        for (int i = 0; i < STEPS; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        seed = x;
        const double rate = (double)STEPS * WAITS / (vc_now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

// ---- the checks ----------------------------------------------------------------------------------------------------

// The value of the first line of a file that begins with `key`, behind its colon; false: none.
static bool find_line(const char *path, const char *key, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    static const size_t most = 8192;
    char *line = vc_alloc(most, 1);
    bool found = false;
    while (!found && fgets(line, (int)most, f) != NULL) {
        const char *value = strchr(line, ':');
        found = vc_has_prefix(line, key);
        value = value != NULL ? value + 1 : line + strlen(key);
        if (found)
            snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
    }
    free(line);
    fclose(f);
    return found;
}

static void check_precisions(MachineSay say, void *ctx)
{
    const double fp32 = nn_peak_gops(NN_PACKED_FP32), bf16 = nn_peak_gops(NN_PACKED_BF16),
                 int8 = nn_peak_gops(NN_PACKED_INT8);
    VcStr text = {0}, extra = {0};
    vc_str_putf(&text, "a thread multiplies and adds at most %.0f (fp32), %.0f (bf16), %.0f (int8) 1e9 a second", fp32,
                bf16, int8);
    vc_str_putf(&extra, ", \"fp32\": %.1f, \"bf16\": %.1f, \"int8\": %.1f", fp32, bf16, int8);
    const char *mend = NULL;
    if (fp32 <= 0) {
        mend = "no vectors are used: AVX2 at least is in processors from 2013 on";
    } else if (bf16 < 1.5 * fp32) {
        mend = "--precision bf16 gains nothing here: AVX-512 BF16 (Zen 4, Cooper Lake, Sapphire Rapids) doubles it";
    } else if (int8 < 3 * fp32) {
        mend = "--precision int8 gains little here: AVX-512 VNNI or AVX-VNNI is missing";
    }
    say(ctx, mend != NULL, "precisions", text.data, mend, extra.data);
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

static void check_frequency(MachineSay say, void *ctx)
{
    char value[64] = "", governor[64] = "";
    const double ghz = clock_ghz();
    const double nominal = find_line("/proc/cpuinfo", "cpu MHz", value, sizeof value) ? strtod(value, NULL) / 1000 : 0;
    find_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "", governor, sizeof governor);
    VcStr text = {0}, extra = {0};
    vc_str_putf(&text, "about %.2f GHz while computing", ghz);
    if (nominal > 0)
        vc_str_putf(&text, ", the system says %.2f", nominal);
    if (governor[0] != '\0')
        vc_str_putf(&text, "; governor '%s'", governor);
    vc_str_putf(&extra, ", \"ghz\": %.3f, \"said_ghz\": %.3f", ghz, nominal);
    const bool slow = nominal > 0 && ghz < 0.8 * nominal, saving = strcmp(governor, "powersave") == 0;
    say(ctx, slow || saving, "frequency", text.data,
        saving ? "set the governor to 'performance' (cpupower frequency-set -g performance)"
        : slow ? "other work, heat or a power limit slows the processor: look with 'top' and 'turbostat'"
               : NULL,
        extra.data);
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

static void check_hypervisor(MachineSay say, void *ctx)
{
    char flags[4096] = "", ticks[256] = "";
    const bool guest = find_line("/proc/cpuinfo", "flags", flags, sizeof flags) && strstr(flags, " hypervisor") != NULL;
    double sum = 0, stolen = 0;
    if (find_line("/proc/stat", "cpu ", ticks, sizeof ticks)) {
        const char *at = ticks;
        for (int i = 0; i < 8; i++) { // user nice system idle iowait irq softirq steal
            char *end;
            const double n = strtod(at, &end);
            sum += n;
            stolen = i == 7 ? n : 0;
            at = end;
        }
    }
    const double share = sum > 0 ? 100 * stolen / sum : 0;
    VcStr text = {0}, extra = {0};
    vc_str_put(&text, guest ? "a virtual machine" : "no hypervisor");
    if (guest)
        vc_str_putf(&text, "; its neighbours took %.1f %% of the time since it was started", share);
    vc_str_putf(&extra, ", \"guest\": %s, \"stolen_percent\": %.2f", guest ? "true" : "false", share);
    say(ctx, share > 2, "hypervisor", text.data,
        share > 2 ? "measured speed will vary: ask for dedicated processors" : NULL, extra.data);
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

// Weights are read once for 200 rows of a thread (concepts/clip_image.c): a layer of I x O takes I O bytes at int8 and
// 200 I O products.
static void check_memory(size_t threads, MachineSay say, void *ctx)
{
    enum { ROWS = 200 };
    const double one = machine_memory_rate(1), all = threads > 1 ? machine_memory_rate(threads) : one;
    const double int8 = nn_peak_gops(NN_PACKED_INT8);
    const double share = all > 0 ? (double)threads / all / (2.0 * ROWS / int8) : 0;
    VcStr text = {0}, extra = {0};
    vc_str_putf(&text, "reads %.1f GB/s with 1 thread", one);
    if (threads > 1)
        vc_str_putf(&text, ", %.1f with %zu", all, threads);
    vc_str_putf(&text, "; fetching an int8 layer's weights takes %.0f %% of the time of its products", 100 * share);
    vc_str_putf(&extra, ", \"gb_s_1\": %.2f, \"gb_s\": %.2f, \"weights_share\": %.3f", one, all, share);
    say(ctx, share > 0.7, "memory", text.data,
        share > 0.7 ? "memory holds int8 back: fewer --threads may be as fast; more memory channels help" : NULL,
        extra.data);
    vc_str_finish(&text);
    vc_str_finish(&extra);
}

void machine_check(size_t threads, MachineSay say, void *ctx)
{
    check_precisions(say, ctx);
    check_frequency(say, ctx);
    check_hypervisor(say, ctx);
    check_memory(threads, say, ctx);
}
