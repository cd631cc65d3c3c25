// SPDX-License-Identifier: MIT
#include "concepts/caption_silver.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MAX_LINE = 1 << 16, FIELDS = 8 };

typedef struct {
    Silver *s;
    VcStr text;
    size_t *offsets; // [token_count] where each token begins in text, while that still moves
    size_t offset_cap, token_cap, tag_cap, role_cap, dep_cap, head_cap, caption_cap;
    const char *path;
    size_t line, first_line; // of the file; of the caption
} Reader;

static int place_of(const char *word, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (names[i] && strcmp(names[i], word) == 0)
            return (int)i;
    }
    return -1;
}

static int tag_of(const char *word)
{
    static const char *const names[CAPTION_TAGS] = {"NOUN",  "DET", "ADP", "VERB",  "ADJ",   "PUNCT", "AUX", "PRON",
                                                    "CCONJ", "NUM", "ADV", "PROPN", "SCONJ", "PART",  "SYM", "X"};
    return strcmp(word, "INTJ") == 0 || strcmp(word, "SPACE") == 0 ? CAPTION_X : place_of(word, names, CAPTION_TAGS);
}

static int dep_of(const char *word)
{
    static const char *const names[CAPTION_DEPS] = {NULL,    "nsubj", "nsubjpass", "amod", "advmod", "acl",
                                                    "agent", "pobj",  "dobj",      "attr", "conj"};
    int dep = place_of(word, names, CAPTION_DEPS);
    return dep < 0 ? CAPTION_DEP_OTHER : dep;
}

static bool bad(const Reader *r, const char *what, const char *word, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s', line %zu: %s '%s'", r->path, r->line, what, word);
}

static bool add_token(Reader *r, char *line, VcErr *err)
{
    char *field[FIELDS];
    size_t n = 0;
    for (char *at = line; at; n++) {
        if (n == FIELDS)
            return vc_fail(err, VC_ERR_FORMAT, "'%s', line %zu: more than %d fields", r->path, r->line, FIELDS);
        field[n] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = '\0';
    }
    if (n < FIELDS) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s', line %zu: %zu fields where %d are expected", r->path, r->line, n,
                       FIELDS);
    }
    static const char *const roles[] = {"O", "H", "P", "C", "M"};
    int tag = tag_of(field[4]), role = place_of(field[7], roles, sizeof roles / sizeof *roles);
    int64_t offset;
    if (tag < 0)
        return bad(r, "no universal part of speech:", field[4], err);
    if (role < 0)
        return bad(r, "no role (H, P, C, M or O):", field[7], err);
    if (!vc_parse_i64(field[6], &offset) || offset > SILVER_MAX_TOKENS || offset < -SILVER_MAX_TOKENS)
        return bad(r, "no offset of a head:", field[6], err);
    size_t length = strlen(field[0]);
    if (length == 0 || !vc_utf8_valid(field[0], length))
        return bad(r, "no token in UTF-8:", "", err);
    Silver *s = r->s;
    SilverCaption *c = &s->captions[s->caption_count];
    if (c->count == SILVER_MAX_TOKENS) {
        return vc_fail(err, VC_ERR_LIMIT, "'%s', line %zu: a caption of more than %d tokens", r->path, r->line,
                       SILVER_MAX_TOKENS);
    }
    size_t i = s->token_count++;
    s->tokens = vc_grow(s->tokens, &r->token_cap, i + 1, sizeof *s->tokens);
    r->offsets = vc_grow(r->offsets, &r->offset_cap, i + 1, sizeof *r->offsets);
    s->tags = vc_grow(s->tags, &r->tag_cap, i + 1, 1);
    s->roles = vc_grow(s->roles, &r->role_cap, i + 1, 1);
    s->deps = vc_grow(s->deps, &r->dep_cap, i + 1, 1);
    s->heads = vc_grow(s->heads, &r->head_cap, i + 1, sizeof *s->heads);
    s->tokens[i] = (CaptionToken){.length = (uint32_t)length, .space_after = field[1][0] == '1'};
    r->offsets[i] = r->text.len;
    vc_str_putn(&r->text, field[0], length);
    s->tags[i] = (uint8_t)tag;
    s->roles[i] = (uint8_t)role;
    s->deps[i] = (uint8_t)dep_of(field[5]);
    s->heads[i] = offset == 0 ? -1 : (int32_t)((int64_t)c->count + offset);
    c->count++;
    return true;
}

static bool end_caption(Reader *r, VcErr *err)
{
    Silver *s = r->s;
    SilverCaption *c = &s->captions[s->caption_count];
    if (c->count == 0)
        return true;
    for (size_t i = 0; i < c->count; i++) {
        int32_t head = s->heads[c->begin + i];
        if (head < -1 || head >= (int32_t)c->count) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s', line %zu: token %zu of the caption before has its head outside",
                           r->path, r->line, i + 1);
        }
    }
    // A modifier whose noun stands before it. "old and wooden": the second hangs on the first.
    for (size_t i = 0; i < c->count; i++) {
        int32_t head = s->heads[c->begin + i];
        if (head >= 0 && s->deps[c->begin + i] == CAPTION_DEP_CONJ)
            head = s->heads[c->begin + (size_t)head];
        if (s->roles[c->begin + i] == CAPTION_MODIFIER && head >= 0 && head < (int32_t)i)
            s->roles[c->begin + i] = CAPTION_AFTER;
    }
    s->caption_count++;
    s->captions = vc_grow(s->captions, &r->caption_cap, s->caption_count + 1, sizeof *s->captions);
    s->captions[s->caption_count] = (SilverCaption){(uint32_t)s->token_count, 0};
    return true;
}

bool silver_read(Silver *silver, const char *path, VcErr *err)
{
    *silver = (Silver){0};
    Reader r = {.s = silver, .path = path};
    gzFile in = gzopen(path, "rb");
    if (!in)
        return vc_fail_errno(err, "cannot open '%s'", path);
    gzbuffer(in, 1 << 17);
    char *line = vc_alloc(MAX_LINE, 1);
    silver->captions = vc_grow(NULL, &r.caption_cap, 1, sizeof *silver->captions);
    silver->captions[0] = (SilverCaption){0, 0};
    bool ok = true;
    while (ok && gzgets(in, line, MAX_LINE)) {
        size_t n = strlen(line);
        r.line++;
        if (n + 1 == MAX_LINE) {
            ok = vc_fail(err, VC_ERR_LIMIT, "'%s', line %zu: longer than %d bytes", path, r.line, MAX_LINE - 2);
            break;
        }
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (n == 0) {
            ok = end_caption(&r, err);
        } else if (!(vc_has_prefix(line, "# ") && silver->captions[silver->caption_count].count == 0)) {
            ok = add_token(&r, line, err);
        }
    }
    int code = Z_OK;
    const char *why = gzerror(in, &code);
    if (ok && code != Z_OK && code != Z_STREAM_END)
        ok = vc_fail(err, VC_ERR_IO, "cannot read '%s': %s", path, why);
    ok = ok && end_caption(&r, err);
    if (ok && silver->caption_count == 0)
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' holds no annotated caption", path);
    gzclose(in);
    free(line);
    silver->text = r.text.data;
    for (size_t i = 0; ok && i < silver->token_count; i++)
        silver->tokens[i].text = silver->text + r.offsets[i];
    free(r.offsets);
    if (!ok)
        silver_finish(silver);
    return ok;
}

void silver_finish(Silver *s)
{
    free(s->text);
    free(s->tokens);
    free(s->tags);
    free(s->roles);
    free(s->deps);
    free(s->heads);
    free(s->captions);
    *s = (Silver){0};
}
