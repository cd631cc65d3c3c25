// SPDX-License-Identifier: MIT
#include "cli/options.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"

#include <ctype.h>
#include <getopt.h>

enum { MAX_OPTIONS = 96, LONG_BASE = 1000, NEGATED = 5000 };

const char *cli_nearest(const char *word, const char *const *names, size_t count)
{
    size_t n = strlen(word), best = SIZE_MAX;
    const char *found = NULL;
    if (n > 40)
        return NULL;
    for (size_t k = 0; k < count; k++) {
        size_t m = strlen(names[k]);
        size_t row[42];
        if (m > 40)
            continue;
        for (size_t j = 0; j <= m; j++)
            row[j] = j;
        for (size_t i = 1; i <= n; i++) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j <= m; j++) {
                size_t change = diagonal + (word[i - 1] != names[k][j - 1]);
                size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
                diagonal = row[j];
                row[j] = change < step ? change : step;
            }
        }
        if (row[m] < best) {
            best = row[m];
            found = names[k];
        }
    }
    return best <= (n + 2) / 3 ? found : NULL;
}

static bool is_negatable(const CliOption *o)
{
    return o->type == CLI_FLAG && *(const bool *)o->target;
}

static void print_default(const CliOption *o)
{
    switch (o->type) {
    case CLI_STRING:
        if (*(const char *const *)o->target)
            printf(" (default: %s)", *(const char *const *)o->target);
        break;
    case CLI_INT:
        printf(" (default: %lld)", (long long)*(const int64_t *)o->target);
        break;
    case CLI_REAL:
        printf(" (default: %g)", *(const double *)o->target);
        break;
    case CLI_BYTES: {
        uint64_t v = *(const uint64_t *)o->target;
        if (v && v % (1 << 20) == 0) {
            printf(" (default: %lluMiB)", (unsigned long long)(v >> 20));
        } else {
            printf(" (default: %llu)", (unsigned long long)v);
        }
        break;
    }
    case CLI_FLAG:
    case CLI_LIST:
    case CLI_MAYBE:
        break;
    }
}

static void print_option(const CliOption *o)
{
    VcStr left = {0};
    if (o->letter) {
        vc_str_putf(&left, "-%c, ", o->letter);
    } else {
        vc_str_put(&left, "    ");
    }
    vc_str_putf(&left, "--%s%s", is_negatable(o) ? "no-" : "", o->name);
    if (o->argument)
        vc_str_putf(&left, o->type == CLI_MAYBE ? "[=%s]" : " %s", o->argument);
    printf("  %-30s %s", vc_str_get(&left), o->help);
    print_default(o);
    putchar('\n');
    vc_str_finish(&left);
}

static void print_help(const CliHelp *help, const CliOption *common, const CliOption *options)
{
    printf("vicha %s: %s\n\nUsage: vicha %s %s\n", help->name, help->summary, help->name, help->usage);
    if (options->name)
        printf("\nOptions:\n");
    for (const CliOption *o = options; o->name; o++)
        print_option(o);
    printf("\nCommon options:\n");
    for (const CliOption *o = common; o->name; o++)
        print_option(o);
    printf("      --help                     show this help\n      --version                  show the version\n");
    if (help->details)
        printf("\n%s\n", help->details);
    if (help->example)
        printf("\nExample:\n  %s\n", help->example);
}

static bool set_option(const CliOption *o, const char *text, bool negated, VcErr *err)
{
    VC_ASSERT(o);
    switch (o->type) {
    case CLI_FLAG:
        *(bool *)o->target = !negated;
        return true;
    case CLI_STRING:
        *(const char **)o->target = text;
        return true;
    case CLI_MAYBE:
        *(const char **)o->target = text ? text : "";
        return true;
    case CLI_INT: {
        int64_t v;
        if (!vc_parse_i64(text, &v))
            return vc_fail(err, VC_ERR_USAGE, "--%s: '%s' is not a whole number", o->name, text);
        if (o->max > o->min && ((double)v < o->min || (double)v > o->max))
            return vc_fail(err, VC_ERR_USAGE, "--%s: %s is not between %g and %g", o->name, text, o->min, o->max);
        *(int64_t *)o->target = v;
        return true;
    }
    case CLI_REAL: {
        VcStr copy = {0};
        vc_str_put(&copy, text);
        double v, scale = 1;
        if (vc_has_suffix(text, "%")) { // "70%" is .7
            copy.data[copy.len - 1] = 0;
            scale = 0.01;
        }
        bool ok = vc_parse_double(vc_str_get(&copy), &v);
        vc_str_finish(&copy);
        if (!ok)
            return vc_fail(err, VC_ERR_USAGE, "--%s: '%s' is not a number", o->name, text);
        v *= scale;
        if (o->max > o->min && (v < o->min || v > o->max))
            return vc_fail(err, VC_ERR_USAGE, "--%s: %s is not between %g and %g", o->name, text, o->min, o->max);
        *(double *)o->target = v;
        return true;
    }
    case CLI_BYTES:
        if (!vc_parse_bytes(text, o->target))
            return vc_fail(err, VC_ERR_USAGE, "--%s: '%s' is not a size such as 64MiB", o->name, text);
        return true;
    case CLI_LIST: {
        CliList *list = o->target;
        list->items = vc_realloc(list->items, list->count + 1, sizeof *list->items);
        list->items[list->count++] = text;
        return true;
    }
    }
    return true;
}

typedef struct {
    const CliOption *table[MAX_OPTIONS];
    struct option longs[2 * MAX_OPTIONS + 3];
    const char *names[MAX_OPTIONS];
    char shorts[3 * MAX_OPTIONS];
    char negated[MAX_OPTIONS][48];
    size_t count, long_count;
} Parser;

static void add_options(Parser *p, const CliOption *options)
{
    for (const CliOption *o = options; o->name; o++) {
        VC_ASSERT(p->count < MAX_OPTIONS);
        size_t k = p->count++;
        int has_argument = o->type == CLI_FLAG    ? no_argument
                           : o->type == CLI_MAYBE ? optional_argument
                                                  : required_argument;
        p->table[k] = o;
        p->names[k] = o->name;
        p->longs[p->long_count++] = (struct option){o->name, has_argument, NULL, LONG_BASE + (int)k};
        if (o->type == CLI_FLAG) {
            snprintf(p->negated[k], sizeof p->negated[k], "no-%s", o->name);
            p->longs[p->long_count++] = (struct option){p->negated[k], no_argument, NULL, NEGATED + (int)k};
        }
        if (o->letter) {
            size_t n = strlen(p->shorts);
            snprintf(p->shorts + n, sizeof p->shorts - n, "%c%s", o->letter,
                     has_argument == required_argument   ? ":"
                     : has_argument == optional_argument ? "::"
                                                         : "");
        }
    }
}

static bool unknown_option(const Parser *p, const CliHelp *help, char **argv, int code, VcErr *err)
{
    const char *word = argv[optind - 1];
    if (code == ':')
        return vc_fail(err, VC_ERR_USAGE, "option '%s' needs a value; see 'vicha %s --help'", word, help->name);
    char name[64] = "";
    if (vc_has_prefix(word, "--"))
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *near = name[0] ? cli_nearest(name, p->names, p->count) : NULL;
    if (near)
        return vc_fail(err, VC_ERR_USAGE, "unknown option '--%s'; did you mean '--%s'?", name, near);
    return vc_fail(err, VC_ERR_USAGE, "unknown option '%s'; see 'vicha %s --help'", word, help->name);
}

bool cli_parse(CliContext *ctx, int argc, char **argv, const CliHelp *help, const CliOption *options, bool *help_shown,
               VcErr *err)
{
    *ctx = (CliContext){.workspace = ".", .threads = (int64_t)vc_cpu_count(), .program = "vicha"};
    *help_shown = false;
    const CliOption common[] = {
        {"workspace", 'w', CLI_STRING, &ctx->workspace, "DIR", "the folder to work on", 0, 0},
        {"threads", 0, CLI_INT, &ctx->threads, "N", "threads that compute", 1, 1024},
        {"json", 0, CLI_FLAG, &ctx->json, NULL, "results as JSON lines on standard output", 0, 0},
        {"quiet", 'q', CLI_FLAG, &ctx->quiet, NULL, "only errors", 0, 0},
        {"verbose", 'v', CLI_FLAG, &ctx->verbose, NULL, "say more", 0, 0},
        {0}};
    Parser p = {.shorts = ":"};
    add_options(&p, common);
    add_options(&p, options);
    p.longs[p.long_count++] = (struct option){"help", no_argument, NULL, 'h'};
    p.longs[p.long_count++] = (struct option){"version", no_argument, NULL, 'V'};
    size_t n = strlen(p.shorts);
    snprintf(p.shorts + n, sizeof p.shorts - n, "h");

    optind = 0; // a fresh scan also on the second call in one process
    opterr = 0;
    int code;
    while ((code = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1) {
        if (code == 'h') {
            print_help(help, common, options);
            *help_shown = true;
            return true;
        }
        if (code == 'V') {
            printf("vicha " VICHA_VERSION "\n");
            *help_shown = true;
            return true;
        }
        if (code == '?' || code == ':')
            return unknown_option(&p, help, argv, code, err);
        const CliOption *o = NULL;
        bool negated = code >= NEGATED;
        if (code >= LONG_BASE)
            o = p.table[code - (negated ? NEGATED : LONG_BASE)];
        for (size_t k = 0; !o && k < p.count; k++) {
            if (p.table[k]->letter == code)
                o = p.table[k];
        }
        if (!set_option(o, optarg, negated, err))
            return false;
    }
    ctx->argc = argc - optind;
    ctx->argv = vc_alloc((size_t)ctx->argc + 1, sizeof *ctx->argv);
    for (int i = 0; i < ctx->argc; i++)
        ctx->argv[i] = argv[optind + i];
    ctx->argv[ctx->argc] = NULL;
    vc_log_set_level(ctx->quiet ? VC_LOG_QUIET : ctx->verbose ? VC_LOG_DEBUG : VC_LOG_INFO);
    return true;
}

void cli_context_finish(CliContext *ctx)
{
    free(ctx->argv);
    ctx->argv = NULL;
}

void cli_settings_json(VcStr *out, const CliOption *options)
{
    vc_str_putc(out, '{');
    for (const CliOption *o = options; o->name; o++) {
        vc_str_putf(out, "%s\"%s\": ", o == options ? "" : ", ", o->name);
        switch (o->type) {
        case CLI_FLAG:
            vc_str_put(out, *(const bool *)o->target ? "true" : "false");
            break;
        case CLI_MAYBE:
        case CLI_STRING: {
            const char *text = *(const char *const *)o->target;
            if (text) {
                vc_str_put_json(out, text, strlen(text), false);
            } else {
                vc_str_put(out, "null");
            }
            break;
        }
        case CLI_INT:
            vc_str_putf(out, "%lld", (long long)*(const int64_t *)o->target);
            break;
        case CLI_REAL:
            vc_str_putf(out, "%.9g", *(const double *)o->target);
            break;
        case CLI_BYTES:
            vc_str_putf(out, "%llu", (unsigned long long)*(const uint64_t *)o->target);
            break;
        case CLI_LIST: {
            const CliList *list = o->target;
            vc_str_putc(out, '[');
            for (size_t i = 0; i < list->count; i++) {
                vc_str_put(out, i ? ", " : "");
                vc_str_put_json(out, list->items[i], strlen(list->items[i]), false);
            }
            vc_str_putc(out, ']');
            break;
        }
        }
    }
    vc_str_putc(out, '}');
}
