// SPDX-License-Identifier: MIT
// vicha bench roofline: the layers of CLIP's blocks against what the processor and its memory allow (Williams, Waterman
// and Patterson, "Roofline", 2009), as JSON lines and a picture.
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "nn/nn.h"

#include <math.h>

static const CliHelp help = {
    .name = "bench roofline",
    .summary = "packed layers against the machine's roofs",
    .usage = "[options]",
    .details =
        "One thread. A JSON object for each layer and precision: \"layer\", \"precision\", \"rows\", \"in\", \"out\", "
        "\"gops\" (1e9 operations\n"
        "a second), \"intensity\" (operations a byte of weights, rows and results, each read or written once) and "
        "\"peak_share\";\n"
        "before them one with the roofs: \"peak_gops\" of the three precisions and \"memory_gb_s\" (reading). --svg "
        "draws "
        "them.",
    .example = "  vicha bench roofline --svg roofline.svg",
};

enum { KINDS = 3, LAYERS = 5, WIDTH = 720, HEIGHT = 440, LEFT = 70, BOTTOM = 390 };
static const char *const kind_names[KINDS] = {"fp32", "bf16", "int8"};
static const char *const colours[KINDS] = {"#1f5fa8", "#2a8c4a", "#b8451f"};
static const struct {
    const char *name;
    size_t rows, in, out;
} layers[LAYERS] = {{"qkv", 197, 768, 2304},
                    {"out", 197, 768, 768},
                    {"fc1", 197, 768, 3072},
                    {"fc2", 197, 3072, 768},
                    {"one row", 1, 768, 3072}};

typedef struct {
    double gops, intensity;
} Point;

static float *random_floats(VcRng *rng, size_t n)
{
    float *x = vc_alloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)vc_rng_uniform(rng) - 0.5F;
    return x;
}

static bool measure(NnPackedKind kind, size_t l, Point *out, VcErr *err)
{
    const size_t rows = layers[l].rows, in = layers[l].in, width = layers[l].out;
    const NnKernels *k = nn_kernels();
    VcRng rng;
    vc_rng_seed(&rng, 1);
    float *w = random_floats(&rng, in * width), *x = random_floats(&rng, rows * in);
    float *y = vc_alloc(rows * width, sizeof *y), *scale = vc_alloc(rows, sizeof *scale);
    int32_t *zero = vc_calloc(rows, sizeof *zero);
    const NnPackedPart part = {w, NULL, width, 1};
    NnPacked p;
    const bool ok = nn_packed_init(&p, NULL, kind, &part, 1, in, NULL, true, err);
    if (ok) {
        uint32_t *data = vc_alloc(rows * p.words, sizeof *data);
        NnPackedRows r = {kind, p.words, data, scale, zero};
        for (size_t i = 0; i < rows; i++)
            nn_packed_put(k, &r, i, x + i * in, in, NULL);
        const NnPackedOut to = {.y = y, .ldy = width};
        double best = INFINITY;
        for (const double end = vc_now() + 0.3; vc_now() < end;) {
            const double start = vc_now();
            nn_packed_linear(k, &p, &r, rows, &to, NULL);
            best = fmin(best, vc_now() - start);
        }
        const double operations = 2.0 * (double)(rows * in * width);
        const double bytes = 4.0 * (double)(p.words * (width + rows) + rows * width);
        *out = (Point){operations / best * 1e-9, operations / bytes};
        nn_packed_finish(&p);
        free(data);
    }
    free(w);
    free(x);
    free(y);
    free(scale);
    free(zero);
    return ok;
}

// ---- the picture: logarithms on both sides ----

static double across(double intensity) // 0.25 .. 1024
{
    return LEFT + (log2(intensity) + 2) / 12 * (WIDTH - LEFT - 20);
}

static double up(double gops) // 1 .. 4096
{
    return BOTTOM - log2(gops < 1 ? 1 : gops) / 12 * (BOTTOM - 20);
}

static void draw(VcStr *s, const double peak[KINDS], double memory, Point points[KINDS][LAYERS])
{
    vc_str_putf(s,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
                "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                WIDTH, HEIGHT);
    for (int i = 0; i <= 12; i += 2) {
        const double x = across(exp2(i - 2)), y = up(exp2(i));
        vc_str_putf(s, "<path d=\"M%.1f 20V%d M%d %.1fH%d\" stroke=\"#ddd\"/>\n", x, BOTTOM, LEFT, y, WIDTH - 20);
        vc_str_putf(s, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x, BOTTOM + 16, exp2(i - 2));
        vc_str_putf(s, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 6, y + 4, exp2(i));
    }
    vc_str_putf(s, "<text x=\"%d\" y=\"%d\">operations a byte; upwards: 1e9 operations a second, one thread</text>\n",
                LEFT, HEIGHT - 12);
    for (int k = 0; k < KINDS; k++) {
        const double ridge = peak[k] / memory;
        vc_str_putf(s, "<path d=\"M%.1f %.1fL%.1f %.1fH%d\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>\n",
                    across(0.25), up(memory * 0.25), across(ridge), up(peak[k]), WIDTH - 20, colours[k]);
        vc_str_putf(s, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"%s\">%s %.0f</text>\n", WIDTH - 22,
                    up(peak[k]) - 5, colours[k], kind_names[k], peak[k]);
        for (int l = 0; l < LAYERS; l++) {
            vc_str_putf(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>%s %s: %.0f</title></circle>\n",
                        across(points[k][l].intensity), up(points[k][l].gops), colours[k], layers[l].name,
                        kind_names[k], points[k][l].gops);
        }
    }
    vc_str_putf(s, "<text x=\"%.1f\" y=\"%.1f\">memory %.0f GB/s</text>\n</svg>\n", across(0.3), up(memory * 0.3) - 14,
                memory);
}

static bool run(const char *svg, VcErr *err)
{
    Point points[KINDS][LAYERS];
    double peak[KINDS];
    for (int k = 0; k < KINDS; k++)
        peak[k] = nn_peak_gops((NnPackedKind)k);
    if (peak[0] <= 0)
        return vc_fail(err, VC_ERR_USAGE, "this processor (or VC_CPU) has no vector kernels: there is no roof to draw");
    const double memory = machine_memory_rate(1);
    printf("{\"bench\": \"roofline\", \"peak_gops\": {\"fp32\": %.1f, \"bf16\": %.1f, \"int8\": %.1f}, "
           "\"memory_gb_s\": %.1f}\n",
           peak[0], peak[1], peak[2], memory);
    for (int k = 0; k < KINDS; k++) {
        for (size_t l = 0; l < LAYERS; l++) {
            if (!measure((NnPackedKind)k, l, &points[k][l], err))
                return false;
            printf("{\"bench\": \"roofline\", \"layer\": \"%s\", \"precision\": \"%s\", \"rows\": %zu, \"in\": %zu, "
                   "\"out\": %zu, \"gops\": %.1f, \"intensity\": %.2f, \"peak_share\": %.3f}\n",
                   layers[l].name, kind_names[k], layers[l].rows, layers[l].in, layers[l].out, points[k][l].gops,
                   points[k][l].intensity, points[k][l].gops / peak[k]);
        }
    }
    if (svg == NULL)
        return true;
    VcStr s = {0};
    draw(&s, peak, memory, points);
    const bool ok = vc_write_file(svg, s.data, s.len, err);
    vc_str_finish(&s);
    return ok;
}

int bench_roofline(int argc, char **argv)
{
    const char *svg = NULL;
    const CliOption options[] = {{"svg", 0, CLI_STRING, &svg, "FILE", "draw the picture into FILE", 0, 0}, {0}};
    CliContext ctx;
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    const bool ok = shown || run(svg, &err);
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
