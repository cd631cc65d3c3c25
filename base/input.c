// SPDX-License-Identifier: MIT
#include "base/input.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER = 1 << 16 };

typedef struct {
    gzFile gz;
    char *buffer; // of the stream
} GzipCookie;

static ssize_t cookie_read(void *cookie, char *out, size_t n)
{
    const GzipCookie *c = cookie;
    const int got = gzread(c->gz, out, (unsigned)(n > BUFFER ? BUFFER : n));
    int why = Z_OK;
    if (got == 0)
        gzerror(c->gz, &why); // zlib takes a file that was cut off for one that has ended
    if (got < 0 || why != Z_OK) {
        errno = EBADMSG;
        return -1;
    }
    return got;
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
    const GzipCookie *c = cookie;
    if (whence == SEEK_END) {
        errno = EINVAL;
        return -1;
    }
    const z_off_t at = gzseek(c->gz, (z_off_t)*offset, whence);
    if (at < 0) {
        errno = EBADMSG;
        return -1;
    }
    *offset = at;
    return 0;
}

static int cookie_close(void *cookie)
{
    GzipCookie *c = cookie;
    gzclose_r(c->gz);
    free(c->buffer);
    free(c);
    return 0;
}

static bool has_magic(int fd)
{
    unsigned char head[2];
    return pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head && head[0] == 0x1F && head[1] == 0x8B;
}

bool vc_input_is_gzip(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool gzip = fd >= 0 && has_magic(fd);
    if (fd >= 0)
        close(fd);
    return gzip;
}

static FILE *open_gzip(int fd)
{
    GzipCookie *c = vc_calloc(1, sizeof *c);
    c->gz = gzdopen(fd, "rb");
    if (!c->gz) {
        free(c);
        errno = ENOMEM;
        return NULL;
    }
    gzbuffer(c->gz, BUFFER);
    const cookie_io_functions_t functions = {.read = cookie_read, .seek = cookie_seek, .close = cookie_close};
    FILE *f = fopencookie(c, "r", functions);
    if (!f) {
        cookie_close(c);
        return NULL;
    }
    // The standard buffer of such a stream is 1 KiB.
    c->buffer = vc_alloc(BUFFER, 1);
    setvbuf(f, c->buffer, _IOFBF, BUFFER);
    return f;
}

FILE *vc_input_open(const char *path, VcErr *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : has_magic(fd) ? open_gzip(fd) : fdopen(fd, "rb");
    if (!f) {
        vc_fail_errno(err, "cannot read '%s'", path);
        if (fd >= 0 && errno != ENOMEM)
            close(fd);
    }
    return f;
}

bool vc_input_fail(const char *path, VcErr *err)
{
    if (vc_input_is_gzip(path)) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "the gzip data of '%s' are damaged or end too early; fetch or make the file again", path);
    }
    return vc_fail_errno(err, "cannot read '%s'", path);
}
