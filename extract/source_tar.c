// SPDX-License-Identifier: MIT
// A WebDataset .tar: members that share a name up to the first dot belong together; KEY.jpg (or .png, ...) is the
// image, KEY.txt its captions, one a line, KEY.json may hold "caption" and columns.
#include "base/file.h"
#include "base/input.h"
#include "base/log.h"
#include "base/mem.h"
#include "extract/source_impl.h"
#include "extract/versions.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

enum { MAX_SIDECAR = 1 << 20 };

typedef struct {
    struct archive *archive;
    struct archive_entry *ahead; // header already read, not yet used
    VcStr group, data;
    size_t number;
    bool ended;
} Tar;

// Length of the part of a member's name that names its group: up to the first dot after the last slash.
static size_t group_length(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *dot = strchr(slash ? slash + 1 : name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool read_sidecar(Tar *t, struct archive_entry *e)
{
    vc_str_clear(&t->data);
    if (archive_entry_size(e) > MAX_SIDECAR)
        return false;
    char piece[8192];
    la_ssize_t n;
    while ((n = archive_read_data(t->archive, piece, sizeof piece)) > 0) {
        vc_str_putn(&t->data, piece, (size_t)n);
        if (t->data.len > MAX_SIDECAR)
            return false;
    }
    return n == 0;
}

static void use_member(ExtractSource *s, Tar *t, struct archive_entry *e, const char *name)
{
    EntryBuilder *b = &s->entry;
    if (source_is_image_name(name) && b->key.len == 0) {
        entry_key(b, name, strlen(name));
        b->offset = archive_read_header_position(t->archive);
    } else if (vc_has_suffix(name, ".txt") && read_sidecar(t, e)) {
        entry_caption_lines(b, vc_str_get(&t->data), t->data.len); // it outranks the json
    } else if (vc_has_suffix(name, ".json") && read_sidecar(t, e)) {
        entry_sidecar(b, &s->options, vc_str_get(&t->data), t->data.len);
    }
}

static bool tar_next(ExtractSource *s, ExtractEntry *entry, bool *more, VcErr *err)
{
    (void)err;
    Tar *t = s->reader;
    entry_begin(&s->entry, ++t->number);
    bool any = false;
    while (!t->ended) {
        struct archive_entry *e = t->ahead;
        t->ahead = NULL;
        if (!e) {
            const int r = archive_read_next_header(t->archive, &e);
            if (r == ARCHIVE_EOF) {
                t->ended = true;
                break;
            }
            if (r != ARCHIVE_OK && r != ARCHIVE_WARN) {
                t->ended = true;
                if (!any) {
                    entry_problem(&s->entry, "the tar is damaged after member %zu: %s", t->number - 1,
                                  archive_error_string(t->archive));
                }
                any = true;
                break;
            }
        }
        const char *name = archive_entry_pathname(e);
        if (!name || archive_entry_filetype(e) != AE_IFREG)
            continue;
        const size_t length = group_length(name);
        if (any && !(length == t->group.len && memcmp(name, t->group.data, length) == 0)) {
            t->ahead = e;
            if (s->entry.key.len)
                break;
            entry_begin(&s->entry, t->number); // a group without an image is luggage
        }
        vc_str_clear(&t->group);
        vc_str_putn(&t->group, name, length);
        any = true;
        t->ahead = NULL;
        use_member(s, t, e, name);
    }
    *more = any && (s->entry.key.len || s->entry.problem.len);
    if (*more)
        entry_end(&s->entry, "member", entry);
    return true;
}

static void tar_close(void *reader)
{
    Tar *t = reader;
    archive_read_free(t->archive);
    vc_str_finish(&t->group);
    vc_str_finish(&t->data);
    free(t);
}

bool source_open_tar(ExtractSource *s, VcErr *err)
{
    Tar *t = vc_calloc(1, sizeof *t);
    s->reader = t;
    s->next = tar_next;
    s->close = tar_close;
    s->tar = true;
    free(s->root);
    s->root = vc_strdup(s->path);
    t->archive = archive_read_new();
    archive_read_support_format_tar(t->archive);
    archive_read_support_format_gnutar(t->archive);
    archive_read_support_format_empty(t->archive);
    s->packed = vc_input_is_gzip(s->path);
    if (s->packed)
        archive_read_support_filter_gzip(t->archive);
    if (archive_read_open_filename(t->archive, s->path, 1 << 16) != ARCHIVE_OK)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is no tar archive: %s", s->path, archive_error_string(t->archive));
    return true;
}

static bool copy_unpacked(struct archive *a, VcAtomicFile *file, const char *path, VcErr *err)
{
    const void *data;
    size_t n;
    la_int64_t at;
    int r;
    while ((r = archive_read_data_block(a, &data, &n, &at)) == ARCHIVE_OK && !vc_interrupted()) {
        if (fwrite(data, 1, n, file->file) != n)
            return vc_fail_errno(err, "cannot write '%s', where '%s' is unpacked", file->tmp, path);
    }
    if (vc_interrupted())
        return vc_fail(err, VC_ERR_CANCELLED, "interrupted while '%s' was unpacked", path);
    // What is there of a file that was cut off is used: its members are listed, its end has a row of its own.
    if (r != ARCHIVE_EOF)
        vc_warn("'%s' is damaged or cut off: %s", path, archive_error_string(a));
    return true;
}

bool extract_unpack_tar(const char *path, const char *to, VcErr *err)
{
    VcAtomicFile file;
    if (!vc_atomic_begin(&file, to, err))
        return false;
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    archive_read_support_format_raw(a);
    archive_read_support_filter_gzip(a);
    bool ok =
        archive_read_open_filename(a, path, 1 << 16) == ARCHIVE_OK && archive_read_next_header(a, &e) == ARCHIVE_OK;
    if (!ok)
        vc_fail(err, VC_ERR_FORMAT, "cannot unpack '%s': %s", path, archive_error_string(a));
    ok = ok && copy_unpacked(a, &file, path, err) && vc_atomic_commit(&file, err);
    vc_atomic_discard(&file);
    archive_read_free(a);
    return ok;
}

bool extract_tar_member(const char *path, int64_t offset, size_t max_bytes, uint8_t **bytes, size_t *n, VcErr *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vc_fail_errno(err, "cannot open '%s'", path);
    struct archive *a = archive_read_new();
    archive_read_support_format_tar(a);
    archive_read_support_format_gnutar(a);
    struct archive_entry *e;
    bool ok = false;
    if (lseek(fd, (off_t)offset, SEEK_SET) < 0 || archive_read_open_fd(a, fd, 1 << 16) != ARCHIVE_OK ||
        archive_read_next_header(a, &e) != ARCHIVE_OK) {
        vc_fail(err, VC_ERR_IO, "'%s' at byte %lld: no member begins here (the file was changed)", path,
                (long long)offset);
    } else if (archive_entry_size(e) < 0 || (uint64_t)archive_entry_size(e) > max_bytes) {
        vc_fail(err, VC_ERR_LIMIT, "%lld bytes are over the limit of %zu", (long long)archive_entry_size(e), max_bytes);
    } else {
        *n = (size_t)archive_entry_size(e);
        *bytes = vc_alloc(*n ? *n : 1, 1);
        ok = archive_read_data(a, *bytes, *n) == (la_ssize_t)*n ||
             vc_fail(err, VC_ERR_IO, "'%s' ends inside the member at byte %lld", path, (long long)offset);
        if (!ok)
            free(*bytes);
    }
    archive_read_free(a);
    close(fd);
    return ok;
}

const char *extract_archive_version(void)
{
    return archive_version_string() + strlen("libarchive ");
}
