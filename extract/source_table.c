// SPDX-License-Identifier: MIT
// .csv with RFC 4180 quoting and .tsv without any quoting (captions are full of quotation marks), with a header line
// or, like CC3M's "caption<TAB>url" and Flickr8k's "name.jpg#0<TAB>caption", without one.
#include "base/input.h"
#include "base/mem.h"
#include "extract/source_impl.h"

#include <strings.h>

enum { MAX_RECORD = 1 << 20 }; // bytes; a quote that is never closed must not swallow the file

typedef struct {
    FILE *file;
    char separator;
    bool quoting;
    size_t line;  // number of the next line
    uint64_t at;  // bytes read
    VcStr header; // the names of the columns, each with a zero byte; empty without a header line
    size_t *names, names_cap, name_count; // where each begins
    bool broken;                          // the file could not be read to its end; that has been told
    VcStr text;                           // the fields of a record one after the other, each with a zero byte
    size_t *starts, starts_cap, count;
    const char *problem;     // of the record, or NULL
    int image, url, caption; // columns, -1 where there is none
    bool pending;            // the first record was no header: it is the first entry too
    size_t record_line;
} Table;

static int next_char(Table *t)
{
    const int c = getc_unlocked(t->file);
    t->at += c != EOF;
    return c;
}

static void put_field(Table *t)
{
    vc_str_putc(&t->text, 0);
    t->starts = vc_grow(t->starts, &t->starts_cap, t->count + 2, sizeof *t->starts);
    t->starts[++t->count] = t->text.len;
}

// Reads the characters of a quoted field after its opening quote. False when no closing quote came.
static bool read_quoted(Table *t)
{
    int c;
    while ((c = next_char(t)) != EOF && t->text.len <= MAX_RECORD) {
        if (c == '\n')
            t->line++;
        if (c == '"') {
            c = next_char(t);
            if (c != '"') {
                if (c != EOF) {
                    ungetc(c, t->file);
                    t->at--;
                }
                return true;
            }
        }
        vc_str_putc(&t->text, (char)c);
    }
    return false;
}

static void skip_line(Table *t)
{
    int c;
    while ((c = next_char(t)) != EOF && c != '\n')
        ;
    t->line++;
}

static void begin_record(Table *t)
{
    vc_str_clear(&t->text);
    t->starts = vc_grow(t->starts, &t->starts_cap, 2, sizeof *t->starts);
    t->starts[0] = 0;
    t->count = 0;
    t->problem = NULL;
    t->record_line = t->line;
}

// One record into t->text. False at the end of the file.
static bool read_record(Table *t)
{
    begin_record(t);
    const uint64_t start = t->at;
    int c = next_char(t);
    if (c == EOF)
        return false;
    for (bool field_start = true;; c = next_char(t)) {
        if (t->quoting && field_start && c == '"') {
            if (!read_quoted(t)) {
                // Only this line is lost, not what the open quote swallowed.
                t->problem = "a quotation mark is opened and never closed";
                t->line = t->record_line;
                if (!ferror(t->file) && fseeko(t->file, (off_t)start, SEEK_SET) == 0) {
                    t->at = start;
                    skip_line(t);
                }
                return true;
            }
            field_start = false;
        } else if (c == EOF || c == '\n') {
            if (t->text.len > t->starts[t->count] && t->text.data[t->text.len - 1] == '\r')
                t->text.data[--t->text.len] = 0;
            put_field(t);
            t->line++;
            return true;
        } else if (c == t->separator) {
            put_field(t);
            field_start = true;
        } else if (t->text.len > MAX_RECORD) {
            t->problem = "the line is longer than 1 MiB";
            skip_line(t);
            return true;
        } else {
            vc_str_putc(&t->text, (char)c);
            field_start = false;
        }
    }
}

static const char *field(const Table *t, size_t index, size_t *n)
{
    *n = t->starts[index + 1] - t->starts[index] - 1;
    return t->text.data + t->starts[index];
}

static bool blank(const Table *t)
{
    return !t->problem && t->count == 1 && t->starts[1] == 1;
}

// The column an option asks for: by number, or by name when the record is a header.
static bool wanted_column(const Table *t, const char *option, const char *wanted, bool header, const char *path,
                          int *column, VcErr *err)
{
    if (!wanted)
        return true;
    int64_t number;
    if (vc_parse_i64(wanted, &number)) {
        if (number < 0 || (size_t)number >= t->count) {
            return vc_fail(err, VC_ERR_USAGE, "%s %s: '%s' has %zu columns, numbered from 0", option, wanted, path,
                           t->count);
        }
        *column = (int)number;
        return true;
    }
    size_t n;
    for (size_t i = 0; header && i < t->count; i++) {
        if (strcasecmp(field(t, i, &n), wanted) == 0) {
            *column = (int)i;
            return true;
        }
    }
    VcStr names = {0};
    for (size_t i = 0; i < t->count && i < 20; i++)
        vc_str_putf(&names, "%s'%.40s'", i ? ", " : "", field(t, i, &n));
    vc_fail(err, VC_ERR_USAGE, "%s: '%s' has no column '%s'; its first line is %s", option, path, wanted,
            vc_str_get(&names));
    vc_str_finish(&names);
    return false;
}

// Without a header: what looks like a URL or an image's name is the image, the other column the caption.
static void guess_columns(Table *t)
{
    size_t n;
    for (size_t i = 0; i < t->count; i++) {
        const char *text = field(t, i, &n);
        char *name = vc_strndup(text, source_key_length(text, n));
        if (extract_is_url(text) && t->url < 0 && t->image < 0) {
            t->url = (int)i;
        } else if (source_is_image_name(name) && !strchr(name, ' ') && t->image < 0 && t->url < 0) {
            t->image = (int)i;
        } else if (t->caption < 0) {
            t->caption = (int)i;
        }
        free(name);
    }
}

static bool is_header(const Table *t, const ExtractSourceOptions *o)
{
    const char *const wanted[] = {o->image_col, o->url_col, o->caption_col};
    unsigned rank;
    size_t n;
    for (size_t i = 0; i < t->count; i++) {
        if (source_role(field(t, i, &n), &rank) != ROLE_NONE)
            return true;
        for (size_t k = 0; k < 3; k++) {
            if (wanted[k] && strcasecmp(field(t, i, &n), wanted[k]) == 0)
                return true;
        }
    }
    return false;
}

static void header_columns(Table *t)
{
    unsigned best[4] = {~0u, ~0u, ~0u, ~0u};
    int *const columns[4] = {NULL, &t->image, &t->url, &t->caption};
    size_t n;
    for (size_t i = 0; i < t->count; i++) {
        unsigned rank;
        const ColumnRole role = source_role(field(t, i, &n), &rank);
        if (role != ROLE_NONE && rank < best[role]) {
            best[role] = rank;
            *columns[role] = (int)i;
        }
    }
}

// A name that stands twice is that of its first column.
static void keep_names(Table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t n;
        const char *name = field(t, i, &n);
        for (size_t k = 0; k < i && *name; k++) {
            if (strcmp(t->header.data + t->names[k], name) == 0)
                name = "";
        }
        t->names = vc_grow(t->names, &t->names_cap, i + 1, sizeof *t->names);
        t->names[t->name_count++] = t->header.len;
        vc_str_putn(&t->header, name, strlen(name) + 1);
    }
}

static bool choose_columns(ExtractSource *s, Table *t, VcErr *err)
{
    const ExtractSourceOptions *o = &s->options;
    const bool header = is_header(t, o);
    if (header) {
        header_columns(t);
        keep_names(t);
    } else {
        guess_columns(t);
    }
    if (!wanted_column(t, "--image-col", o->image_col, header, s->path, &t->image, err) ||
        !wanted_column(t, "--url-col", o->url_col, header, s->path, &t->url, err) ||
        !wanted_column(t, "--caption-col", o->caption_col, header, s->path, &t->caption, err))
        return false;
    if (o->url_col && !o->image_col)
        t->image = -1;
    if (o->image_col && !o->url_col)
        t->url = -1;
    if (!o->caption_col && (t->caption == t->image || t->caption == t->url))
        t->caption = -1;
    if (t->image < 0 && t->url < 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "'%s': cannot tell which column holds the image or its URL; name it with --image-col or "
                       "--url-col (a name or a number from 0)",
                       s->path);
    }
    t->pending = !header;
    return true;
}

// The end of a file that cannot be read to its end: a row that says so, once.
static bool end_of_table(ExtractSource *s, Table *t, ExtractEntry *entry, bool *more, VcErr *err)
{
    *more = false;
    if (!ferror(t->file) || t->broken)
        return true;
    VcErr why = {0};
    vc_input_fail(s->path, &why);
    if (why.code == VC_ERR_IO)
        return vc_fail(err, VC_ERR_IO, "%s", why.text);
    t->broken = *more = true;
    entry_begin(&s->entry, t->record_line);
    entry_problem(&s->entry, "line %zu: %s", t->record_line, why.text);
    entry_end(&s->entry, "line", entry);
    return true;
}

static void add_columns(const ExtractSource *s, const Table *t, EntryBuilder *b)
{
    for (size_t i = 0; i < t->name_count && i < t->count; i++) {
        const int column = (int)i;
        if (column == t->image || column == t->caption || (column == t->url && t->image < 0))
            continue;
        size_t n;
        const char *text = field(t, i, &n);
        entry_column(b, &s->options, t->header.data + t->names[i], text, n);
    }
}

static bool table_next(ExtractSource *s, ExtractEntry *entry, bool *more, VcErr *err)
{
    Table *t = s->reader;
    do {
        // The piece of a line before the place where reading failed is no line.
        if (!t->pending && (!read_record(t) || ferror(t->file)))
            return end_of_table(s, t, entry, more, err);
        t->pending = false;
    } while (blank(t));
    EntryBuilder *b = &s->entry;
    entry_begin(b, t->record_line);
    size_t n;
    if (t->problem)
        entry_problem(b, "line %zu: %s", t->record_line, t->problem);
    const int columns[] = {t->image, t->url};
    for (size_t i = 0; i < 2 && !t->problem && b->key.len == 0; i++) {
        if (columns[i] < 0 || (size_t)columns[i] >= t->count)
            continue;
        const char *text = field(t, (size_t)columns[i], &n);
        entry_key(b, text, i == 0 ? source_key_length(text, n) : n);
    }
    if (b->key.len == 0)
        entry_problem(b, "line %zu names no image: it has %zu columns", t->record_line, t->count);
    if (!t->problem && t->caption >= 0 && (size_t)t->caption < t->count) {
        const char *text = field(t, (size_t)t->caption, &n);
        entry_caption(b, text, n);
    }
    if (!t->problem)
        add_columns(s, t, b);
    entry_end(b, "line", entry);
    *more = true;
    return true;
}

static void table_close(void *reader)
{
    Table *t = reader;
    if (t->file)
        fclose(t->file);
    vc_str_finish(&t->text);
    vc_str_finish(&t->header);
    free(t->names);
    free(t->starts);
    free(t);
}

bool source_open_table(ExtractSource *s, char separator, VcErr *err)
{
    FILE *file = vc_input_open(s->path, err);
    if (!file)
        return false;
    Table *t = vc_calloc(1, sizeof *t);
    *t = (Table){.file = file,
                 .separator = separator,
                 .quoting = separator == ',',
                 .line = 1,
                 .image = -1,
                 .url = -1,
                 .caption = -1};
    s->reader = t;
    s->next = table_next;
    s->close = table_close;
    if (getc(file) == 0xEF && getc(file) == 0xBB && getc(file) == 0xBF) {
        t->at = 3;
    } else if (!ferror(file)) {
        rewind(file);
    }
    while (read_record(t)) {
        if (!blank(t)) {
            return t->problem ? vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu: %s", s->path, t->record_line, t->problem)
                              : choose_columns(s, t, err);
        }
    }
    if (ferror(file))
        return vc_input_fail(s->path, err);
    return true; // empty: the listing says so
}
