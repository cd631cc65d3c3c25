// SPDX-License-Identifier: MIT
#include "extract/journal.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_BYTES = 64 << 20,  // a file is closed when it holds so many
    MAX_RECORD = 512 << 20, // a length that says more is damage
    PLACE_BITS = 40,        // of the offset in a place; above them the number of the file
    MIME = 32,
};
static const char magic[8] = "VCWAIT\0\1";

typedef struct {
    char magic[8];
    uint64_t settings; // hash of the settings' text, the program's version and the layout of a record
} FileHead;

// The struct of a thumbnail is stored as it is, so that what it gains is stored too; its pointers are not looked at.
typedef struct {
    uint64_t check;  // XXH3 of the record from `length` on
    uint32_t length; // of the whole record
    uint32_t key_bytes, error_bytes, attempts;
    int64_t image_id;
    uint64_t n;
    int32_t cause, error_code;
    uint8_t sha256[32];
    char mime[MIME];
    ExtractThumbnail thumbnail;
} RecordHead;

typedef struct {
    int fd; // -1: gone
    uint64_t bytes, live;
} JournalFile;

typedef struct {
    int64_t image_id;
    uint64_t place;
} Found;

struct ExtractJournal {
    char *folder;
    uint64_t settings;
    JournalFile *files;
    size_t count, cap, writing; // `writing`: the file that is appended to; count: none
    Found *found;
    size_t found_count, found_cap;
    uint64_t bytes;
    VcStr record;
};

static char *file_path(const ExtractJournal *j, size_t number)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/waiting-%06zu", j->folder, number);
    return path.data;
}

static void remove_file(ExtractJournal *j, size_t number)
{
    JournalFile *f = &j->files[number];
    if (f->fd < 0)
        return;
    char *path = file_path(j, number);
    close(f->fd);
    unlink(path);
    free(path);
    j->bytes -= f->bytes;
    *f = (JournalFile){.fd = -1};
    if (j->writing == number)
        j->writing = SIZE_MAX;
}

static JournalFile *add_file(ExtractJournal *j, size_t number, int fd)
{
    j->files = vc_grow(j->files, &j->cap, number + 1, sizeof *j->files);
    while (j->count <= number)
        j->files[j->count++] = (JournalFile){.fd = -1};
    j->files[number].fd = fd;
    return &j->files[number];
}

// --- what a killed run left

static bool read_at(int fd, void *out, size_t n, uint64_t at)
{
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

// The record at `at` into j->record; false when it is not whole.
static bool read_record(ExtractJournal *j, int fd, uint64_t at, uint64_t end)
{
    RecordHead head;
    if (at + sizeof head > end || !read_at(fd, &head, sizeof head, at) || head.length < sizeof head ||
        head.length > MAX_RECORD || at + head.length > end)
        return false;
    vc_str_clear(&j->record);
    vc_str_putn(&j->record, &head, sizeof head);
    const size_t rest = head.length - sizeof head;
    char *body = vc_alloc(rest + 1, 1);
    const bool ok = read_at(fd, body, rest, at + sizeof head);
    vc_str_putn(&j->record, body, ok ? rest : 0);
    free(body);
    const size_t skip = offsetof(RecordHead, length);
    return ok && vc_xxh3(j->record.data + skip, j->record.len - skip) == head.check &&
           (uint64_t)head.key_bytes + head.error_bytes + head.thumbnail.bytes == rest;
}

static void scan_file(ExtractJournal *j, size_t number)
{
    JournalFile *f = &j->files[number];
    struct stat st;
    FileHead head;
    if (fstat(f->fd, &st) == 0)
        f->bytes = (uint64_t)st.st_size;
    j->bytes += f->bytes;
    if (f->bytes < sizeof head || !read_at(f->fd, &head, sizeof head, 0) ||
        memcmp(head.magic, magic, sizeof magic) != 0 || head.settings != j->settings) {
        remove_file(j, number);
        return;
    }
    for (uint64_t at = sizeof head; read_record(j, f->fd, at, f->bytes);) {
        RecordHead record;
        memcpy(&record, j->record.data, sizeof record);
        j->found = vc_grow(j->found, &j->found_cap, j->found_count + 1, sizeof *j->found);
        j->found[j->found_count++] = (Found){record.image_id, ((uint64_t)number << PLACE_BITS) | at};
        f->live++;
        at += record.length;
    }
    if (f->live == 0)
        remove_file(j, number);
}

static int by_image(const void *a, const void *b)
{
    const Found *x = a, *y = b;
    return x->image_id < y->image_id ? -1 : x->image_id > y->image_id;
}

static bool scan_folder(ExtractJournal *j, bool forget, VcErr *err)
{
    DIR *dir = opendir(j->folder);
    if (!dir)
        return errno == ENOENT || vc_fail_errno(err, "cannot read the folder '%s'", j->folder);
    for (struct dirent *e; (e = readdir(dir));) {
        int64_t number;
        if (!vc_has_prefix(e->d_name, "waiting-") || !vc_parse_i64(e->d_name + 8, &number) || number < 0 ||
            number >= 1 << 20)
            continue;
        char *path = vc_path_join(j->folder, e->d_name);
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            add_file(j, (size_t)number, fd);
            if (forget) {
                remove_file(j, (size_t)number);
            } else {
                scan_file(j, (size_t)number);
            }
        }
        free(path);
    }
    closedir(dir);
    if (j->found_count)
        qsort(j->found, j->found_count, sizeof *j->found, by_image);
    return true;
}

bool extract_journal_open(ExtractJournal **out, const VcWorkspace *ws, const char *settings, bool forget, VcErr *err)
{
    ExtractJournal *j = vc_calloc(1, sizeof *j);
    j->folder = vc_workspace_path(ws, "images");
    j->writing = SIZE_MAX;
    VcStr text = {0};
    vc_str_putf(&text, "%s %s %zu", VICHA_VERSION, settings, sizeof(RecordHead));
    j->settings = vc_xxh3(text.data, text.len);
    vc_str_finish(&text);
    if (scan_folder(j, forget, err)) {
        *out = j;
    } else {
        extract_journal_close(&j, false);
    }
    return *out != NULL;
}

bool extract_journal_find(const ExtractJournal *j, int64_t image_id, uint64_t *place)
{
    const Found wanted = {.image_id = image_id};
    const Found *found = j->found_count ? bsearch(&wanted, j->found, j->found_count, sizeof wanted, by_image) : NULL;
    if (found)
        *place = found->place;
    return found != NULL;
}

// --- writing

static bool begin_file(ExtractJournal *j, VcErr *err)
{
    char *path = file_path(j, j->count);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FileHead head = {.settings = j->settings};
    memcpy(head.magic, magic, sizeof magic);
    bool ok = fd >= 0 || vc_fail_errno(err, "cannot write '%s'", path);
    ok = ok && vc_full_write(fd, &head, sizeof head, path, err);
    if (ok) {
        j->writing = j->count;
        add_file(j, j->count, fd)->bytes = sizeof head;
        j->bytes += sizeof head;
    } else if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return ok;
}

static void make_record(ExtractJournal *j, const ExtractJob *job)
{
    RecordHead head;
    memset(&head, 0, sizeof head);
    head.key_bytes = (uint32_t)strlen(job->key);
    head.error_bytes = (uint32_t)strlen(job->err.text);
    head.attempts = job->attempts;
    head.image_id = job->image_id;
    head.n = job->n;
    head.cause = job->cause;
    head.error_code = job->err.code;
    memcpy(head.sha256, job->sha256, sizeof head.sha256);
    snprintf(head.mime, sizeof head.mime, "%s", job->thumbnail.mime ? job->thumbnail.mime : "");
    head.thumbnail = job->thumbnail;
    head.thumbnail.jpeg = NULL;
    head.thumbnail.mime = NULL;
    if (!job->thumbnail.jpeg)
        head.thumbnail.bytes = 0;
    head.length = (uint32_t)(sizeof head + head.key_bytes + head.error_bytes + head.thumbnail.bytes);
    vc_str_clear(&j->record);
    vc_str_putn(&j->record, &head, sizeof head);
    vc_str_putn(&j->record, job->key, head.key_bytes);
    vc_str_putn(&j->record, job->err.text, head.error_bytes);
    vc_str_putn(&j->record, job->thumbnail.jpeg, head.thumbnail.bytes);
    const size_t skip = offsetof(RecordHead, length);
    head.check = vc_xxh3(j->record.data + skip, j->record.len - skip);
    memcpy(j->record.data, &head.check, sizeof head.check);
}

bool extract_journal_put(ExtractJournal *j, const ExtractJob *job, uint64_t *place, VcErr *err)
{
    if (j->writing == SIZE_MAX && !begin_file(j, err))
        return false;
    make_record(j, job);
    JournalFile *f = &j->files[j->writing];
    char *path = file_path(j, j->writing);
    // At its place, so that half a record of a full disk is written over.
    bool ok = lseek(f->fd, (off_t)f->bytes, SEEK_SET) >= 0 || vc_fail_errno(err, "cannot write '%s'", path);
    ok = ok && vc_full_write(f->fd, j->record.data, j->record.len, path, err);
    free(path);
    if (!ok)
        return vc_prefix(err, "everything stored so far is kept; make room and run the same command again");
    *place = ((uint64_t)j->writing << PLACE_BITS) | f->bytes;
    f->bytes += j->record.len;
    f->live++;
    j->bytes += j->record.len;
    return true;
}

bool extract_journal_sync(ExtractJournal *j, VcErr *err)
{
    if (j->writing == SIZE_MAX)
        return true;
    JournalFile *f = &j->files[j->writing];
    char *path = file_path(j, j->writing);
    const bool ok = vc_sync_file(f->fd, path, err);
    free(path);
    if (ok && f->bytes >= FILE_BYTES)
        j->writing = SIZE_MAX;
    return ok;
}

// --- reading back

bool extract_journal_get(ExtractJournal *j, uint64_t place, ExtractJob **out, VcErr *err)
{
    const size_t number = (size_t)(place >> PLACE_BITS);
    const uint64_t at = place & (((uint64_t)1 << PLACE_BITS) - 1);
    VC_ASSERT(number < j->count && j->files[number].fd >= 0);
    if (!read_record(j, j->files[number].fd, at, j->files[number].bytes)) {
        char *path = file_path(j, number);
        vc_fail(err, VC_ERR_IO, "'%s' was changed while it was in use; run the same command again", path);
        free(path);
        return false;
    }
    RecordHead head;
    memcpy(&head, j->record.data, sizeof head);
    const char *at_key = j->record.data + sizeof head;
    ExtractJob *job = vc_calloc(1, sizeof *job);
    job->image_id = head.image_id;
    job->key = vc_strndup(at_key, head.key_bytes);
    job->offset = -1;
    job->done = true;
    job->cause = (ExtractCause)head.cause;
    job->n = head.n;
    job->attempts = head.attempts;
    memcpy(job->sha256, head.sha256, sizeof head.sha256);
    job->err.code = (VcErrCode)head.error_code;
    snprintf(job->err.text, sizeof job->err.text, "%.*s", (int)head.error_bytes, at_key + head.key_bytes);
    job->thumbnail = head.thumbnail;
    if (head.thumbnail.bytes) {
        job->thumbnail.jpeg = vc_alloc(head.thumbnail.bytes, 1);
        memcpy(job->thumbnail.jpeg, at_key + head.key_bytes + head.error_bytes, head.thumbnail.bytes);
    }
    head.mime[MIME - 1] = 0;
    snprintf(job->mime, sizeof job->mime, "%s", head.mime);
    job->thumbnail.mime = job->mime[0] ? job->mime : NULL;
    *out = job;
    return true;
}

void extract_journal_drop(ExtractJournal *j, uint64_t place)
{
    const size_t number = (size_t)(place >> PLACE_BITS);
    JournalFile *f = &j->files[number];
    VC_ASSERT(f->fd >= 0 && f->live > 0);
    if (--f->live == 0)
        remove_file(j, number);
}

uint64_t extract_journal_bytes(const ExtractJournal *j)
{
    return j->bytes;
}

void extract_journal_close(ExtractJournal **journal, bool remove)
{
    if (!journal || !*journal)
        return;
    ExtractJournal *j = *journal;
    for (size_t i = 0; i < j->count; i++) {
        if (remove) {
            remove_file(j, i);
        } else if (j->files[i].fd >= 0) {
            close(j->files[i].fd);
        }
    }
    vc_str_finish(&j->record);
    free(j->files);
    free(j->found);
    free(j->folder);
    free(j);
    *journal = NULL;
}
