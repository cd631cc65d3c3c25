// SPDX-License-Identifier: MIT
#include "extract/source.h"

#include "base/file.h"
#include "base/input.h"
#include "base/mem.h"
#include "extract/source_impl.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

// --- names

static bool among(const char *name, const char *const *names, unsigned *rank)
{
    for (*rank = 0; names[*rank]; ++*rank) {
        if (strcasecmp(name, names[*rank]) == 0)
            return true;
    }
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

// "tsv" of "list.tsv.gz": what the file is, not how it is packed. Empty for a name that does not say.
static void list_kind(const char *name, char *kind, size_t size)
{
    const char *end = extension(name);
    char *stem = strcasecmp(end, ".gz") == 0 ? vc_strndup(name, strlen(name) - 3) : vc_strdup(name);
    end = extension(stem);
    snprintf(kind, size, "%s", *end ? end + 1 : "");
    if (strcasecmp(kind, "ndjson") == 0)
        snprintf(kind, size, "jsonl");
    if (strcasecmp(kind, "txt") == 0)
        snprintf(kind, size, "tsv");
    if (strcasecmp(kind, "tgz") == 0)
        snprintf(kind, size, "tar");
    free(stem);
}

bool extract_is_list_name(const char *name)
{
    static const char *const lists[] = {"tsv", "csv", "jsonl", NULL};
    char kind[16];
    unsigned rank;
    list_kind(name, kind, sizeof kind);
    return !vc_has_suffix(name, ".txt") && among(kind, lists, &rank);
}

bool extract_is_tar_name(const char *name)
{
    char kind[16];
    list_kind(name, kind, sizeof kind);
    return strcasecmp(kind, "tar") == 0;
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

// The kind of a list without a name, by its first bytes: NULL where they are no text.
static const char *guess_kind(const char *path, VcErr *err)
{
    FILE *f = vc_input_open(path, err);
    if (!f)
        return NULL;
    char head[4096] = {0};
    const size_t n = fread(head, 1, sizeof head - 1, f);
    const bool broken = ferror(f);
    fclose(f);
    if (broken) {
        vc_input_fail(path, err);
        return NULL;
    }
    if (n > 262 && memcmp(head + 257, "ustar", 5) == 0)
        return "tar";
    if (memchr(head, 0, n)) {
        vc_fail(err, VC_ERR_FORMAT, "what came is no list: it has zero bytes; a table, JSON or a tar is expected");
        return NULL;
    }
    const char *text = strncmp(head, "\xEF\xBB\xBF", 3) == 0 ? head + 3 : head;
    text += strspn(text, " \t\r\n");
    const size_t line = strcspn(text, "\n");
    if (*text == '[')
        return "json";
    if (*text == '{') { // an object a line, or one over many lines
        return text[line] && strspn(text + line, " \r\n") < strlen(text + line) &&
                       text[line + strspn(text + line, " \r\n")] == '{'
                   ? "jsonl"
                   : "json";
    }
    return memchr(text, '\t', line) || !memchr(text, ',', line) ? "tsv" : "csv";
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
    char named[16];
    list_kind(path, named, sizeof named);
    const char *kind = s->options.format ? s->options.format : s->options.guess ? guess_kind(s->path, err) : named;
    if (!kind)
        return false;
    if (strcasecmp(kind, "tsv") == 0)
        return source_open_table(s, '\t', err);
    if (strcasecmp(kind, "csv") == 0)
        return source_open_table(s, ',', err);
    if (strcasecmp(kind, "jsonl") == 0)
        return source_open_json(s, true, err);
    if (strcasecmp(kind, "json") == 0)
        return source_open_json(s, false, err);
    if (strcasecmp(kind, "tar") == 0)
        return source_open_tar(s, err);
    if (strcasecmp(kind, "parquet") == 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "'%s': Parquet is not read; docs/building-datasets.md has the line that turns it into .jsonl.gz",
                       path);
    }
    return vc_fail(err, VC_ERR_USAGE,
                   "'%s': unknown kind of source; a folder, .tsv, .csv, .jsonl, .json (each also .gz) or .tar is "
                   "expected; --input-format says what a file with another name is",
                   path);
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
    if (resolve(s, path, folder, err) && (folder ? source_open_folder(s, err) : open_file_source(s, path, &st, err))) {
        *out = s;
    } else {
        extract_source_close(&s);
    }
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

bool extract_source_is_packed(const ExtractSource *source)
{
    return source->packed;
}
