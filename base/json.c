// SPDX-License-Identifier: MIT
#include "base/json.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <jansson.h>

// jansson borrows through non-const pointers; our readers never change a document.
static json_t *unconst(const VcJson *json)
{
    union {
        const json_t *in;
        json_t *out;
    } p = {json};
    return p.out;
}

bool vc_json_parse(VcJson **out, const char *text, size_t n, const char *what, VcErr *err)
{
    json_error_t e;
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!*out)
        return vc_fail(err, VC_ERR_FORMAT, "%s is not valid JSON: line %d, column %d: %s", what, e.line, e.column,
                       e.text);
    return true;
}

bool vc_json_read_file(VcJson **out, const char *path, size_t max_bytes, VcErr *err)
{
    char *text;
    size_t n;
    if (!vc_read_file(&text, &n, path, max_bytes, err))
        return false;
    VcStr what = {0};
    vc_str_putf(&what, "'%s'", path);
    bool ok = vc_json_parse(out, text, n, what.data, err);
    vc_str_finish(&what);
    free(text);
    return ok;
}

void vc_json_destroy(VcJson **json)
{
    if (!json || !*json)
        return;
    json_decref(*json);
    *json = NULL;
}

bool vc_json_is_object(const VcJson *json)
{
    return json_is_object(json);
}

bool vc_json_is_array(const VcJson *json)
{
    return json_is_array(json);
}

bool vc_json_is_string(const VcJson *json)
{
    return json_is_string(json);
}

bool vc_json_is_number(const VcJson *json)
{
    return json_is_number(json);
}

bool vc_json_is_null(const VcJson *json)
{
    return json_is_null(json);
}

VcJson *vc_json_member(const VcJson *json, const char *key)
{
    return json_object_get(json, key);
}

size_t vc_json_length(const VcJson *json)
{
    return json_is_array(json) ? json_array_size(json) : json_object_size(json);
}

VcJson *vc_json_item(const VcJson *json, size_t index)
{
    return json_array_get(json, index);
}

bool vc_json_next_member(const VcJson *json, void **iter, const char **key, VcJson **value)
{
    json_t *object = unconst(json);
    *iter = *iter ? json_object_iter_next(object, *iter) : json_object_iter(object);
    if (!*iter)
        return false;
    *key = json_object_iter_key(*iter);
    *value = json_object_iter_value(*iter);
    return true;
}

const char *vc_json_string(const VcJson *json, size_t *length)
{
    if (length)
        *length = json_string_length(json);
    return json_string_value(json);
}

double vc_json_number(const VcJson *json, double otherwise)
{
    return json_is_number(json) ? json_number_value(json) : otherwise;
}

int64_t vc_json_int(const VcJson *json, int64_t otherwise)
{
    return json_is_integer(json) ? json_integer_value(json) : otherwise;
}

bool vc_json_bool(const VcJson *json, bool otherwise)
{
    return json_is_boolean(json) ? json_is_true(json) : otherwise;
}

static bool wrong_type(const char *key, const VcJson *value, const char *expected, const char *what, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s' in %s: expected %s, %s", key, what, expected,
                   value ? "found something else" : "but it is missing");
}

bool vc_json_get_string(const VcJson *json, const char *key, const char **out, const char *what, VcErr *err)
{
    const VcJson *value = vc_json_member(json, key);
    if (!json_is_string(value))
        return wrong_type(key, value, "a string", what, err);
    *out = json_string_value(value);
    return true;
}

bool vc_json_get_int(const VcJson *json, const char *key, int64_t *out, const char *what, VcErr *err)
{
    const VcJson *value = vc_json_member(json, key);
    if (!json_is_integer(value))
        return wrong_type(key, value, "an integer", what, err);
    *out = json_integer_value(value);
    return true;
}

bool vc_json_get_number(const VcJson *json, const char *key, double *out, const char *what, VcErr *err)
{
    const VcJson *value = vc_json_member(json, key);
    if (!json_is_number(value))
        return wrong_type(key, value, "a number", what, err);
    *out = json_number_value(value);
    return true;
}

struct VcJsonStream {
    FILE *file;
    char *path;
    VcJsonForm form;
    size_t count; // elements or lines read so far
    bool started, ended;
    char *line; // getline's buffer
    size_t line_cap;
};

static int skip_space(FILE *f)
{
    int c;
    do {
        c = getc(f);
    } while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    return c;
}

static bool bad_stream(VcJsonStream *s, const char *why, VcErr *err)
{
    s->ended = true;
    return vc_fail(err, VC_ERR_FORMAT, "'%s' at byte %lld: %s", s->path, (long long)ftello(s->file), why);
}

// Reads one value and leaves the file right behind it. jansson must look at the character after a number or a word to
// know that it ended; e.position says how many bytes were the value's.
static json_t *read_value(FILE *f, json_error_t *e)
{
    off_t start = ftello(f);
    json_t *value = json_loadf(f, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_ALLOW_NUL, e);
    if (value && ftello(f) != start + e->position)
        fseeko(f, start + e->position, SEEK_SET);
    return value;
}

// Walks the members of the top-level object up to `member`, one value in memory at a time.
static bool seek_member(VcJsonStream *s, const char *member, VcErr *err)
{
    if (skip_space(s->file) != '{')
        return bad_stream(s, "expected a JSON object", err);
    for (;;) {
        int c = skip_space(s->file);
        if (c == ',')
            c = skip_space(s->file);
        if (c != '"')
            return vc_fail(err, VC_ERR_FORMAT, "'%s' has no member '%s'", s->path, member);
        ungetc(c, s->file);
        json_error_t e;
        json_t *key = read_value(s->file, &e);
        if (!key)
            return bad_stream(s, e.text, err);
        bool found = json_is_string(key) && strcmp(json_string_value(key), member) == 0;
        json_decref(key);
        if (skip_space(s->file) != ':')
            return bad_stream(s, "expected ':'", err);
        if (found)
            return true;
        json_t *value = read_value(s->file, &e);
        if (!value)
            return bad_stream(s, e.text, err);
        json_decref(value);
    }
}

bool vc_json_stream_open(VcJsonStream **out, const char *path, VcJsonForm form, const char *member, VcErr *err)
{
    *out = NULL;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return vc_fail_errno(err, "cannot open '%s'", path);
    VcJsonStream *s = vc_calloc(1, sizeof *s);
    s->file = file;
    s->path = vc_strdup(path);
    s->form = form;
    int bom = getc(file);
    if (!(bom == 0xEF && getc(file) == 0xBB && getc(file) == 0xBF))
        rewind(file);
    if (form == VC_JSON_ARRAY && (!member || seek_member(s, member, err))) {
        if (skip_space(file) == '[')
            *out = s;
        else
            bad_stream(s, member ? "expected an array as the member's value" : "expected a JSON array", err);
    } else if (form == VC_JSON_LINES) {
        *out = s;
    }
    if (!*out)
        vc_json_stream_close(&s);
    return *out != NULL;
}

static bool next_line(VcJsonStream *s, VcJson **item, size_t *line, VcErr *err)
{
    for (;;) {
        errno = 0;
        ssize_t n = getline(&s->line, &s->line_cap, s->file);
        if (n < 0 && ferror(s->file))
            return vc_fail_errno(err, "cannot read '%s'", s->path);
        if (n < 0)
            return true;
        s->count++;
        if (line)
            *line = s->count;
        if ((size_t)n == strspn(s->line, " \t\r\n"))
            continue;
        json_error_t e;
        *item = json_loadb(s->line, (size_t)n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
        return *item || vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu is not valid JSON: %s", s->path, s->count, e.text);
    }
}

bool vc_json_stream_next(VcJsonStream *s, VcJson **item, size_t *line, VcErr *err)
{
    *item = NULL;
    if (s->form == VC_JSON_LINES)
        return next_line(s, item, line, err);
    if (s->ended)
        return true;
    int c = skip_space(s->file);
    if (s->started && c == ',')
        c = skip_space(s->file);
    else if (s->started && c != ']')
        return bad_stream(s, "expected ',' or ']'", err);
    if (c == ']') {
        s->ended = true;
        return true;
    }
    ungetc(c, s->file);
    s->started = true;
    s->count++;
    if (line)
        *line = s->count;
    json_error_t e;
    *item = read_value(s->file, &e);
    return *item || bad_stream(s, e.text, err);
}

void vc_json_stream_close(VcJsonStream **stream)
{
    if (!stream || !*stream)
        return;
    fclose((*stream)->file);
    free((*stream)->path);
    free((*stream)->line);
    free(*stream);
    *stream = NULL;
}
