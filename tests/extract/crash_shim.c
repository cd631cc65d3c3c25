// SPDX-License-Identifier: MIT
// LD_PRELOAD=crash_shim.so CRASH_AT=N: the process dies by SIGKILL right before its Nth call that changes a file. N too
// large: it ends as usual. CRASH_COUNT=FILE: the number of calls is written there at a normal end.
// CRASH_SHADOW=FOLDER: what a loss of power would surely leave is kept there: a file's content as it was at its last
// sync (FOLDER/file-ID), a folder's names as they were at its last sync (FOLDER/names-ID: its path, then a line
// "ID NAME" each). ID is inode and time of birth, because inodes are used again. power_cut makes a workspace of it.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static void step(void)
{
    static _Atomic long at = -1;
    if (at < 0) {
        const char *text = getenv("CRASH_AT");
        at = text ? strtol(text, NULL, 10) : 0;
    }
    if (atomic_fetch_add(&calls, 1) + 1 == at)
        kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("CRASH_COUNT");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", atomic_load(&calls));
        fclose(f);
    }
}

#define REAL(type, name, arguments) type(*real) arguments = (type(*) arguments)dlsym(RTLD_NEXT, #name)
#define EXPORT                      __attribute__((visibility("default")))

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    REAL(ssize_t, write, (int, const void *, size_t));
    if (fd > 2)
        step();
    return real(fd, data, n);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
    REAL(ssize_t, pwrite64, (int, const void *, size_t, off64_t));
    step();
    return real(fd, data, n, at);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    REAL(ssize_t, pwrite, (int, const void *, size_t, off_t));
    step();
    return real(fd, data, n, at);
}

// --- the shadow: stdio's own calls are not ours, so nothing in here is counted

static void keep_content(int fd, const char *path)
{
    static char piece[1 << 16];
    FILE *out = fopen(path, "we");
    off_t at = 0;
    ssize_t n;
    while (out && (n = pread(fd, piece, sizeof piece, at)) > 0) {
        fwrite(piece, 1, (size_t)n, out);
        at += n;
    }
    if (out)
        fclose(out);
}

static uint64_t identity(int folder, const char *name)
{
    struct statx s;
    if (statx(folder, name, *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &s) != 0)
        return 0;
    const uint64_t born = (uint64_t)s.stx_btime.tv_sec * 1000000000u + s.stx_btime.tv_nsec;
    return s.stx_ino * 0x9E3779B97F4A7C15u ^ born;
}

static void keep_names(const char *folder, const char *path)
{
    FILE *out = fopen(path, "we");
    DIR *dir = opendir(folder);
    if (out && dir) {
        fprintf(out, "%s\n", folder);
        for (struct dirent *e; (e = readdir(dir));)
            if (e->d_name[0] != '.')
                fprintf(out, "%" PRIu64 " %s\n", identity(dirfd(dir), e->d_name), e->d_name);
    }
    if (dir)
        closedir(dir);
    if (out)
        fclose(out);
}

static void shadow(int fd)
{
    const char *folder = getenv("CRASH_SHADOW");
    struct stat st;
    if (!folder || fstat(fd, &st) != 0)
        return;
    char link[64], name[4096], out[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, name, sizeof name - 1);
    if (n < 0)
        return;
    name[n] = 0;
    snprintf(out, sizeof out, "%s/%s-%" PRIu64, folder, S_ISDIR(st.st_mode) ? "names" : "file", identity(fd, ""));
    if (S_ISDIR(st.st_mode)) {
        keep_names(name, out);
        return;
    }
    // Not through fd, which may be open for writing alone.
    const int in = open(name, O_RDONLY | O_CLOEXEC);
    if (in >= 0) {
        keep_content(in, out);
        close(in);
    }
}

EXPORT int fsync(int fd)
{
    REAL(int, fsync, (int));
    step();
    shadow(fd);
    return real(fd);
}

EXPORT int fdatasync(int fd)
{
    REAL(int, fdatasync, (int));
    step();
    shadow(fd);
    return real(fd);
}

EXPORT int ftruncate(int fd, off_t n)
{
    REAL(int, ftruncate, (int, off_t));
    step();
    return real(fd, n);
}

EXPORT int ftruncate64(int fd, off64_t n)
{
    REAL(int, ftruncate64, (int, off64_t));
    step();
    return real(fd, n);
}

EXPORT int rename(const char *from, const char *to)
{
    REAL(int, rename, (const char *, const char *));
    step();
    return real(from, to);
}

EXPORT int unlink(const char *path)
{
    REAL(int, unlink, (const char *));
    step();
    return real(path);
}
