// SPDX-License-Identifier: MIT
#include "cli/train_tools.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "extract/extract.h"
#include "train/train.h"

#include <stdio.h>
#include <stdlib.h>

enum { PNG_SCALE = 2 }; // 1800 pixels wide

static bool has_ending(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n > m && strcmp(text + n - m, ending) == 0;
}

bool cli_train_plot(const CliContext *ctx, const char *metric, const char *to, VcErr *err)
{
    to = to ? to : "runs.svg";
    bool png = has_ending(to, ".png");
    if (!png && !has_ending(to, ".svg"))
        return vc_fail(err, VC_ERR_USAGE, "--out '%s': a picture's name ends in .svg or .png", to);
    VcStr svg = {0};
    uint8_t *bytes = NULL;
    size_t n = 0;
    bool ok = train_plot_runs(&svg, ctx->argv, (size_t)ctx->argc, metric, err);
    if (ok && png) {
        ok = extract_svg_to_png(svg.data, svg.len, PNG_SCALE, &bytes, &n, err) && vc_write_file(to, bytes, n, err);
    } else if (ok) {
        ok = vc_write_file(to, svg.data, svg.len, err);
    }
    if (ok && ctx->json) {
        VcStr line = {0};
        vc_str_put(&line, "{\"plot\": ");
        vc_str_put_json(&line, to, strlen(to), false);
        printf("%s, \"runs\": %d}\n", line.data, ctx->argc);
        vc_str_finish(&line);
    } else if (ok) {
        printf("%s\n", to);
    }
    free(bytes);
    vc_str_finish(&svg);
    return ok;
}

void cli_train_list(const CliContext *ctx)
{
    size_t count;
    const TrainBuiltin *list = train_builtins(&count);
    for (size_t i = 0; i < count; i++) {
        VcJson *json = NULL;
        VcErr err;
        VC_ASSERT(vc_json_parse(&json, list[i].text, strlen(list[i].text), list[i].name, &err));
        const char *what = vc_json_string(vc_json_member(json, "#"), NULL);
        if (ctx->json) {
            VcStr line = {0};
            vc_str_putf(&line, "{\"recipe\": \"%s\", \"about\": ", list[i].name);
            vc_str_put_json(&line, what, strlen(what), false);
            printf("%s}\n", line.data);
            vc_str_finish(&line);
        } else {
            printf("%-14s %s\n", list[i].name, what);
        }
        vc_json_destroy(&json);
    }
}

bool cli_train_show(const char *name, VcErr *err)
{
    const TrainBuiltin *found = train_builtin_find(name);
    if (!found) {
        return vc_fail(err, VC_ERR_USAGE, "no recipe '%s' comes with the program ('vicha train --list' names them)",
                       name);
    }
    fputs(found->text, stdout);
    return true;
}
