// SPDX-License-Identifier: MIT
#include "cli/bench_folder.h"

#include "base/str.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

char *bench_folder_make(VcErr *err)
{
    const char *base = getenv("TMPDIR");
    VcStr path = {0};
    vc_str_putf(&path, "%s/vicha-bench-XXXXXX", base && *base ? base : "/tmp");
    if (mkdtemp(path.data))
        return path.data;
    vc_fail_errno(err, "cannot make a folder like '%s'", path.data);
    vc_str_finish(&path);
    return NULL;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)at;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

void bench_folder_remove(char **path)
{
    enum { OPEN_FOLDERS = 16 };
    if (*path)
        nftw(*path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
    free(*path);
    *path = NULL;
}
