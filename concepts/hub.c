// SPDX-License-Identifier: MIT
#include "base/file.h"
#include "base/mem.h"
#include "concepts/hub_private.h"

#include <dirent.h>
#include <string.h>

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

void hub_cache(VcStr *out)
{
    const char *cache = setting("HF_HUB_CACHE"), *home = setting("HF_HOME"), *xdg = setting("XDG_CACHE_HOME");
    const char *user = getenv("HOME");
    if (cache != NULL) {
        vc_str_put(out, cache);
    } else if (home != NULL) {
        vc_str_putf(out, "%s/hub", home);
    } else if (xdg != NULL) {
        vc_str_putf(out, "%s/huggingface/hub", xdg);
    } else {
        vc_str_putf(out, "%s/.cache/huggingface/hub", user != NULL ? user : "");
    }
}

bool hub_name_valid(const char *name)
{
    size_t slashes = 0;
    if (strlen(name) > 96 || strstr(name, "..") != NULL || strstr(name, "--") != NULL)
        return false;
    for (const char *p = name; *p != '\0'; p++) {
        const bool starts = p == name || p[-1] == '/';
        if (*p == '/' && !starts && p[1] != '\0') {
            slashes++;
        } else if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_' ||
                     (!starts && (*p == '.' || *p == '-')))) {
            return false;
        }
    }
    return name[0] != '\0' && slashes <= 1;
}

void hub_folder_name(VcStr *out, const char *name)
{
    vc_str_put(out, "models--");
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '/') {
            vc_str_put(out, "--");
        } else {
            vc_str_putc(out, *p);
        }
    }
}

static bool plain(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static char *named_snapshot(const char *snapshots, const char *commit)
{
    char *path = plain(commit) ? vc_path_join(snapshots, commit) : NULL;
    if (path != NULL && vc_is_directory(path))
        return path;
    free(path);
    return NULL;
}

static char *only_snapshot(const char *snapshots)
{
    DIR *dir = opendir(snapshots);
    char *found = NULL;
    int count = 0;
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        free(found);
        found = vc_path_join(snapshots, e->d_name);
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    if (count != 1) {
        free(found);
        found = NULL;
    }
    return found;
}

char *hub_snapshot(const char *repository, const char *revision)
{
    VcStr refs = {0};
    vc_str_putf(&refs, "%s/refs/%s", repository, revision != NULL ? revision : "main");
    char *snapshots = vc_path_join(repository, "snapshots"), *found = NULL, *text = NULL;
    size_t n;
    if (vc_exists(refs.data) && vc_read_file(&text, &n, refs.data, 4096, NULL)) {
        text[strcspn(text, " \r\n")] = '\0';
        found = named_snapshot(snapshots, text);
    }
    if (found == NULL && revision != NULL)
        found = named_snapshot(snapshots, revision);
    if (found == NULL && revision == NULL)
        found = only_snapshot(snapshots);
    free(text);
    free(snapshots);
    vc_str_finish(&refs);
    return found;
}

bool hub_find(char **dir, const char *name, VcErr *err)
{
    if (vc_is_directory(name)) {
        VcStr path = {0};
        vc_str_put(&path, name);
        while (path.len > 1 && path.data[path.len - 1] == '/')
            path.data[--path.len] = '\0';
        *dir = path.data;
        return true;
    }
    if (vc_exists(name)) {
        return vc_fail(err, VC_ERR_IO,
                       "'%s' is a file: a model is the folder with its configuration, weights and tokenizer", name);
    }
    VcStr repository = {0};
    hub_cache(&repository);
    vc_str_putc(&repository, '/');
    hub_folder_name(&repository, name);
    char *found = hub_name_valid(name) ? hub_snapshot(repository.data, NULL) : NULL;
    if (found != NULL) {
        *dir = found;
    } else {
        vc_fail(err, VC_ERR_IO,
                "there is no model '%s': neither a folder of that name nor '%s' with one snapshot%s%s%s", name,
                repository.data, hub_name_valid(name) ? "; 'vicha model pull " : "", hub_name_valid(name) ? name : "",
                hub_name_valid(name) ? "' fetches it" : "");
    }
    vc_str_finish(&repository);
    return found != NULL;
}
