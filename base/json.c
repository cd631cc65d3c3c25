// SPDX-License-Identifier: MIT
#include "base/json.h"

#include "base/file.h"
#include "base/input.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <jansson.h>

static int put_piece(const char *piece, size_t n, void *out)
{
    vc_str_putn(out, piece, n);
    return 0;
}

void vc_json_put(VcStr *out, const VcJson *json)
{
    if (json_is_real(json)) { // the shorter of two forms that give the number back
        char digits[40];
        double back;
        snprintf(digits, sizeof digits, "%.15g", json_real_value(json));
        if (vc_parse_double(digits, &back) && back == json_real_value(json)) {
            vc_str_put(out, digits);
            return;
        }
    }
    // Inside lists and objects 17 digits, which always give it back.
    const int failed = json_dump_callback(json, put_piece, out, JSON_ENCODE_ANY);
    VC_ASSERT(!failed);
}

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
    if (!*out) {
        return vc_fail(err, VC_ERR_FORMAT, "%s is not valid JSON: line %d, column %d: %s", what, e.line, e.column,
                       e.text);
    }
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

const char *vc_json_library_version(void)
{
    return jansson_version_str();
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
    VcStr value, clean; // text of the element or line; the same with its UTF-8 repaired
    size_t repaired;
};

enum { MAX_ELEMENT = 64 << 20 }; // bytes; a quotation mark that is never closed must not swallow the file into memory

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
    if (ferror(s->file))
        return vc_input_fail(s->path, err);
    return vc_fail(err, VC_ERR_FORMAT, "'%s' at byte %lld: %s", s->path, (long long)ftello(s->file), why);
}

// Copies a string's text from after its opening quotation mark to the closing one. False at the end of the file.
static bool scan_string(FILE *f, VcStr *out)
{
    for (int c; (c = getc_unlocked(f)) != EOF;) {
        if (out)
            vc_str_putc(out, (char)c);
        if (c == '"')
            return true;
        if (c == '\\' && (c = getc_unlocked(f)) != EOF && out)
            vc_str_putc(out, (char)c);
        if (out && out->len > MAX_ELEMENT)
            return false;
    }
    return false;
}

// Copies the text of one value to `out` (NULL: skips it) and leaves the file right behind it. Only brackets and strings
// are looked at: whether the text is JSON is for the parser. False when the file, or our patience, ends inside it.
static bool scan_value(FILE *f, VcStr *out)
{
    size_t depth = 0;
    for (int c; (c = getc_unlocked(f)) != EOF;) {
        const bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        const bool ends = c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (depth == 0 && (closes || ends)) { // right behind a number or a word
            ungetc(c, f);
            return true;
        }
        if (out)
            vc_str_putc(out, (char)c);
        if (c == '"' && !scan_string(f, out))
            return false;
        depth += opens;
        depth -= closes;
        if (depth == 0 && (closes || c == '"'))
            return true;
        if (out && out->len > MAX_ELEMENT)
            return false;
    }
    return depth == 0;
}

static json_t *parse_repaired(VcJsonStream *s, const char *text, size_t n, json_error_t *e)
{
    if (!vc_utf8_valid(text, n)) {
        vc_str_clear(&s->clean);
        s->repaired += vc_utf8_repair(&s->clean, text, n);
        text = s->clean.data;
        n = s->clean.len;
    }
    return json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, e);
}

// Walks the members of the top-level object up to `member`; the values on the way are skipped unread.
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
        vc_str_clear(&s->value);
        json_t *key =
            scan_value(s->file, &s->value) ? json_loadb(s->value.data, s->value.len, JSON_DECODE_ANY, &e) : NULL;
        bool found = json_is_string(key) && strcmp(json_string_value(key), member) == 0;
        json_decref(key);
        if (skip_space(s->file) != ':')
            return bad_stream(s, "expected ':'", err);
        if (found)
            return true;
        c = skip_space(s->file);
        ungetc(c, s->file);
        if (c == EOF || !scan_value(s->file, NULL))
            return bad_stream(s, "the file ends inside a value", err);
    }
}

bool vc_json_stream_open(VcJsonStream **out, const char *path, VcJsonForm form, const char *member, VcErr *err)
{
    *out = NULL;
    FILE *file = vc_input_open(path, err);
    if (!file)
        return false;
    VcJsonStream *s = vc_calloc(1, sizeof *s);
    s->file = file;
    s->path = vc_strdup(path);
    s->form = form;
    int bom = getc(file);
    if (!(bom == 0xEF && getc(file) == 0xBB && getc(file) == 0xBF))
        rewind(file);
    if (form == VC_JSON_ARRAY && (!member || seek_member(s, member, err))) {
        if (skip_space(file) == '[') {
            *out = s;
        } else {
            bad_stream(s, member ? "expected an array as the member's value" : "expected a JSON array", err);
        }
    } else if (form == VC_JSON_LINES) {
        *out = s;
    }
    if (!*out)
        vc_json_stream_close(&s);
    return *out != NULL;
}

// A line into s->value; *whole is false for one that is too long, of which the rest is skipped. False at the end.
static bool read_line(VcJsonStream *s, bool *whole)
{
    vc_str_clear(&s->value);
    *whole = true;
    int c = getc_unlocked(s->file);
    if (c == EOF)
        return false;
    for (; c != EOF && c != '\n'; c = getc_unlocked(s->file)) {
        if (*whole)
            vc_str_putc(&s->value, (char)c);
        *whole = *whole && s->value.len <= MAX_ELEMENT;
    }
    return true;
}

static bool next_line(VcJsonStream *s, VcJson **item, size_t *line, VcErr *err)
{
    for (bool whole; !s->ended;) {
        const bool any = read_line(s, &whole);
        if (ferror(s->file)) {
            s->ended = true;
            return vc_input_fail(s->path, err);
        }
        if (!any)
            return true;
        s->count++;
        if (line)
            *line = s->count;
        if (!whole) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu is longer than %d MiB", s->path, s->count,
                           MAX_ELEMENT >> 20);
        }
        if (s->value.len == strspn(vc_str_get(&s->value), " \t\r"))
            continue;
        json_error_t e;
        *item = parse_repaired(s, s->value.data, s->value.len, &e);
        return *item || vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu is not valid JSON: %s", s->path, s->count, e.text);
    }
    return true;
}

bool vc_json_stream_next(VcJsonStream *s, VcJson **item, size_t *line, VcErr *err)
{
    *item = NULL;
    if (s->form == VC_JSON_LINES)
        return next_line(s, item, line, err);
    if (s->ended)
        return true;
    int c = skip_space(s->file);
    if (s->started && c == ',') {
        c = skip_space(s->file);
    } else if (s->started && c != ']') {
        return bad_stream(s, "expected ',' or ']'", err);
    }
    if (c == ']') {
        s->ended = true;
        return true;
    }
    ungetc(c, s->file);
    s->started = true;
    s->count++;
    if (line)
        *line = s->count;
    vc_str_clear(&s->value);
    if (c == EOF || !scan_value(s->file, &s->value))
        return bad_stream(s, "the file ends inside an element", err);
    json_error_t e;
    *item = parse_repaired(s, vc_str_get(&s->value), s->value.len, &e);
    return *item || vc_fail(err, VC_ERR_FORMAT, "'%s' item %zu is not valid JSON: %s", s->path, s->count, e.text);
}

bool vc_json_stream_ended(const VcJsonStream *s)
{
    return s->ended || feof(s->file);
}

size_t vc_json_stream_repaired(const VcJsonStream *s)
{
    return s->repaired;
}

void vc_json_stream_close(VcJsonStream **stream)
{
    if (!stream || !*stream)
        return;
    fclose((*stream)->file);
    free((*stream)->path);
    vc_str_finish(&(*stream)->value);
    vc_str_finish(&(*stream)->clean);
    free(*stream);
    *stream = NULL;
}
