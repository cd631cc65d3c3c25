// SPDX-License-Identifier: MIT
#include "extract/inputs.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/source_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

static void add(ExtractInputs *inputs, char *path, bool standard_input)
{
    inputs->items = vc_grow(inputs->items, &inputs->cap, inputs->count + 1, sizeof *inputs->items);
    inputs->items[inputs->count++] = (ExtractInput){path, standard_input};
}

// --- standard input

static bool copy_descriptor(int from, int to, const char *path, uint64_t *bytes, VcErr *err)
{
    char *piece = vc_alloc(PIECE, 1);
    bool ok = true;
    for (*bytes = 0; ok;) {
        const ssize_t n = read(from, piece, PIECE);
        if (vc_interrupted()) {
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted while standard input was read");
        } else if (n < 0 && errno != EINTR) {
            ok = vc_fail_errno(err, "cannot read standard input");
        } else if (n == 0) {
            break;
        } else if (n > 0) {
            ok = vc_full_write(to, piece, (size_t)n, path, err);
        }
        *bytes += n > 0 ? (uint64_t)n : 0;
    }
    free(piece);
    return ok;
}

static bool keep_standard_input(const char *path, VcErr *err)
{
    if (isatty(STDIN_FILENO))
        return vc_fail(err, VC_ERR_USAGE, "the source '-' is standard input, and that is a terminal: pipe a list in");
    VcStr part = {0};
    vc_str_putf(&part, "%s.part", path);
    const int fd = open(part.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool ok = fd >= 0 || vc_fail_errno(err, "cannot write '%s', where standard input is kept", part.data);
    uint64_t bytes = 0;
    ok = ok && copy_descriptor(STDIN_FILENO, fd, part.data, &bytes, err);
    // What an earlier run was given stays when nothing comes.
    if (ok && bytes == 0)
        ok = vc_fail(err, VC_ERR_FORMAT, "the source '-' is empty: nothing came on standard input");
    ok = ok && vc_sync_file(fd, part.data, err);
    if (fd >= 0)
        close(fd);
    if (ok && rename(part.data, path) != 0)
        ok = vc_fail_errno(err, "cannot rename '%s' to '%s'", part.data, path);
    if (!ok && fd >= 0)
        unlink(part.data);
    vc_str_finish(&part);
    return ok && vc_sync_parent(path, err);
}

static bool add_standard_input(ExtractInputs *inputs, const VcWorkspace *ws, VcErr *err)
{
    for (size_t i = 0; i < inputs->count; i++) {
        if (inputs->items[i].standard_input)
            return vc_fail(err, VC_ERR_USAGE, "the source '-' is named twice; standard input can be read once");
    }
    char *folder = vc_workspace_path(ws, "inputs"), *path = vc_workspace_path(ws, "inputs/stdin");
    const bool ok = vc_make_dirs(folder, err) && keep_standard_input(path, err);
    free(folder);
    if (ok) {
        add(inputs, path, true);
    } else {
        free(path);
    }
    return ok;
}

// --- folders

static size_t add_matching(ExtractInputs *inputs, const char *folder, const VcFileList *files,
                           bool (*wanted)(const char *name))
{
    size_t added = 0;
    for (size_t i = 0; i < files->count; i++) {
        if (wanted(files->paths[i])) {
            add(inputs, vc_path_join(folder, files->paths[i]), false);
            added++;
        }
    }
    return added;
}

static bool add_folder(ExtractInputs *inputs, const char *folder, VcErr *err)
{
    VcFileList files;
    if (!vc_list_files(&files, folder, err))
        return vc_prefix(err, "cannot list the source");
    bool images = false;
    for (size_t i = 0; i < files.count && !images; i++)
        images = source_is_image_name(files.paths[i]);
    if (images || (add_matching(inputs, folder, &files, extract_is_tar_name) == 0 &&
                   add_matching(inputs, folder, &files, extract_is_list_name) == 0))
        add(inputs, vc_strdup(folder), false);
    vc_file_list_finish(&files);
    return true;
}

bool extract_inputs_open(ExtractInputs *out, const VcWorkspace *ws, const ExtractOptions *options, VcErr *err)
{
    *out = (ExtractInputs){0};
    bool ok = true;
    for (size_t i = 0; ok && i < options->source_count; i++) {
        const char *path = options->sources[i];
        if (strcmp(path, "-") == 0) {
            ok = add_standard_input(out, ws, err);
        } else if (vc_is_directory(path)) {
            ok = add_folder(out, path, err);
        } else {
            add(out, vc_strdup(path), false);
        }
    }
    if (!ok)
        extract_inputs_finish(out);
    return ok;
}

void extract_inputs_finish(ExtractInputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        free(inputs->items[i].path);
    free(inputs->items);
    *inputs = (ExtractInputs){0};
}
