// SPDX-License-Identifier: MIT
// Reading a tokenizer: vocab.json + merges.txt, or tokenizer.json alone.
#include "concepts/tokenizer_bpe.h"
#include "concepts/tokenizer_bpe_private.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"

#include <string.h>

enum { MAX_TOKENS = 1 << 22, MAX_FILE = 256 << 20 };

// The stand-in character of every byte (GPT-2's table): printable ones are themselves, the others 256 and up in order.
static void byte_symbols(uint32_t symbols[256])
{
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; b++) {
        const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        symbols[b] = printable ? b : next++;
    }
}

static size_t power_of_two(size_t n)
{
    size_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

static void put_slot(Bpe *b, int32_t id)
{
    const size_t mask = b->slot_count - 1;
    size_t at = vc_xxh3(b->tokens[id], strlen(b->tokens[id])) & mask;
    while (b->slots[at] >= 0)
        at = (at + 1) & mask;
    b->slots[at] = id;
}

static bool read_vocabulary(Bpe *b, const VcJson *vocabulary, const char *what, VcErr *err)
{
    const size_t entries = vc_json_length(vocabulary);
    if (!vc_json_is_object(vocabulary) || entries == 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s': expected an object of token: id", what);
    void *iter = NULL;
    const char *token;
    VcJson *value;
    int64_t largest = -1;
    while (vc_json_next_member(vocabulary, &iter, &token, &value)) {
        const int64_t id = vc_json_int(value, -1);
        if (id < 0 || id >= MAX_TOKENS) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s': token '%s': expected an id in 0..%d", what, token,
                           MAX_TOKENS - 1);
        }
        largest = id > largest ? id : largest;
    }
    b->count = (size_t)largest + 1;
    b->tokens = vc_calloc(b->count, sizeof *b->tokens);
    b->slot_count = power_of_two(entries * 2);
    b->slots = vc_alloc(b->slot_count, sizeof *b->slots);
    memset(b->slots, 0xFF, b->slot_count * sizeof *b->slots);
    iter = NULL;
    while (vc_json_next_member(vocabulary, &iter, &token, &value)) {
        const int32_t id = (int32_t)vc_json_int(value, -1);
        if (b->tokens[id] != NULL) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s': tokens '%s' and '%s' have the same id %d", what, b->tokens[id],
                           token, (int)id);
        }
        const size_t n = strlen(token) + 1;
        char *copy = vc_arena_alloc(b->arena, n, 1);
        memcpy(copy, token, n);
        b->tokens[id] = copy;
        put_slot(b, id);
    }
    return true;
}

static bool find_bytes(Bpe *b, const char *what, VcErr *err)
{
    uint32_t symbols[256];
    byte_symbols(symbols);
    for (int i = 0; i < 256; i++) {
        char text[16];
        const size_t n = vc_utf8_encode(symbols[i], text);
        memcpy(text + n, "</w>", 5);
        b->byte[i] = bpe_find(b, text, n);
        b->last_byte[i] = bpe_find(b, text, n + 4);
        if (b->byte[i] < 0 || b->last_byte[i] < 0) {
            if (b->byte[i] < 0)
                text[n] = '\0';
            return vc_fail(err, VC_ERR_FORMAT,
                           "'%s': token '%s' of byte 0x%02x is missing: expected the byte-level vocabulary of CLIP, "
                           "is this the tokenizer of another model?",
                           what, text, (unsigned)i);
        }
    }
    return true;
}

static bool add_merge(Bpe *b, const char *left, size_t ln, const char *right, size_t rn, int32_t rank, const char *what,
                      VcErr *err)
{
    VcStr joined = {0};
    vc_str_putn(&joined, left, ln);
    vc_str_putn(&joined, right, rn);
    const int32_t l = bpe_find(b, left, ln), r = bpe_find(b, right, rn), m = bpe_find(b, joined.data, joined.len);
    bool ok = l >= 0 && r >= 0 && m >= 0;
    if (ok) {
        BpeMerge *slot = bpe_merge_slot(b, l, r);
        if (slot->rank < 0) {
            slot->rank = rank;
            slot->merged = m;
        }
    } else {
        ok = vc_fail(err, VC_ERR_FORMAT,
                     "'%s': merge %d '%.*s %.*s': '%s' is not in the vocabulary; do the two files belong to one model?",
                     what, (int)rank + 1, (int)ln, left, (int)rn, right,
                     l < 0   ? "its left part"
                     : r < 0 ? "its right part"
                             : joined.data);
    }
    vc_str_finish(&joined);
    return ok;
}

static void start_merges(Bpe *b, size_t n)
{
    b->merge_slots = power_of_two(n * 2);
    b->merges = vc_alloc(b->merge_slots, sizeof *b->merges);
    for (size_t i = 0; i < b->merge_slots; i++)
        b->merges[i].rank = -1;
}

static size_t count_lines(const char *text, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

static bool read_merges_file(Bpe *b, const char *path, VcErr *err)
{
    char *text;
    size_t size;
    if (!vc_read_file(&text, &size, path, MAX_FILE, err))
        return false;
    start_merges(b, count_lines(text, size));
    int32_t rank = 0;
    bool ok = true;
    for (const char *line = text, *end; ok && line < text + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (end == NULL)
            end = text + size;
        size_t n = (size_t)(end - line);
        if (n > 0 && line[n - 1] == '\r')
            n--;
        if (n == 0 || (line == text && vc_has_prefix(line, "#version")))
            continue;
        const char *space = memchr(line, ' ', n);
        if (space == NULL || space == line || space == line + n - 1 ||
            memchr(space + 1, ' ', n - (size_t)(space + 1 - line)) != NULL) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s': merge %d: expected two symbols with one space between, got '%.*s'",
                         path, (int)rank + 1, (int)(n < 80 ? n : 80), line);
        } else {
            ok = add_merge(b, line, (size_t)(space - line), space + 1, n - (size_t)(space + 1 - line), rank++, path,
                           err);
        }
    }
    if (ok && rank == 0)
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' holds no merges", path);
    free(text);
    return ok;
}

static bool read_merges_json(Bpe *b, const VcJson *merges, const char *what, VcErr *err)
{
    const size_t n = vc_json_length(merges);
    if (!vc_json_is_array(merges) || n == 0 || n > MAX_TOKENS)
        return vc_fail(err, VC_ERR_FORMAT, "'model.merges' in '%s': expected an array of merges", what);
    start_merges(b, n);
    for (size_t i = 0; i < n; i++) {
        const VcJson *item = vc_json_item(merges, i);
        const char *left = vc_json_string(item, NULL), *right = NULL;
        size_t ln = 0;
        if (left != NULL) { // "a b"; newer files write ["a", "b"]
            right = strchr(left, ' ');
            ln = right != NULL ? (size_t)(right++ - left) : 0;
        } else if (vc_json_length(item) == 2) {
            left = vc_json_string(vc_json_item(item, 0), &ln);
            right = vc_json_string(vc_json_item(item, 1), NULL);
        }
        if (left == NULL || right == NULL || ln == 0) {
            return vc_fail(err, VC_ERR_FORMAT, "'model.merges' in '%s': merge %zu: expected \"LEFT RIGHT\"", what,
                           i + 1);
        }
        if (!add_merge(b, left, ln, right, strlen(right), (int32_t)i, what, err))
            return false;
    }
    return true;
}

static void add_special(Bpe *b, const char *content, int32_t id, bool normalized)
{
    for (size_t i = 0; i < b->special_count; i++) {
        if (strcmp(b->special[i].content, content) == 0)
            return;
    }
    b->special = vc_grow(b->special, &b->special_cap, b->special_count + 1, sizeof *b->special);
    const size_t n = strlen(content) + 1;
    char *copy = vc_arena_alloc(b->arena, n, 1), *lower = vc_arena_alloc(b->arena, n, 1);
    memcpy(copy, content, n);
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)(content[i] >= 'A' && content[i] <= 'Z' ? content[i] + 32 : content[i]);
    b->special[b->special_count++] = (BpeSpecial){copy, lower, id, normalized};
}

static bool is_ascii(const char *s)
{
    while (*s > 0)
        s++;
    return *s == '\0';
}

// "added_tokens" of tokenizer.json. Tokens with letters beyond ASCII do not occur in CLIP and are left out.
static bool read_added(Bpe *b, const VcJson *added, const char *what, VcErr *err)
{
    for (size_t i = 0; i < vc_json_length(added); i++) {
        const VcJson *item = vc_json_item(added, i);
        const char *content = vc_json_string(vc_json_member(item, "content"), NULL);
        const int64_t id = vc_json_int(vc_json_member(item, "id"), -1);
        if (content == NULL || content[0] == '\0' || id < 0 || id >= (int64_t)b->count) {
            return vc_fail(err, VC_ERR_FORMAT, "'added_tokens' in '%s': item %zu: expected a text and an id below %zu",
                           what, i, b->count);
        }
        if (is_ascii(content))
            add_special(b, content, (int32_t)id, vc_json_bool(vc_json_member(item, "normalized"), false));
    }
    return true;
}

// "bos_token" and its like: a string, or an object with "content".
static const char *token_name(const VcJson *json, const char *key)
{
    const VcJson *value = vc_json_member(json, key);
    const char *text = vc_json_string(value, NULL);
    return text != NULL ? text : vc_json_string(vc_json_member(value, "content"), NULL);
}

// Start, end and pad by the names in `path` (tokenizer_config.json or special_tokens_map.json), if it is there.
static bool read_names(Bpe *b, const char *dir, const char *name, VcErr *err)
{
    char *path = vc_path_join(dir, name);
    VcJson *json = NULL;
    bool ok = !vc_exists(path) || vc_json_read_file(&json, path, MAX_FILE, err);
    if (json != NULL) {
        const struct {
            const char *key;
            int32_t *id;
        } wanted[] = {{"bos_token", &b->start}, {"eos_token", &b->end}, {"pad_token", &b->pad}};
        for (size_t i = 0; ok && i < 3; i++) {
            const char *text = token_name(json, wanted[i].key);
            if (text == NULL || *wanted[i].id >= 0)
                continue;
            *wanted[i].id = bpe_find(b, text, strlen(text));
            if (*wanted[i].id < 0) {
                ok = vc_fail(err, VC_ERR_FORMAT, "'%s' in '%s': token '%s' is not in the vocabulary", wanted[i].key,
                             path, text);
            }
        }
    }
    vc_json_destroy(&json);
    free(path);
    return ok;
}

static bool finish_names(Bpe *b, const char *dir, VcErr *err)
{
    static const char *const pairs[][2] = {{"<|startoftext|>", "<|endoftext|>"}, {"<start_of_text>", "<end_of_text>"}};
    if (!read_names(b, dir, "tokenizer_config.json", err) || !read_names(b, dir, "special_tokens_map.json", err))
        return false;
    for (int i = 0; i < 2; i++) {
        if (b->start < 0)
            b->start = bpe_find(b, pairs[i][0], strlen(pairs[i][0]));
        if (b->end < 0)
            b->end = bpe_find(b, pairs[i][1], strlen(pairs[i][1]));
    }
    if (b->start < 0 || b->end < 0 || b->start == b->end) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "the vocabulary in '%s' has no %s token: expected <|startoftext|> and <|endoftext|>", dir,
                       b->start < 0 ? "start" : "end");
    }
    if (b->pad < 0)
        b->pad = b->end;
    // What CLIPTokenizer declares: the start token is looked for after cleaning, the end token before.
    if (is_ascii(b->tokens[b->start]))
        add_special(b, b->tokens[b->start], b->start, true);
    if (is_ascii(b->tokens[b->end]))
        add_special(b, b->tokens[b->end], b->end, false);
    return true;
}

static bool read_two_files(Bpe *b, const char *dir, VcErr *err)
{
    char *vocabulary = vc_path_join(dir, "vocab.json"), *merges = vc_path_join(dir, "merges.txt");
    VcJson *json = NULL;
    bool ok = vc_json_read_file(&json, vocabulary, MAX_FILE, err) && read_vocabulary(b, json, vocabulary, err) &&
              find_bytes(b, vocabulary, err) && read_merges_file(b, merges, err);
    vc_json_destroy(&json);
    free(vocabulary);
    free(merges);
    return ok;
}

static bool read_one_file(Bpe *b, const char *path, bool added_only, VcErr *err)
{
    VcJson *json = NULL;
    bool ok = vc_json_read_file(&json, path, MAX_FILE, err);
    const VcJson *model = ok ? vc_json_member(json, "model") : NULL;
    if (ok && !added_only) {
        ok = read_vocabulary(b, vc_json_member(model, "vocab"), path, err) && find_bytes(b, path, err) &&
             read_merges_json(b, vc_json_member(model, "merges"), path, err);
    }
    if (ok)
        ok = read_added(b, vc_json_member(json, "added_tokens"), path, err);
    vc_json_destroy(&json);
    return ok;
}

bool bpe_open(Bpe **out, const char *dir, VcErr *err)
{
    char *one = vc_path_join(dir, "tokenizer.json"), *vocabulary = vc_path_join(dir, "vocab.json"),
         *merges = vc_path_join(dir, "merges.txt");
    const bool has_one = vc_exists(one), has_vocabulary = vc_exists(vocabulary), has_merges = vc_exists(merges);
    Bpe *b = vc_calloc(1, sizeof *b);
    b->arena = vc_arena_create("tokenizer");
    b->start = b->end = b->pad = -1;
    bool ok;
    if (has_vocabulary && has_merges) {
        ok = read_two_files(b, dir, err) && (!has_one || read_one_file(b, one, true, err));
    } else if (has_one) {
        ok = read_one_file(b, one, false, err);
    } else {
        ok = vc_fail(err, VC_ERR_IO,
                     "no tokenizer in '%s': %s is missing; expected vocab.json and merges.txt, or tokenizer.json", dir,
                     has_vocabulary ? "merges.txt" : "vocab.json");
    }
    ok = ok && finish_names(b, dir, err);
    free(one);
    free(vocabulary);
    free(merges);
    if (ok) {
        *out = b;
    } else {
        bpe_close(&b);
    }
    return ok;
}
