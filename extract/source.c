// SPDX-License-Identifier: MIT
#include "extract/source.h"

#include "base/file.h"
#include "base/mem.h"
#include "extract/source_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

// --- the entry under construction

void entry_begin(EntryBuilder *b, size_t number)
{
    vc_str_clear(&b->key);
    vc_str_clear(&b->split);
    vc_str_clear(&b->problem);
    vc_str_clear(&b->text);
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
    if (memchr(text, 0, n))
        entry_problem(b, "the image's name has a zero byte in it");
    else
        put_replaced(b, &b->key, text, n);
}

void entry_second(EntryBuilder *b, const char *text, size_t n)
{
    vc_str_clear(&b->second);
    if (memchr(text, 0, n))
        entry_problem(b, "the second image's name has a zero byte in it");
    else
        put_replaced(b, &b->second, text, n);
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
    for (size_t i = b->starts[b->count - 1]; i < b->text.len; i++)
        if (b->text.data[i] == 0) { // would end the string for every C reader; a space keeps the words apart
            b->text.data[i] = ' ';
            repairs++;
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
    }
    b->captions = vc_grow(b->captions, &b->captions_cap, b->count + 1, sizeof *b->captions);
    for (size_t i = 0; i < b->count; i++)
        b->captions[i] = b->text.data + b->starts[i];
    *out = (ExtractEntry){.number = b->number,
                          .key = b->key.data,
                          .captions = b->captions,
                          .caption_count = b->count,
                          .split = b->split.len ? b->split.data : b->default_split,
                          .problem = b->problem.len ? b->problem.data : NULL,
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
    vc_str_finish(&b->second);
    vc_str_finish(&b->fields);
    vc_str_finish(&b->concepts);
    vc_str_finish(&b->second_concepts);
    free(b->starts);
    free(b->captions);
}

// --- names

static bool among(const char *name, const char *const *names, unsigned *rank)
{
    for (*rank = 0; names[*rank]; ++*rank)
        if (strcasecmp(name, names[*rank]) == 0)
            return true;
    return false;
}

ColumnRole source_role(const char *name, unsigned *rank)
{
    static const char *const images[] = {"image",      "image_path", "file_name", "filename",   "filepath",
                                         "image_file", "file",       "path",      "image_name", NULL};
    static const char *const urls[] = {"url", "image_url", "img_url", "coco_url", "link", NULL};
    static const char *const captions[] = {"caption", "captions", "text",    "sentence",
                                           "raw",     "alt_text", "comment", NULL};
    if (among(name, images, rank))
        return ROLE_IMAGE;
    if (among(name, urls, rank))
        return ROLE_URL;
    return among(name, captions, rank) ? ROLE_CAPTION : ROLE_NONE;
}

static const char *extension(const char *name)
{
    const char *dot = strrchr(vc_path_base(name), '.');
    return dot && dot != vc_path_base(name) ? dot : "";
}

bool source_is_image_name(const char *name)
{
    static const char *const extensions[] = {".jpg",  ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif",
                                             ".tif",  ".tiff", ".bmp", ".svg",  ".ico", ".avif", ".heic",
                                             ".heif", ".jxl",  ".jp2", ".ppm",  NULL};
    unsigned rank;
    return among(extension(name), extensions, &rank);
}

size_t source_key_length(const char *key, size_t n)
{
    size_t at = n;
    while (at > 0 && isdigit((unsigned char)key[at - 1]))
        at--;
    if (at == n || at == 0 || key[at - 1] != '#')
        return n;
    char *name = vc_strndup(key, at - 1);
    const bool image = source_is_image_name(name);
    free(name);
    return image ? at - 1 : n;
}

bool extract_is_url(const char *key)
{
    return strncasecmp(key, "http://", 7) == 0 || strncasecmp(key, "https://", 8) == 0;
}

bool extract_has_scheme(const char *key)
{
    size_t n = 0;
    while (isalnum((unsigned char)key[n]) || (n && (key[n] == '+' || key[n] == '-' || key[n] == '.')))
        n++;
    if (n < 2 || key[n] != ':')
        return false;
    return strncmp(key + n, "://", 3) == 0 || strncasecmp(key, "data:", 5) == 0 ||
           strncasecmp(key, "javascript:", 11) == 0;
}

// --- opening

static bool parent_of(const char *path, char **out)
{
    *out = vc_strdup(path);
    char *slash = strrchr(*out, '/');
    if (slash)
        slash[slash == *out ? 1 : 0] = 0;
    return slash != NULL;
}

static bool resolve(ExtractSource *s, const char *path, bool folder, VcErr *err)
{
    char *full = realpath(path, NULL);
    if (!full)
        return vc_fail_errno(err, "cannot open the source '%s'", path);
    s->path = full;
    if (s->options.root) {
        s->root = realpath(s->options.root, NULL);
        if (!s->root)
            return vc_fail_errno(err, "cannot open the folder '%s' given with --root", s->options.root);
    } else if (folder) {
        s->root = vc_strdup(full);
    } else {
        parent_of(full, &s->root);
    }
    return true;
}

static bool open_file_source(ExtractSource *s, const char *path, const struct stat *st, VcErr *err)
{
    if (!S_ISREG(st->st_mode))
        return vc_fail(err, VC_ERR_USAGE, "the source '%s' is neither a file nor a folder", path);
    if (access(path, R_OK) != 0)
        return vc_fail_errno(err, "cannot read the source '%s'", path);
    VcStr print = {0};
    vc_str_putf(&print, "file %lld bytes, %lld.%09ld", (long long)st->st_size, (long long)st->st_mtim.tv_sec,
                (long)st->st_mtim.tv_nsec);
    s->fingerprint = print.data;
    const char *ext = extension(path);
    if (strcasecmp(ext, ".tsv") == 0 || strcasecmp(ext, ".txt") == 0)
        return source_open_table(s, '\t', err);
    if (strcasecmp(ext, ".csv") == 0)
        return source_open_table(s, ',', err);
    if (strcasecmp(ext, ".jsonl") == 0 || strcasecmp(ext, ".ndjson") == 0)
        return source_open_json(s, true, err);
    if (strcasecmp(ext, ".json") == 0)
        return source_open_json(s, false, err);
    if (strcasecmp(ext, ".tar") == 0)
        return source_open_tar(s, err);
    if (strcasecmp(ext, ".parquet") == 0)
        return vc_fail(err, VC_ERR_USAGE, "'%s': this build reads no Parquet; write it as .tsv or .jsonl first", path);
    return vc_fail(err, VC_ERR_USAGE,
                   "'%s': unknown kind of source; a folder, .tsv, .csv, .jsonl, .json or .tar is expected", path);
}

bool extract_source_open(ExtractSource **out, const char *path, const ExtractSourceOptions *options, VcErr *err)
{
    *out = NULL;
    struct stat st;
    if (stat(path, &st) != 0)
        return vc_fail_errno(err, "cannot open the source '%s'", path);
    ExtractSource *s = vc_calloc(1, sizeof *s);
    s->options = *options;
    s->entry.default_split = options->split;
    s->entry.replace = options->replace;
    s->entry.replacement = options->replacement;
    const bool folder = S_ISDIR(st.st_mode);
    if (resolve(s, path, folder, err) && (folder ? source_open_folder(s, err) : open_file_source(s, path, &st, err)))
        *out = s;
    else
        extract_source_close(&s);
    return *out != NULL;
}

bool extract_source_next(ExtractSource *source, ExtractEntry *entry, bool *more, VcErr *err)
{
    return source->next(source, entry, more, err);
}

void extract_source_close(ExtractSource **source)
{
    if (!source || !*source)
        return;
    ExtractSource *s = *source;
    if (s->close && s->reader)
        s->close(s->reader);
    entry_finish(&s->entry);
    free(s->path);
    free(s->root);
    free(s->fingerprint);
    free(s);
    *source = NULL;
}

const char *extract_source_path(const ExtractSource *source)
{
    return source->path;
}

const char *extract_source_root(const ExtractSource *source)
{
    return source->root;
}

const char *extract_source_fingerprint(const ExtractSource *source)
{
    return source->fingerprint;
}

bool extract_source_is_tar(const ExtractSource *source)
{
    return source->tar;
}
