// SPDX-License-Identifier: MIT
// LD_PRELOAD=crash_shim.so CRASH_AT=N: the process dies by SIGKILL right before its Nth call that changes a file. N too
// large: it ends as usual. CRASH_COUNT=FILE: the number of calls is written there at a normal end.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
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

EXPORT int fsync(int fd)
{
    REAL(int, fsync, (int));
    step();
    return real(fd);
}

EXPORT int fdatasync(int fd)
{
    REAL(int, fdatasync, (int));
    step();
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
