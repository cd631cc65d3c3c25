// SPDX-License-Identifier: MIT
// vicha-scenes: draws pictures whose content is known, and measures what a pipeline found in them.
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "demo/dataset.h"
#include "demo/measure.h"
#include "demo/scene.h"

#include <getopt.h>
#include <string.h>

static const char usage[] =
    "usage: vicha-scenes draw -o DIR [--seed N] [--count N] [--size N] [--threads N]\n"
    "       vicha-scenes measure WORKSPACE TRUTH [--at-least X] [--json]\n"
    "       vicha-scenes vocab FILE\n"
    "\n"
    "draw     writes DIR/images/*.jpg, captions.jsonl, truth.jsonl and vocab.txt; the same seed gives the same bytes.\n"
    "         A complete set is left alone.\n"
    "           --seed N      random stream (default 1)\n"
    "           --count N     pictures (default 1000)\n"
    "           --size N      side in pixels, 48 to 1024 (default 160)\n"
    "           --threads N   default: all processors\n"
    "measure  R-precision of the concepts that 'vicha concepts' mined, against truth.jsonl, beside chance, and what\n"
    "         limits it. Synonyms and plurals are folded by the truth's word lists.\n"
    "           --at-least X  exit status 1 when it is below X\n"
    "           --json        one JSON line\n"
    "vocab    writes the WordPiece vocabulary alone (BERT's form), for 'vicha index --vocab'.\n"
    "\n"
    "example: vicha-scenes draw -o scenes --seed 7 --count 200\n";

typedef struct {
    const char *out;
    int64_t seed, count, size, threads;
    double at_least;
    bool json, help;
    int first; // index of the first argument that is no option
} Options;

static bool parse_number(const char *name, const char *text, int64_t low, int64_t high, int64_t *out, VcErr *err)
{
    if (!vc_parse_i64(text, out) || *out < low || *out > high) {
        return vc_fail(err, VC_ERR_USAGE, "--%s takes a whole number from %lld to %lld, not '%s'", name, (long long)low,
                       (long long)high, text);
    }
    return true;
}

static bool parse(Options *o, int argc, char **argv, VcErr *err)
{
    static const struct option table[] = {
        {"output", required_argument, NULL, 'o'},
        {"seed", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 'z'},
        {"threads", required_argument, NULL, 't'},
        {"at-least", required_argument, NULL, 'a'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    *o = (Options){.seed = 1, .count = 1000, .size = 160, .threads = (int64_t)vc_cpu_count()};
    while ((c = getopt_long(argc, argv, "o:h", table, NULL)) != -1) {
        bool ok = true;
        if (c == 'o') {
            o->out = optarg;
        } else if (c == 's') {
            ok = parse_number("seed", optarg, 0, INT64_MAX, &o->seed, err);
        } else if (c == 'n') {
            ok = parse_number("count", optarg, 1, DEMO_MAX_COUNT, &o->count, err);
        } else if (c == 'z') {
            ok = parse_number("size", optarg, DEMO_MIN_SIDE, DEMO_MAX_SIDE, &o->size, err);
        } else if (c == 't') {
            ok = parse_number("threads", optarg, 1, 1024, &o->threads, err);
        } else if (c == 'a') {
            ok = vc_parse_double(optarg, &o->at_least) && o->at_least >= 0 && o->at_least <= 1
                     ? true
                     : vc_fail(err, VC_ERR_USAGE, "--at-least takes a number from 0 to 1, not '%s'", optarg);
        } else if (c == 'j') {
            o->json = true;
        } else if (c == 'h') {
            o->help = true;
        } else {
            ok = vc_fail(err, VC_ERR_USAGE, "see 'vicha-scenes --help'"); // getopt has named the option
        }
        if (!ok)
            return false;
    }
    o->first = optind;
    return true;
}

static bool draw(const Options *o, VcErr *err)
{
    if (!o->out)
        return vc_fail(err, VC_ERR_USAGE, "draw needs -o DIR");
    char *mark = vc_path_join(o->out, "captions.jsonl");
    bool done = vc_exists(mark), ok = true;
    if (done) {
        vc_info("'%s' is there already: nothing to draw", mark);
    } else {
        VcPool *pool = vc_pool_create((size_t)o->threads);
        ok = demo_set_write(&(DemoSet){o->out, (uint64_t)o->seed, (size_t)o->count, (int)o->size}, pool, err);
        vc_pool_destroy(&pool);
    }
    free(mark);
    return ok;
}

// *low: the figure was measured and is below --at-least.
static bool measure(const Options *o, const char *dir, const char *truth_path, bool *low, VcErr *err)
{
    VcWorkspace ws = {0};
    DemoTruth truth = {0};
    DemoMeasure m = {0};
    bool ok = demo_truth_read(&truth, truth_path, err) && vc_workspace_open(&ws, dir, VC_DB_READ, err) &&
              demo_measure(&m, &ws, &truth, err);
    if (ok) {
        demo_measure_print(&m, &truth, o->json);
        *low = m.r_precision < o->at_least;
        if (*low)
            vc_warn("R-precision %.3f is below the %.3f asked for", m.r_precision, o->at_least);
    }
    demo_measure_finish(&m);
    vc_workspace_close(&ws);
    demo_truth_finish(&truth);
    return ok;
}

static int status_of(const VcErr *err)
{
    fprintf(stderr, "vicha-scenes: error: %s\n", err->text);
    if (err->code == VC_ERR_CANCELLED)
        return 128 + vc_interrupted();
    return err->code == VC_ERR_USAGE ? 2 : 1;
}

int main(int argc, char **argv)
{
    VcErr err = {0};
    Options o;
    bool ok, low = false;
    if (!parse(&o, argc, argv, &err))
        return status_of(&err);
    if (o.help) {
        fputs(usage, stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    vc_interrupt_install();
    const char *command = o.first < argc ? argv[o.first] : "";
    int rest = argc - o.first - 1;
    char **args = argv + o.first + 1;
    if (strcmp(command, "draw") == 0 && rest == 0) {
        ok = draw(&o, &err);
    } else if (strcmp(command, "measure") == 0 && rest == 2) {
        ok = measure(&o, args[0], args[1], &low, &err);
    } else if (strcmp(command, "vocab") == 0 && rest == 1) {
        ok = demo_vocabulary_write(args[0], &err);
    } else {
        ok = vc_fail(&err, VC_ERR_USAGE,
                     "expected draw, measure or vocab with their arguments; see 'vicha-scenes --help'");
    }
    if (ok && (fflush(stdout) != 0 || ferror(stdout)))
        ok = vc_fail_errno(&err, "cannot write to standard output");
    return ok ? (low ? 1 : 0) : status_of(&err);
}
