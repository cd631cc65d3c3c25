// SPDX-License-Identifier: MIT
#include "concepts/vocabulary_files.h"

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/workspace.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 30 };

typedef struct {
    VocabularyCounter *counter;
    const char *path;
    bool counted;
    VocabularyCounter *own;      // what this file had, for that warning
    bool only_look, have_counts; // for vocabulary_file_has_counts
} Reader;

// `count` < 0: none given.
static bool add_entry(Reader *r, const char *text, size_t n, int64_t count, size_t place, VcErr *err)
{
    while (n > 0 && (uint8_t)text[n - 1] <= ' ')
        n--;
    while (n > 0 && (uint8_t)text[0] <= ' ')
        text++, n--;
    if (n == 0)
        return true;
    if (!vc_utf8_valid(text, n))
        return vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: the bytes are not UTF-8", r->path, place);
    if (memchr(text, 0, n))
        return vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: a concept cannot hold a zero byte", r->path, place);
    if (r->counted && count < 0) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: '%.*s' has no count; expected a tab and a number after it",
                       r->path, place, (int)(n < 100 ? n : 100), text);
    }
    if (r->counted) {
        vocabulary_counter_add_times(r->counter, text, n, VOCABULARY_OBJECT, count);
        return true;
    }
    if (vocabulary_counter_has(r->own, text, n)) { // a second count would move it forward
        vc_warn("'%s', entry %zu: '%.*s' was there before; the first one counts", r->path, place, (int)n, text);
        return true;
    }
    vocabulary_counter_add(r->own, text, n, VOCABULARY_OBJECT);
    if (!vocabulary_counter_has(r->counter, text, n))
        vocabulary_counter_add(r->counter, text, n, VOCABULARY_OBJECT);
    return true;
}

static bool read_json(Reader *r, const char *bytes, size_t n, VcErr *err)
{
    VcJson *json;
    if (!vc_json_parse(&json, bytes, n, r->path, err))
        return false;
    bool ok = true;
    void *iter = NULL;
    const char *key;
    VcJson *value;
    r->have_counts = vc_json_is_object(json) && vc_json_length(json) > 0;
    for (size_t i = 1; !r->only_look && ok && vc_json_is_object(json) && vc_json_next_member(json, &iter, &key, &value);
         i++) {
        int64_t count = vc_json_int(value, -1);
        ok = count >= 0 ? add_entry(r, key, strlen(key), count, i, err)
                        : vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: expected a count", r->path, i);
    }
    for (size_t i = 0; !r->only_look && ok && vc_json_is_array(json) && i < vc_json_length(json); i++) {
        size_t length = 0;
        const char *text = vc_json_string(vc_json_item(json, i), &length);
        ok = text ? add_entry(r, text, length, -1, i + 1, err)
                  : vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: expected a string", r->path, i + 1);
    }
    vc_json_destroy(&json);
    return ok;
}

static bool read_lines(Reader *r, const char *s, const char *end, VcErr *err)
{
    bool ok = true;
    for (size_t line = 1; ok && s < end; line++) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));
        stop = stop ? stop : end;
        size_t n = (size_t)(stop - s);
        const char *tab = memchr(s, '\t', n);
        int64_t count = -1;
        if (tab) {
            char number[24] = "";
            size_t digits = (size_t)(stop - tab) - 1;
            digits -= digits > 0 && stop[-1] == '\r';
            if (digits < sizeof number)
                memcpy(number, tab + 1, digits);
            if (!vc_parse_i64(number, &count) || count < 0)
                return vc_fail(err, VC_ERR_FORMAT, "'%s', line %zu: after the tab a count is expected", r->path, line);
            n = (size_t)(tab - s);
        }
        if (r->only_look) {
            r->have_counts = tab != NULL;
            return true;
        }
        ok = add_entry(r, s, n, count, line, err);
        s = stop + 1;
    }
    return ok;
}

static bool read_file(Reader *r, VcSha256 *sha, VcErr *err)
{
    char *bytes;
    size_t n;
    if (!vc_read_file(&bytes, &n, r->path, MAX_FILE, err))
        return vc_prefix(err, "cannot read the vocabulary");
    if (sha) {
        vc_sha256_add(sha, &n, sizeof n);
        vc_sha256_add(sha, bytes, n);
    }
    const char *s = bytes, *end = bytes + n;
    if (n >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0)
        s += 3;
    const char *first = s;
    while (first < end && (uint8_t)*first <= ' ')
        first++;
    r->own = vocabulary_counter_create();
    bool json = first < end && (*first == '[' || *first == '{');
    bool ok = json ? read_json(r, s, (size_t)(end - s), err) : read_lines(r, s, end, err);
    vocabulary_counter_destroy(&r->own);
    free(bytes);
    return ok;
}

static bool read_workspace(VocabularyCounter *counter, const char *path, bool counted, VcSha256 *sha, VcErr *err);

static bool workspace_has_counts(const char *path, bool *counts, VcErr *err)
{
    VcWorkspace ws;
    int64_t without = 1;
    if (!vc_workspace_open(&ws, path, VC_DB_READ, err))
        return false;
    const bool ok = vc_db_int(ws.db, "SELECT EXISTS(SELECT 1 FROM concept WHERE freq IS NULL)", 1, &without, err);
    vc_workspace_close(&ws);
    *counts = without == 0;
    return ok;
}

bool vocabulary_read_file(VocabularyCounter *counter, const char *path, bool counted, VcSha256 *sha, VcErr *err)
{
    if (vc_is_directory(path))
        return read_workspace(counter, path, counted, sha, err);
    Reader r = {.counter = counter, .path = path, .counted = counted};
    return read_file(&r, sha, err);
}

bool vocabulary_file_has_counts(const char *path, bool *counts, VcErr *err)
{
    if (vc_is_directory(path))
        return workspace_has_counts(path, counts, err);
    Reader r = {.path = path, .only_look = true};
    bool ok = read_file(&r, NULL, err);
    *counts = r.have_counts;
    return ok;
}

// The vocabulary of a workspace, in its order. counted: with its counts, which it must have; else each once.
static bool read_workspace(VocabularyCounter *counter, const char *path, bool counted, VcSha256 *sha, VcErr *err)
{
    VcWorkspace ws;
    if (!vc_workspace_open(&ws, path, VC_DB_READ, err))
        return false;
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws.db, &stmt, "SELECT text, freq, pos FROM concept ORDER BY concept_id", err);
    int64_t rows = 0;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        const char *text = vc_column_text(stmt, 0), *kind = vc_column_text(stmt, 2);
        int64_t count = vc_column_int(stmt, 1);
        if (counted && vc_column_is_null(stmt, 1)) {
            ok = vc_fail(err, VC_ERR_USAGE, "the vocabulary of '%s' has no counts: it came from a file without", path);
            break;
        }
        int k = strcmp(kind, "attribute") == 0  ? VOCABULARY_ATTRIBUTE
                : strcmp(kind, "relation") == 0 ? VOCABULARY_RELATION
                                                : VOCABULARY_OBJECT;
        if (sha) {
            vc_sha256_add(sha, text, strlen(text) + 1);
            vc_sha256_add(sha, &count, sizeof count);
        }
        if (counted) {
            vocabulary_counter_add_times(counter, text, strlen(text), k, count);
        } else if (!vocabulary_counter_has(counter, text, strlen(text))) {
            vocabulary_counter_add(counter, text, strlen(text), k);
        }
        rows++;
    }
    vc_stmt_finish(&stmt);
    vc_workspace_close(&ws);
    return ok && (rows > 0 || vc_fail(err, VC_ERR_USAGE,
                                      "the workspace '%s' has no vocabulary; run 'vicha concepts parse' in it", path));
}

bool vocabulary_read_counts(VocabularyCounter *counter, const char *path, VcSha256 *sha, VcErr *err)
{
    return vocabulary_read_file(counter, path, true, sha, err);
}
