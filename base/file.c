// SPDX-License-Identifier: MIT
#include "base/file.h"

#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool vc_atomic_begin(VcAtomicFile *f, const char *path, VcErr *err)
{
    VcStr tmp = {0};
    vc_str_putf(&tmp, "%s.tmp", path);
    *f = (VcAtomicFile){.path = vc_strdup(path), .tmp = tmp.data};
    f->file = fopen(f->tmp, "wbe");
    if (!f->file) {
        vc_fail_errno(err, "cannot create '%s'", f->tmp);
        vc_atomic_discard(f);
        return false;
    }
    return true;
}

static void release(VcAtomicFile *f)
{
    free(f->path);
    free(f->tmp);
    *f = (VcAtomicFile){0};
}

void vc_atomic_discard(VcAtomicFile *f)
{
    if (f->file) {
        fclose(f->file);
        unlink(f->tmp);
    }
    release(f);
}

bool vc_atomic_commit(VcAtomicFile *f, VcErr *err)
{
    bool ok = !ferror(f->file) && fflush(f->file) == 0 && fsync(fileno(f->file)) == 0;
    if (!ok) {
        vc_fail_errno(err, "cannot write '%s'", f->tmp);
        vc_atomic_discard(f);
        return false;
    }
    if (fclose(f->file) != 0 || rename(f->tmp, f->path) != 0) {
        vc_fail_errno(err, "cannot put '%s' in place", f->path);
        unlink(f->tmp);
        f->file = NULL;
        release(f);
        return false;
    }
    f->file = NULL;
    ok = vc_sync_parent(f->path, err);
    release(f);
    return ok;
}

bool vc_write_file(const char *path, const void *data, size_t n, VcErr *err)
{
    VcAtomicFile f;
    if (!vc_atomic_begin(&f, path, err))
        return false;
    fwrite(data, 1, n, f.file); // a short write is seen by commit through ferror
    return vc_atomic_commit(&f, err);
}

static int open_regular(const char *path, uint64_t *size, VcErr *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0) {
        vc_fail_errno(err, "cannot open '%s'", path);
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        vc_fail(err, VC_ERR_IO, "cannot read '%s': not a regular file", path);
        return -1;
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

bool vc_map_open(VcMap *map, const char *path, VcErr *err)
{
    *map = (VcMap){0};
    uint64_t size;
    int fd = open_regular(path, &size, err);
    if (fd < 0)
        return false;
    bool ok = true;
    if (size) {
        void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            ok = vc_fail_errno(err, "cannot map '%s'", path);
        } else {
            *map = (VcMap){p, size};
        }
    }
    close(fd);
    return ok;
}

void vc_map_close(VcMap *map)
{
    if (map->data) {
        union {
            const void *in;
            void *out;
        } p = {map->data};
        munmap(p.out, map->size);
    }
    *map = (VcMap){0};
}

void vc_map_drop(const VcMap *map)
{
    if (map->data) {
        union {
            const void *in;
            void *out;
        } p = {map->data};
        madvise(p.out, map->size, MADV_DONTNEED); // a hint: it may fail
    }
}

// Reads until the end and not only `size` bytes: pipes and /proc have no size.
bool vc_read_file(char **out, size_t *size, const char *path, size_t max, VcErr *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vc_fail_errno(err, "cannot open '%s'", path);
    char *data = NULL;
    size_t len = 0, cap = 0;
    bool ok = true;
    for (;;) {
        data = vc_grow(data, &cap, len + 65536 + 1, 1);
        ssize_t got = read(fd, data + len, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            ok = vc_fail_errno(err, "cannot read '%s'", path);
        if (got <= 0)
            break;
        len += (size_t)got;
        if (len > max) {
            ok = vc_fail(err, VC_ERR_LIMIT, "'%s' is larger than the limit of %zu bytes", path, max);
            break;
        }
    }
    close(fd);
    if (!ok) {
        free(data);
        return false;
    }
    data[len] = 0;
    *out = data;
    if (size)
        *size = len;
    return true;
}

bool vc_full_write(int fd, const void *data, size_t n, const char *path, VcErr *err)
{
    const uint8_t *p = data;
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return vc_fail_errno(err, "cannot write '%s'", path);
        p += put;
        n -= (size_t)put;
    }
    return true;
}

bool vc_sync_file(int fd, const char *path, VcErr *err)
{
    return fsync(fd) == 0 || vc_fail_errno(err, "cannot sync '%s'", path);
}

bool vc_sync_parent(const char *path, VcErr *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? vc_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : vc_strdup(".");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0;
    // Some file systems cannot sync a directory and say EINVAL; the rename is as durable as they make it.
    if (ok && fsync(fd) != 0 && errno != EINVAL)
        ok = false;
    if (!ok)
        vc_fail_errno(err, "cannot sync the folder '%s'", dir);
    if (fd >= 0)
        close(fd);
    free(dir);
    return ok;
}

bool vc_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool vc_is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool vc_file_size(const char *path, uint64_t *size, VcErr *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return vc_fail_errno(err, "cannot look at '%s'", path);
    *size = (uint64_t)st.st_size;
    return true;
}

bool vc_make_dirs(const char *path, VcErr *err)
{
    char *copy = vc_strdup(path);
    bool ok = true;
    for (char *p = copy + 1; ok && *copy; p++) {
        if (*p != '/' && *p != 0)
            continue;
        char c = *p;
        *p = 0;
        if (mkdir(copy, 0777) == 0) {
            ok = vc_sync_parent(copy, err); // else a loss of power could take the folder and what was synced inside
        } else if (!(errno == EEXIST && vc_is_directory(copy))) {
            ok = vc_fail_errno(err, "cannot make the folder '%s'", copy);
        }
        *p = c;
        if (c == 0)
            break;
    }
    free(copy);
    return ok;
}

bool vc_copy_file(const char *from, const char *to, VcErr *err)
{
    FILE *in = fopen(from, "rbe");
    if (!in)
        return vc_fail_errno(err, "cannot open '%s'", from);
    VcAtomicFile out;
    if (!vc_atomic_begin(&out, to, err)) {
        fclose(in);
        return false;
    }
    char buffer[65536];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
        fwrite(buffer, 1, n, out.file);
    bool ok = !ferror(in);
    fclose(in);
    if (!ok) {
        vc_atomic_discard(&out);
        return vc_fail(err, VC_ERR_IO, "cannot read '%s'", from);
    }
    return vc_atomic_commit(&out, err);
}

char *vc_path_join(const char *dir, const char *name)
{
    if (name[0] == '/' || dir[0] == 0)
        return vc_strdup(name);
    VcStr s = {0};
    vc_str_putf(&s, "%s%s%s", dir, vc_has_suffix(dir, "/") ? "" : "/", name);
    return s.data;
}

const char *vc_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool walk(VcFileList *list, size_t *cap, const char *dir, const char *prefix, VcErr *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return vc_fail_errno(err, "cannot read the folder '%s'", dir);
    bool ok = true;
    struct dirent *e;
    while (ok && (errno = 0, e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        char *full = vc_path_join(dir, e->d_name), *name = vc_path_join(prefix, e->d_name);
        struct stat st;
        if (lstat(full, &st) == 0 && S_ISDIR(st.st_mode)) {
            ok = walk(list, cap, full, name, err);
        } else if (stat(full, &st) == 0 && S_ISREG(st.st_mode)) {
            list->paths = vc_grow(list->paths, cap, list->count + 1, sizeof *list->paths);
            list->paths[list->count++] = name;
            name = NULL;
        }
        free(full);
        free(name);
    }
    if (ok && errno)
        ok = vc_fail_errno(err, "cannot read the folder '%s'", dir);
    closedir(d);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool vc_list_files(VcFileList *list, const char *dir, VcErr *err)
{
    *list = (VcFileList){0};
    size_t cap = 0;
    if (!walk(list, &cap, dir, "", err)) {
        vc_file_list_finish(list);
        return false;
    }
    if (list->count)
        qsort(list->paths, list->count, sizeof *list->paths, by_name);
    return true;
}

void vc_file_list_finish(VcFileList *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (VcFileList){0};
}
