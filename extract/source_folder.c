// SPDX-License-Identifier: MIT
// A folder of images in the order of their names; the captions of KEY.jpg are the lines of KEY.txt beside it,
// or stand in KEY.json, whose other members are columns (img2dataset's "files").
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "extract/sniff.h"
#include "extract/source_impl.h"

#include <strings.h>

enum { MAX_SIDECAR = 1 << 20 }; // bytes of a caption file

typedef struct {
    VcFileList files;
    size_t next;
} Folder;

// A file without an image's extension is an entry when its first bytes say so; notes beside the images are not.
static bool is_entry(const char *root, const char *name)
{
    static const char *const notes[] = {".txt", ".json", ".jsonl", ".csv", ".tsv", ".md",
                                        ".xml", ".html", ".tar",   ".db",  ".npy"};
    if (source_is_image_name(name))
        return true;
    const char *dot = strrchr(vc_path_base(name), '.');
    for (size_t i = 0; dot && i < sizeof notes / sizeof *notes; i++) {
        if (strcasecmp(dot, notes[i]) == 0)
            return false;
    }
    char *path = vc_path_join(root, name);
    FILE *f = fopen(path, "rbe");
    free(path);
    uint8_t head[32];
    const size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f)
        fclose(f);
    ExtractHeader header;
    extract_sniff(&header, head, n, NULL);
    return header.format != EXTRACT_FORMAT_NONE;
}

// KEY.txt or KEY.json beside KEY.jpg. One that is too large or cannot be read is none; the image still counts.
static bool read_beside(const char *root, const char *name, const char *suffix, char **text, size_t *n)
{
    const char *dot = strrchr(vc_path_base(name), '.');
    VcStr side = {0};
    vc_str_putn(&side, name, dot ? (size_t)(dot - name) : strlen(name));
    vc_str_put(&side, suffix);
    char *path = vc_path_join(root, side.data);
    *text = NULL;
    const bool there = vc_exists(path) && vc_read_file(text, n, path, MAX_SIDECAR, NULL);
    free(path);
    vc_str_finish(&side);
    return there;
}

static void add_sidecars(ExtractSource *s, const char *name)
{
    char *text;
    size_t n;
    if (read_beside(s->path, name, ".json", &text, &n)) {
        entry_sidecar(&s->entry, &s->options, text, n);
        free(text);
    }
    if (read_beside(s->path, name, ".txt", &text, &n)) {
        entry_caption_lines(&s->entry, text, n);
        free(text);
    }
}

static bool folder_next(ExtractSource *s, ExtractEntry *entry, bool *more, VcErr *err)
{
    (void)err;
    Folder *f = s->reader;
    *more = f->next < f->files.count;
    if (!*more)
        return true;
    const char *name = f->files.paths[f->next++];
    entry_begin(&s->entry, f->next);
    entry_key(&s->entry, name, strlen(name));
    add_sidecars(s, name);
    entry_end(&s->entry, "file", entry);
    return true;
}

static void folder_close(void *reader)
{
    Folder *f = reader;
    vc_file_list_finish(&f->files);
    free(f);
}

bool source_open_folder(ExtractSource *s, VcErr *err)
{
    Folder *f = vc_calloc(1, sizeof *f);
    s->reader = f;
    s->next = folder_next;
    s->close = folder_close;
    if (!vc_list_files(&f->files, s->path, err))
        return vc_prefix(err, "cannot list the source");
    VcSha256 *hash = vc_sha256_begin();
    size_t kept = 0;
    for (size_t i = 0; i < f->files.count; i++) {
        char *name = f->files.paths[i];
        if (is_entry(s->path, name)) {
            vc_sha256_add(hash, name, strlen(name) + 1);
            f->files.paths[kept++] = name;
        } else {
            free(name);
        }
    }
    f->files.count = kept;
    uint8_t digest[32];
    vc_sha256_end(&hash, digest);
    VcStr print = {0};
    vc_str_putf(&print, "folder of %zu files, ", kept);
    char hex[65];
    vc_hex(digest, sizeof digest, hex);
    vc_str_put(&print, hex);
    s->fingerprint = print.data;
    return true;
}
