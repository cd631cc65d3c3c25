// SPDX-License-Identifier: MIT
// What an import says: a short table in the log, the whole one as JSON.
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "train/import_private.h"

#include <stdio.h>

static void put_reason(VcStr *out, const TrainImport *im, size_t i)
{
    const TrainTarget *o = &im->targets[i];
    char there[NN_SHAPE_TEXT], here[NN_SHAPE_TEXT];
    switch (o->fate) {
    case TRAIN_FATE_ABSENT:
        vc_str_put(out, "in no source: first values of the recipe");
        break;
    case TRAIN_FATE_MISFIT:
        vc_str_putf(out, "%s %s there, %s here: first values of the recipe", nn_dtype_name(o->tensor->dtype),
                    nn_shape_text(&o->tensor->shape, there), nn_shape_text(&im->targets[i].info->shape, here));
        break;
    case TRAIN_FATE_JOINED:
        vc_str_put(out, "query, key and value joined");
        break;
    case TRAIN_FATE_INTERPOLATED:
        vc_str_putf(out, "positions of %zux%zu patches stretched to %zux%zu", o->from_grid, o->from_grid, o->to_grid,
                    o->to_grid);
        break;
    case TRAIN_FATE_COPIED:
        vc_str_put(out, "copied from the student");
        break;
    case TRAIN_FATE_LOADED:
        break;
    }
}

static void put_member(VcStr *out, const char *key, const char *value)
{
    vc_str_putf(out, ", \"%s\": ", key);
    vc_str_put_json(out, value, strlen(value), false);
}

static void put_parameters_json(VcStr *out, const TrainImport *im)
{
    static const char *const fates[] = {"first values", "first values", "loaded", "joined", "interpolated", "copied"};
    vc_str_put(out, "  \"parameters\": [");
    for (size_t i = 0; i < im->target_count; i++) {
        const TrainTarget *o = &im->targets[i];
        char shape[NN_SHAPE_TEXT];
        VcStr reason = {0};
        put_reason(&reason, im, i);
        vc_str_put(out, i > 0 ? ",\n    {\"name\": " : "\n    {\"name\": ");
        vc_str_put_json(out, im->targets[i].info->name, strlen(im->targets[i].info->name), false);
        vc_str_putf(out, ", \"shape\": %s, \"values\": \"%s\"", nn_shape_text(&im->targets[i].info->shape, shape),
                    fates[o->fate]);
        if (o->source != NULL) {
            vc_str_putf(out, ", \"source\": %zu", (size_t)(o->source - im->sources));
            put_member(out, "tensor", o->tensor->name);
            put_member(out, "dtype", nn_dtype_name(o->tensor->dtype));
        }
        if (reason.len > 0)
            put_member(out, "why", reason.data);
        vc_str_putc(out, '}');
        vc_str_finish(&reason);
    }
    vc_str_put(out, "\n  ]");
    vc_str_putf(out, ",\n  \"queues\": \"%s\"", im->queues != NULL ? "loaded" : "first values");
}

// Why a tensor was left: by its name, or because a later source or a part had the word.
static const char *left_reason(const TrainImport *im, const TrainSource *s, const NnStored *t)
{
    for (size_t i = 0; i < im->target_count; i++) {
        const TrainNamed named = train_named(s->set, &s->naming, im->targets[i].info->name);
        for (size_t k = 0; k < named.count; k++) {
            if (named.tensors[k] != t)
                continue;
            if (!train_import_may_fill(s->part, im->targets[i].info->name))
                continue;
            return im->targets[i].fate >= TRAIN_FATE_LOADED ? "a later source was taken" : "another shape or type";
        }
    }
    const char *reason = train_unused_reason(t->name);
    return reason != NULL ? reason : "the model has no such parameter";
}

static void put_sources_json(VcStr *out, const TrainImport *im)
{
    static const char *const parts[] = {"all", "visual", "text", "concepts"};
    vc_str_put(out, "{\n  \"sources\": [");
    for (size_t k = 0; k < im->count; k++) {
        const TrainSource *s = &im->sources[k];
        vc_str_put(out, k > 0 ? ",\n    {\"path\": " : "\n    {\"path\": ");
        vc_str_put_json(out, s->path, strlen(s->path), false);
        put_member(out, "file", nn_safetensors_path(s->set));
        put_member(out, "names", train_naming_text(&s->naming));
        vc_str_putf(out, ", \"part\": \"%s\", \"tensors\": %zu, \"parameters\": %zu, \"unused\": [", parts[s->part],
                    nn_safetensors_count(s->set), s->loaded);
        bool first = true;
        for (size_t i = 0; i < nn_safetensors_count(s->set); i++) {
            const NnStored *t = nn_safetensors_at(s->set, i);
            char shape[NN_SHAPE_TEXT];
            if (s->used[i])
                continue;
            vc_str_put(out, first ? "\n      {\"name\": " : ",\n      {\"name\": ");
            vc_str_put_json(out, t->name, strlen(t->name), false);
            vc_str_putf(out, ", \"shape\": %s", nn_shape_text(&t->shape, shape));
            put_member(out, "why", left_reason(im, s, t));
            vc_str_putc(out, '}');
            first = false;
        }
        vc_str_put(out, "]}");
    }
    vc_str_put(out, "\n  ],\n");
}

bool train_import_write(const TrainImport *im, const char *run, VcErr *err)
{
    VcStr text = {0};
    put_sources_json(&text, im);
    put_parameters_json(&text, im);
    vc_str_put(&text, "\n}\n");
    char *path = vc_path_join(run, "init.json");
    const bool ok = vc_write_file(path, text.data, text.len, err);
    free(path);
    vc_str_finish(&text);
    return ok;
}

// "text_encoder.bert.encoder.layer.3.x" -> "text_encoder.bert", "visual_encoder.norm.bias" -> "visual_encoder".
static void part_of(const char *name, char out[64])
{
    size_t n = strcspn(name, ".");
    static const char text[] = "text_encoder";
    if (vc_has_prefix(name, text) && name[n] == '.')
        n += 1 + strcspn(name + n + 1, ".");
    snprintf(out, 64, "%.*s", (int)(n < 63 ? n : 63), name);
}

// Numbers between dots become '*', so that the same parameter of all layers is one line.
static void pattern_of(const char *name, char out[200])
{
    size_t n = 0;
    for (const char *p = name; *p != '\0' && n < 198;) {
        const size_t digits = strspn(p, "0123456789");
        if (p > name && p[-1] == '.' && digits > 0 && (p[digits] == '.' || p[digits] == '\0')) {
            out[n++] = '*';
            p += digits;
        } else {
            out[n++] = *p++;
        }
    }
    out[n] = '\0';
}

// One line for all parameters of a part that share a pattern and a reason, at the first of them.
static void say_missing(const TrainImport *im, size_t i)
{
    char pattern[200], other[200];
    VcStr reason = {0}, also = {0};
    pattern_of(im->targets[i].info->name, pattern);
    put_reason(&reason, im, i);
    size_t count = 0;
    bool first = true;
    for (size_t k = 0; k < im->target_count; k++) {
        pattern_of(im->targets[k].info->name, other);
        if (im->targets[k].fate >= TRAIN_FATE_LOADED || strcmp(pattern, other) != 0)
            continue;
        vc_str_clear(&also);
        put_reason(&also, im, k);
        if (strcmp(vc_str_get(&also), vc_str_get(&reason)) != 0)
            continue;
        first = first && k >= i;
        count++;
    }
    if (first && count > 1) {
        vc_info("    %s (%zu): %s", pattern, count, vc_str_get(&reason));
    } else if (first) {
        vc_info("    %s: %s", im->targets[i].info->name, vc_str_get(&reason));
    }
    vc_str_finish(&reason);
    vc_str_finish(&also);
}

static void say_part(const TrainImport *im, const char *part)
{
    size_t total = 0, loaded = 0, copied = 0;
    char name[64];
    for (size_t i = 0; i < im->target_count; i++) {
        part_of(im->targets[i].info->name, name);
        if (strcmp(name, part) != 0)
            continue;
        const TrainFate fate = im->targets[i].fate;
        total++;
        loaded += fate == TRAIN_FATE_LOADED || fate == TRAIN_FATE_JOINED || fate == TRAIN_FATE_INTERPOLATED;
        copied += fate == TRAIN_FATE_COPIED;
    }
    vc_info("  %-24s %4zu of %4zu loaded%s", part, loaded, total,
            copied > 0 ? ", the rest copied from the student" : "");
    for (size_t i = 0; i < im->target_count; i++) {
        part_of(im->targets[i].info->name, name);
        if (strcmp(name, part) != 0)
            continue;
        if (im->targets[i].fate == TRAIN_FATE_INTERPOLATED) {
            VcStr reason = {0};
            put_reason(&reason, im, i);
            vc_info("    %s: %s", im->targets[i].info->name, reason.data);
            vc_str_finish(&reason);
        } else if (im->targets[i].fate < TRAIN_FATE_LOADED) {
            say_missing(im, i);
        }
    }
}

void train_import_say(const TrainImport *im)
{
    for (size_t k = 0; k < im->count; k++) {
        const TrainSource *s = &im->sources[k];
        size_t unused = 0;
        for (size_t i = 0; i < nn_safetensors_count(s->set); i++)
            unused += !s->used[i];
        vc_info("start from '%s' (%s): %zu parameters, %zu of %zu tensors unused", nn_safetensors_path(s->set),
                train_naming_text(&s->naming), s->loaded, unused, nn_safetensors_count(s->set));
    }
    char part[64], earlier[64];
    for (size_t i = 0; i < im->target_count; i++) {
        bool first = true;
        part_of(im->targets[i].info->name, part);
        for (size_t k = 0; first && k < i; k++) {
            part_of(im->targets[k].info->name, earlier);
            first = strcmp(part, earlier) != 0;
        }
        if (first)
            say_part(im, part);
    }
}
