// SPDX-License-Identifier: MIT
// power_cut SHADOW WORKSPACE OUT SEED: what a disk may hold after a loss of power. SHADOW is what crash_shim kept,
// WORKSPACE what a kill at the same moment left. SEED 0: only what was synced. Other seeds: of every file each block of
// 512 bytes that was not synced is there or not, by chance, and so is each name that came or went.
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

enum { BLOCK = 512, MOST = 1 << 30 };

typedef struct {
    const char *shadow, *real, *out;
    VcRng rng;
    bool chance;
} Cut;

static bool toss(Cut *c)
{
    return c->chance && vc_rng_below(&c->rng, 2) == 0;
}

static void fail(const VcErr *err)
{
    fprintf(stderr, "power_cut: %s\n", err->text);
    _Exit(1);
}

// As crash_shim names files: inode and time of birth.
static uint64_t identity(const char *path)
{
    struct statx s;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &s) != 0)
        return 0;
    const uint64_t born = (uint64_t)s.stx_btime.tv_sec * 1000000000u + s.stx_btime.tv_nsec;
    return s.stx_ino * 0x9E3779B97F4A7C15u ^ born;
}

static char *shadow_path(const Cut *c, const char *kind, uint64_t id)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s-%" PRIu64, c->shadow, kind, id);
    return path.data;
}

// A file that exists whole, or nothing.
static void read_if(const char *path, VcStr *out)
{
    char *text;
    size_t n;
    VcErr err;
    vc_str_clear(out);
    if (!vc_exists(path))
        return;
    if (!vc_read_file(&text, &n, path, MOST, &err))
        fail(&err);
    vc_str_putn(out, text, n);
    free(text);
}

static void make_file(Cut *c, uint64_t id, const char *real, const char *out)
{
    VcStr synced = {0}, now = {0}, made = {0};
    char *path = shadow_path(c, "file", id);
    read_if(path, &synced);
    if (identity(real) == id)
        read_if(real, &now);
    else
        vc_str_putn(&now, synced.data, synced.len);
    const size_t length = toss(c) ? now.len : synced.len;
    for (size_t at = 0; at < length; at += BLOCK) {
        const VcStr *from = toss(c) ? &now : &synced;
        const size_t n = length - at < BLOCK ? length - at : BLOCK;
        const size_t there = from->len > at ? (from->len - at < n ? from->len - at : n) : 0;
        vc_str_putn(&made, from->data + at, there);
        for (size_t i = there; i < n; i++)
            vc_str_putc(&made, 0);
    }
    FILE *f = fopen(out, "wbe");
    if (!f || (made.len && fwrite(made.data, 1, made.len, f) != made.len) || fclose(f) != 0)
        perror(out);
    free(path);
    vc_str_finish(&synced);
    vc_str_finish(&now);
    vc_str_finish(&made);
}

// SQLite makes the index of its log again; the lock is nobody's.
static bool is_left_out(const char *name)
{
    return vc_has_suffix(name, "-shm") || strcmp(name, "vicha.lock") == 0;
}

static void make_folder(Cut *c, const char *relative);

static void make_entry(Cut *c, const char *relative, uint64_t id, const char *name)
{
    if (is_left_out(name))
        return;
    VcStr inside = {0};
    vc_str_putf(&inside, "%s%s%s", relative, *relative ? "/" : "", name);
    char *real = vc_path_join(c->real, inside.data), *out = vc_path_join(c->out, inside.data);
    if (vc_is_directory(real))
        make_folder(c, inside.data);
    else
        make_file(c, id, real, out);
    free(real);
    free(out);
    vc_str_finish(&inside);
}

static void make_folder(Cut *c, const char *relative)
{
    char *real = *relative ? vc_path_join(c->real, relative) : vc_strdup(c->real);
    char *out = *relative ? vc_path_join(c->out, relative) : vc_strdup(c->out);
    VcErr err;
    if (!vc_make_dirs(out, &err))
        fail(&err);
    VcStr synced = {0};
    char *path = shadow_path(c, "names", identity(real));
    read_if(path, &synced);
    // The first line is the folder's path.
    char *line = synced.len ? strchr(synced.data, '\n') : NULL;
    for (; line && line[1]; line = strchr(line + 1, '\n')) {
        char name[256];
        uint64_t id;
        if (sscanf(line + 1, "%" SCNu64 " %255[^\n]", &id, name) == 2) {
            char *now = vc_path_join(real, name);
            if (vc_exists(now) || !toss(c)) // a name that went may have stayed
                make_entry(c, relative, id, name);
            free(now);
        }
    }
    DIR *dir = opendir(real);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *made = vc_path_join(out, e->d_name), *now = vc_path_join(real, e->d_name);
        if (e->d_name[0] != '.' && !vc_exists(made) && toss(c)) // a name that came may be there
            make_entry(c, relative, identity(now), e->d_name);
        free(made);
        free(now);
    }
    if (dir)
        closedir(dir);
    vc_str_finish(&synced);
    free(path);
    free(real);
    free(out);
}

int main(int argc, char **argv)
{
    int64_t seed;
    if (argc != 5 || !vc_parse_i64(argv[4], &seed)) {
        fprintf(stderr, "usage: power_cut SHADOW WORKSPACE OUT SEED\n");
        return 2;
    }
    Cut c = {.shadow = argv[1], .real = argv[2], .out = argv[3], .chance = seed != 0};
    vc_rng_seed(&c.rng, (uint64_t)seed);
    make_folder(&c, "");
    return 0;
}
