// SPDX-License-Identifier: MIT
// The entry under construction: what all readers of sources put together.
#include "base/json.h"
#include "base/mem.h"
#include "extract/source_impl.h"

#include <ctype.h>
#include <stdarg.h>

enum { MAX_NAME = 256, MAX_VALUE = 8 << 10, MAX_COLUMNS = 64 << 10 }; // bytes of columns that are carried

void entry_begin(EntryBuilder *b, size_t number)
{
    vc_str_clear(&b->key);
    vc_str_clear(&b->split);
    vc_str_clear(&b->problem);
    vc_str_clear(&b->text);
    vc_str_clear(&b->columns);
    vc_str_clear(&b->second);
    vc_str_clear(&b->fields);
    vc_str_clear(&b->concepts);
    vc_str_clear(&b->second_concepts);
    b->shape = b->kind = NULL;
    b->count = 0;
    b->repaired = 0;
    b->number = number;
    b->offset = -1;
}

static void put_replaced(const EntryBuilder *b, VcStr *out, const char *text, size_t n)
{
    const size_t length = b->replace ? strlen(b->replace) : 0;
    for (size_t i = 0; i < n;) {
        if (length && n - i >= length && memcmp(text + i, b->replace, length) == 0) {
            vc_str_put(out, b->replacement ? b->replacement : "");
            i += length;
        } else {
            vc_str_putc(out, text[i++]);
        }
    }
}

void entry_key(EntryBuilder *b, const char *text, size_t n)
{
    vc_str_clear(&b->key);
    if (memchr(text, 0, n)) {
        entry_problem(b, "the image's name has a zero byte in it");
    } else {
        put_replaced(b, &b->key, text, n);
    }
}

void entry_second(EntryBuilder *b, const char *text, size_t n)
{
    vc_str_clear(&b->second);
    if (memchr(text, 0, n)) {
        entry_problem(b, "the second image's name has a zero byte in it");
    } else {
        put_replaced(b, &b->second, text, n);
    }
}

void entry_caption(EntryBuilder *b, const char *text, size_t n)
{
    while (n && isspace((unsigned char)text[0])) {
        text++;
        n--;
    }
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    if (n == 0)
        return;
    b->starts = vc_grow(b->starts, &b->starts_cap, b->count + 1, sizeof *b->starts);
    b->starts[b->count++] = b->text.len;
    size_t repairs = vc_utf8_repair(&b->text, text, n);
    for (size_t i = b->starts[b->count - 1]; i < b->text.len; i++) {
        if (b->text.data[i] == 0) { // would end the string for every C reader; a space keeps the words apart
            b->text.data[i] = ' ';
            repairs++;
        }
    }
    b->repaired += repairs > 0;
    vc_str_putc(&b->text, 0);
}

void entry_problem(EntryBuilder *b, const char *fmt, ...)
{
    if (b->problem.len)
        return; // the first one counts
    va_list ap;
    va_start(ap, fmt);
    vc_str_vputf(&b->problem, fmt, ap);
    va_end(ap);
}

static const char *text_or_null(const EntryBuilder *b, const VcStr *s)
{
    return b->shape && s->len ? s->data : NULL;
}

void entry_end(EntryBuilder *b, const char *unit, ExtractEntry *out)
{
    if (b->key.len == 0)
        entry_problem(b, "%s %zu names no image", unit, b->number);
    if (b->problem.len) {
        vc_str_clear(&b->key);
        vc_str_putf(&b->key, "#%s %zu", unit, b->number);
        b->count = 0;
        b->shape = b->kind = NULL;
        vc_str_clear(&b->concepts);
        vc_str_clear(&b->columns);
    }
    if (b->columns.len)
        vc_str_putc(&b->columns, '}');
    b->captions = vc_grow(b->captions, &b->captions_cap, b->count + 1, sizeof *b->captions);
    for (size_t i = 0; i < b->count; i++)
        b->captions[i] = b->text.data + b->starts[i];
    *out = (ExtractEntry){.number = b->number,
                          .key = b->key.data,
                          .captions = b->captions,
                          .caption_count = b->count,
                          .split = b->split.len ? b->split.data : b->default_split,
                          .problem = b->problem.len ? b->problem.data : NULL,
                          .columns = b->columns.len ? b->columns.data : NULL,
                          .repaired = b->repaired,
                          .offset = b->offset,
                          .shape = b->shape,
                          .kind = b->kind,
                          .second_key = text_or_null(b, &b->second),
                          .fields = text_or_null(b, &b->fields),
                          .concepts = b->concepts.len ? b->concepts.data : NULL,
                          .second_concepts = text_or_null(b, &b->second_concepts)};
}

void entry_finish(EntryBuilder *b)
{
    vc_str_finish(&b->key);
    vc_str_finish(&b->split);
    vc_str_finish(&b->problem);
    vc_str_finish(&b->text);
    vc_str_finish(&b->columns);
    vc_str_finish(&b->second);
    vc_str_finish(&b->fields);
    vc_str_finish(&b->concepts);
    vc_str_finish(&b->second_concepts);
    free(b->starts);
    free(b->captions);
}

void entry_caption_lines(EntryBuilder *b, const char *text, size_t n)
{
    b->count = 0;
    vc_str_clear(&b->text);
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t length = end ? (size_t)(end - text) - at : n - at;
        entry_caption(b, text + at, length);
        at += length + 1;
    }
}

// --- other columns

static bool is_wanted(const ExtractSourceOptions *o, const char *name)
{
    if (!o->columns)
        return true;
    const size_t n = strlen(name);
    for (const char *at = o->columns; *at;) {
        const size_t length = strcspn(at, ",");
        if (length == n && memcmp(at, name, n) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

// Is the text a number as JSON writes it? "007" and "1e999 " are words.
static bool is_number(const char *text, size_t n)
{
    size_t i = n && text[0] == '-';
    const size_t digits = i;
    while (i < n && isdigit((unsigned char)text[i]))
        i++;
    if (i == digits || n > 24 || (text[digits] == '0' && i > digits + 1))
        return false;
    if (i < n && text[i] == '.') {
        const size_t point = ++i;
        while (i < n && isdigit((unsigned char)text[i]))
            i++;
        if (i == point)
            return false;
    }
    return i == n;
}

static void put_column(EntryBuilder *b, const char *name, const char *json, size_t n)
{
    const size_t before = b->columns.len;
    vc_str_put(&b->columns, before ? ", " : "{");
    vc_str_put_json(&b->columns, name, strlen(name), false);
    vc_str_put(&b->columns, ": ");
    vc_str_putn(&b->columns, json, n);
    if (b->columns.len > MAX_COLUMNS) {
        b->columns.len = before;
        b->columns.data[before] = 0;
    }
}

void entry_column(EntryBuilder *b, const ExtractSourceOptions *o, const char *name, const char *text, size_t n)
{
    if (n == 0 || n > MAX_VALUE || !*name || strlen(name) > MAX_NAME || !is_wanted(o, name))
        return;
    if (is_number(text, n)) {
        put_column(b, name, text, n);
        return;
    }
    VcStr json = {0};
    vc_str_put_json(&json, text, n, false);
    put_column(b, name, json.data, json.len);
    vc_str_finish(&json);
}

void entry_column_json(EntryBuilder *b, const ExtractSourceOptions *o, const char *name, const VcJson *value)
{
    if (!value || vc_json_is_null(value) || !*name || strlen(name) > MAX_NAME || !is_wanted(o, name))
        return;
    VcStr json = {0};
    vc_json_put(&json, value);
    if (json.len <= MAX_VALUE)
        put_column(b, name, json.data, json.len);
    vc_str_finish(&json);
}

// --- KEY.json

static void sidecar_captions(EntryBuilder *b, const VcJson *json)
{
    size_t n;
    const VcJson *list = vc_json_member(json, "captions");
    for (size_t i = 0; i < vc_json_length(list); i++) {
        const char *text = vc_json_string(vc_json_item(list, i), &n);
        if (text)
            entry_caption(b, text, n);
    }
    static const char *const names[] = {"caption", "text"};
    for (size_t i = 0; b->count == 0 && i < sizeof names / sizeof *names; i++) {
        const char *text = vc_json_string(vc_json_member(json, names[i]), &n);
        if (text)
            entry_caption(b, text, n);
    }
}

void entry_sidecar(EntryBuilder *b, const ExtractSourceOptions *o, const char *text, size_t n)
{
    VcJson *json;
    if (!vc_json_parse(&json, text, n, "sidecar", NULL))
        return; // not ours to judge: many tools leave files beside images
    if (b->count == 0)
        sidecar_captions(b, json);
    void *iter = NULL;
    const char *name;
    VcJson *value;
    while (vc_json_next_member(json, &iter, &name, &value)) {
        unsigned rank;
        if (strcmp(name, "columns") == 0 && vc_json_is_object(value)) { // of a shard of ours
            void *inner = NULL;
            const char *inner_name;
            VcJson *inner_value;
            while (vc_json_next_member(value, &inner, &inner_name, &inner_value))
                entry_column_json(b, o, inner_name, inner_value);
        } else if (strcmp(name, "key") != 0 && source_role(name, &rank) != ROLE_CAPTION) {
            entry_column_json(b, o, name, value);
        }
    }
    vc_json_destroy(&json);
}
