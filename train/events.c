// SPDX-License-Identifier: MIT
#include "train/events.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <math.h>

enum { MAX_METRICS = 1 << 30 };
// Field numbers of tensorboard's event.proto and summary.proto.
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct TrainEvents {
    FILE *file;
    char *path;
    VcStr event, summary, value;
};

// A bit at a time: a run writes a few kilobytes.
static uint32_t crc32c(const uint8_t *data, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    }
    return ~crc;
}

uint32_t train_masked_crc32c(const void *data, size_t n)
{
    uint32_t crc = crc32c(data, n);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static void put_fixed(VcStr *out, uint64_t bits, int bytes)
{
    for (int i = 0; i < bytes; i++)
        vc_str_putc(out, (char)(bits >> (8 * i) & 255));
}

static void put_varint(VcStr *out, uint64_t x)
{
    for (; x > 127; x >>= 7)
        vc_str_putc(out, (char)((x & 127) | 128));
    vc_str_putc(out, (char)x);
}

static void put_key(VcStr *out, int field, int wire)
{
    put_varint(out, (uint64_t)(field << 3 | wire));
}

static void put_double(VcStr *out, int field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(out, field, WIRE_64);
    put_fixed(out, bits, 8);
}

static void put_float(VcStr *out, int field, double x)
{
    float narrow = (float)x;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    put_key(out, field, WIRE_32);
    put_fixed(out, bits, 4);
}

static void put_bytes(VcStr *out, int field, const char *data, size_t n)
{
    put_key(out, field, WIRE_BYTES);
    put_varint(out, n);
    vc_str_putn(out, data, n);
}

static bool write_record(TrainEvents *e, VcErr *err)
{
    VcStr head = {0}, tail = {0};
    put_fixed(&head, e->event.len, 8);
    put_fixed(&head, train_masked_crc32c(head.data, 8), 4);
    put_fixed(&tail, train_masked_crc32c(e->event.data, e->event.len), 4);
    bool ok = fwrite(head.data, 1, head.len, e->file) == head.len &&
              fwrite(e->event.data, 1, e->event.len, e->file) == e->event.len &&
              fwrite(tail.data, 1, tail.len, e->file) == tail.len;
    vc_str_finish(&head);
    vc_str_finish(&tail);
    return ok || vc_fail_errno(err, "cannot write '%s'", e->path);
}

static bool of_evaluation(const char *name)
{
    return vc_has_prefix(name, "eval_") || vc_has_prefix(name, "i2t_") || vc_has_prefix(name, "t2i_") ||
           vc_has_prefix(name, "chance_");
}

static void put_scalar(TrainEvents *e, const char *name, double x)
{
    VcStr tag = {0};
    bool eval = of_evaluation(name);
    vc_str_putf(&tag, "%s/%s", eval ? "eval" : "train", eval && vc_has_prefix(name, "eval_") ? name + 5 : name);
    vc_str_clear(&e->value);
    put_bytes(&e->value, VALUE_TAG, tag.data, tag.len);
    put_float(&e->value, VALUE_SIMPLE, x);
    put_bytes(&e->summary, SUMMARY_VALUE, e->value.data, e->value.len);
    vc_str_finish(&tag);
}

static bool add_line(TrainEvents *e, const VcJson *line, double now, VcErr *err)
{
    void *iter = NULL;
    const char *name;
    VcJson *member;
    vc_str_clear(&e->summary);
    while (vc_json_next_member(line, &iter, &name, &member)) {
        if (vc_json_is_number(member) && strcmp(name, "step") != 0)
            put_scalar(e, name, vc_json_number(member, 0));
    }
    if (e->summary.len == 0)
        return true;
    vc_str_clear(&e->event);
    put_double(&e->event, EVENT_WALL_TIME, now);
    put_key(&e->event, EVENT_STEP, WIRE_VARINT);
    put_varint(&e->event, (uint64_t)vc_json_int(vc_json_member(line, "step"), 0));
    put_bytes(&e->event, EVENT_SUMMARY, e->summary.data, e->summary.len);
    return write_record(e, err);
}

bool train_events_add(TrainEvents *e, const VcJson *line, VcErr *err)
{
    if (!add_line(e, line, (double)vc_unix_time(), err))
        return false;
    return fflush(e->file) == 0 || vc_fail_errno(err, "cannot write '%s'", e->path);
}

static double last_second(const char *text, size_t n)
{
    double last = 0;
    for (size_t at = 0; at < n; at += strcspn(text + at, "\n") + 1) {
        VcJson *json = NULL;
        if (vc_json_parse(&json, text + at, strcspn(text + at, "\n"), "metrics", NULL))
            last = fmax(last, vc_json_number(vc_json_member(json, "seconds"), 0));
        vc_json_destroy(&json);
    }
    return last;
}

// Lines of the past get the times that lie as far apart as they were trained.
static bool add_past(TrainEvents *e, const char *text, size_t n, VcErr *err)
{
    double base = (double)vc_unix_time() - last_second(text, n), now = base;
    vc_str_clear(&e->event);
    put_double(&e->event, EVENT_WALL_TIME, base);
    put_bytes(&e->event, EVENT_VERSION, "brain.Event:2", 13);
    bool ok = write_record(e, err);
    for (size_t at = 0; ok && at < n; at += strcspn(text + at, "\n") + 1) {
        VcJson *json = NULL;
        if (vc_json_parse(&json, text + at, strcspn(text + at, "\n"), "metrics", NULL)) {
            now = base + vc_json_number(vc_json_member(json, "seconds"), now - base);
            ok = add_line(e, json, now, err);
        }
        vc_json_destroy(&json);
    }
    return ok && (fflush(e->file) == 0 || vc_fail_errno(err, "cannot write '%s'", e->path));
}

bool train_events_open(TrainEvents **out, const char *run, VcErr *err)
{
    TrainEvents *e = vc_calloc(1, sizeof *e);
    char *dir = vc_path_join(run, "tensorboard"), *metrics = vc_path_join(run, "metrics.jsonl"), *text = NULL;
    size_t n = 0;
    e->path = vc_path_join(dir, "events.out.tfevents.0.vicha");
    bool ok = vc_make_dirs(dir, err) && (!vc_exists(metrics) || vc_read_file(&text, &n, metrics, MAX_METRICS, err));
    if (ok) {
        e->file = fopen(e->path, "wb");
        ok = (e->file || vc_fail_errno(err, "cannot open '%s'", e->path)) && add_past(e, text ? text : "", n, err);
    }
    free(text);
    free(dir);
    free(metrics);
    if (!ok)
        train_events_close(&e, NULL);
    *out = e;
    return ok;
}

bool train_events_close(TrainEvents **events, VcErr *err)
{
    TrainEvents *e = *events;
    if (!e)
        return true;
    bool ok = !e->file || fclose(e->file) == 0 || vc_fail_errno(err, "cannot write '%s'", e->path);
    vc_str_finish(&e->event);
    vc_str_finish(&e->summary);
    vc_str_finish(&e->value);
    free(e->path);
    free(e);
    *events = NULL;
    return ok;
}
