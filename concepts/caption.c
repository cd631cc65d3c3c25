// SPDX-License-Identifier: MIT
#include "concepts/caption.h"

#include "base/file.h"
#include "base/mem.h"
#include "concepts/caption_internal.h"

struct CaptionParser {
    CaptionModel *model;
    bool shared; // the model belongs to another parser
    CaptionTokens tokens;
    CaptionWord *words; // [tokens + 2 CAPTION_PAD]
    size_t words_cap;
    CaptionTree tree;
    bool keep_case;
    VcStr pool; // all strings of a result, each with its zero byte
    // Results as offsets while `pool` still moves: [concepts], [attributes x 2], [relations x 3].
    size_t *concepts, *attributes, *relations;
    size_t concept_cap, attribute_cap, relation_cap;
    const char **concept_out;
    CaptionAttribute *attribute_out;
    CaptionRelation *relation_out;
    size_t concept_out_cap, attribute_out_cap, relation_out_cap;
    size_t concept_count, attribute_count, relation_count;
    // Every head, kept or not: its token, its surface text in `pool`, whether it counts.
    size_t *heads, *surfaces;
    bool *kept;
    size_t head_count, heads_cap, surfaces_cap, kept_cap;
};

CaptionParser *caption_parser_over(CaptionModel *model)
{
    CaptionParser *p = vc_calloc(1, sizeof *p);
    p->model = model;
    return p;
}

static CaptionParser *create_from(const void *bytes, size_t n, const char *name, VcErr *err)
{
    CaptionModel *model = caption_model_read(bytes, n, name, err);
    return model ? caption_parser_over(model) : NULL;
}

CaptionParser *caption_parser_create(void)
{
    VcErr err;
    CaptionParser *p =
        create_from(concepts_caption_model, concepts_caption_model_size, "the model in the program", &err);
    VC_ASSERT(p != NULL);
    return p;
}

CaptionParser *caption_parser_open(const char *path, VcErr *err)
{
    char *bytes;
    size_t n;
    if (!vc_read_file(&bytes, &n, path, CAPTION_MODEL_MAX_BYTES, err)) {
        vc_prefix(err, "cannot read the caption model");
        return NULL;
    }
    CaptionParser *p = create_from(bytes, n, path, err);
    free(bytes);
    return p;
}

CaptionParser *caption_parser_share(const CaptionParser *parser)
{
    CaptionParser *p = vc_calloc(1, sizeof *p);
    p->model = parser->model;
    p->shared = true;
    return p;
}

void caption_parser_destroy(CaptionParser **parser)
{
    CaptionParser *p = parser ? *parser : NULL;
    if (!p)
        return;
    if (!p->shared)
        caption_model_destroy(&p->model);
    caption_tokens_finish(&p->tokens);
    vc_str_finish(&p->pool);
    free(p->words);
    caption_tree_finish(&p->tree);
    free(p->concepts);
    free(p->attributes);
    free(p->relations);
    free(p->heads);
    free(p->surfaces);
    free(p->kept);
    free(p->concept_out);
    free(p->attribute_out);
    free(p->relation_out);
    free(p);
    *parser = NULL;
}

size_t caption_tokenize(CaptionParser *parser, const char *text, size_t n, const CaptionToken **tokens)
{
    caption_tokens_split(&parser->tokens, text, n);
    *tokens = parser->tokens.tokens;
    return parser->tokens.count;
}

static uint8_t role_of(const CaptionParser *p, size_t token)
{
    return p->words[CAPTION_PAD + token].role;
}

static size_t end_string(CaptionParser *p, size_t begin)
{
    vc_str_putc(&p->pool, '\0');
    return begin;
}

static size_t put_token(CaptionParser *p, size_t t)
{
    size_t begin = p->pool.len;
    vc_str_putn(&p->pool, p->tokens.tokens[t].text, p->tokens.tokens[t].length);
    return end_string(p, begin);
}

// The compounds of [from, head) in reverse order, then the head: the reference puts each in front of what it has.
static size_t put_head(CaptionParser *p, size_t from, size_t head)
{
    size_t begin = p->pool.len;
    for (size_t t = head; t-- > from;) {
        if (role_of(p, t) == CAPTION_COMPOUND) {
            vc_str_putn(&p->pool, p->tokens.tokens[t].text, p->tokens.tokens[t].length);
            vc_str_putc(&p->pool, ' ');
        }
    }
    vc_str_putn(&p->pool, p->tokens.tokens[head].text, p->tokens.tokens[head].length);
    return end_string(p, begin);
}

// Those of [from, to) of the last head.
static void add_modifiers(CaptionParser *p, size_t from, size_t to, CaptionRole role)
{
    if (p->head_count == 0 || !p->kept[p->head_count - 1])
        return;
    for (size_t t = from; t < to; t++) {
        if (role_of(p, t) != role)
            continue;
        size_t modifier = put_token(p, t);
        p->attributes = vc_grow(p->attributes, &p->attribute_cap, 2 * (p->attribute_count + 1), sizeof(size_t));
        p->attributes[2 * p->attribute_count] = p->surfaces[p->head_count - 1];
        p->attributes[2 * p->attribute_count++ + 1] = modifier;
    }
}

static void add_head(CaptionParser *p, size_t from, size_t head, bool keep)
{
    size_t surface = put_head(p, from, head);
    p->heads = vc_grow(p->heads, &p->heads_cap, p->head_count + 1, sizeof *p->heads);
    p->surfaces = vc_grow(p->surfaces, &p->surfaces_cap, p->head_count + 1, sizeof *p->surfaces);
    p->kept = vc_grow(p->kept, &p->kept_cap, p->head_count + 1, sizeof *p->kept);
    p->heads[p->head_count] = head;
    p->surfaces[p->head_count] = surface;
    p->kept[p->head_count++] = keep;
    add_modifiers(p, from, head, CAPTION_MODIFIER);
    if (!keep)
        return;
    p->concepts = vc_grow(p->concepts, &p->concept_cap, p->concept_count + 1, sizeof(size_t));
    if (p->keep_case) {
        p->concepts[p->concept_count++] = surface;
        return;
    }
    // Lower case can be longer or shorter than the surface: a string of its own, from a copy that does not move.
    size_t n = strlen(p->pool.data + surface), begin = p->pool.len;
    char *copy = vc_strndup(p->pool.data + surface, n);
    caption_put_lower(&p->pool, copy, n);
    free(copy);
    p->concepts[p->concept_count++] = end_string(p, begin);
}

static void add_relation(void *context, size_t subject, const char *relation, size_t object)
{
    CaptionParser *p = context;
    if (!p->kept[subject] || !p->kept[object])
        return;
    p->relations = vc_grow(p->relations, &p->relation_cap, 3 * (p->relation_count + 1), sizeof(size_t));
    size_t begin = p->pool.len, *r = p->relations + 3 * p->relation_count++;
    vc_str_put(&p->pool, relation);
    r[0] = p->surfaces[subject];
    r[1] = end_string(p, begin);
    r[2] = p->surfaces[object];
}

static void finish(CaptionParser *p, CaptionParse *out)
{
    const char *base = vc_str_get(&p->pool);
    p->concept_out = vc_grow(p->concept_out, &p->concept_out_cap, p->concept_count, sizeof *p->concept_out);
    for (size_t i = 0; i < p->concept_count; i++)
        p->concept_out[i] = base + p->concepts[i];
    p->attribute_out = vc_grow(p->attribute_out, &p->attribute_out_cap, p->attribute_count, sizeof *p->attribute_out);
    for (size_t i = 0; i < p->attribute_count; i++)
        p->attribute_out[i] = (CaptionAttribute){base + p->attributes[2 * i], base + p->attributes[2 * i + 1]};
    p->relation_out = vc_grow(p->relation_out, &p->relation_out_cap, p->relation_count, sizeof *p->relation_out);
    for (size_t i = 0; i < p->relation_count; i++) {
        p->relation_out[i] = (CaptionRelation){base + p->relations[3 * i], base + p->relations[3 * i + 1],
                                               base + p->relations[3 * i + 2]};
    }
    *out = (CaptionParse){p->concept_out,     p->concept_count, p->attribute_out,
                          p->attribute_count, p->relation_out,  p->relation_count};
}

uint64_t caption_parser_model(const CaptionParser *parser)
{
    return caption_model_hash(parser->model);
}

static void collect_heads(CaptionParser *p, unsigned flags)
{
    bool keep_pronouns = (flags & CAPTION_PRONOUNS) != 0;
    p->keep_case = (flags & CAPTION_CASE) != 0;
    vc_str_clear(&p->pool);
    p->concept_count = p->attribute_count = p->relation_count = p->head_count = 0;
    size_t from = 0;
    for (size_t t = 0; t < p->tokens.count; t++) {
        uint8_t role = role_of(p, t);
        if (role != CAPTION_HEAD && role != CAPTION_PRONOUN)
            continue;
        add_modifiers(p, from, t, CAPTION_AFTER);
        add_head(p, from, t, role == CAPTION_HEAD || keep_pronouns);
        from = t + 1;
    }
    add_modifiers(p, from, p->tokens.count, CAPTION_AFTER);
}

static void collect_relations(CaptionParser *p, const int32_t *head, const uint8_t *dep, const int32_t *left)
{
    const CaptionRoles roles = {.tokens = p->tokens.tokens,
                                .words = p->words + CAPTION_PAD,
                                .n = p->tokens.count,
                                .head = head,
                                .dep = dep,
                                .left = left,
                                .heads = p->heads,
                                .head_count = p->head_count,
                                .add = add_relation,
                                .context = p};
    caption_relate(&roles);
}

static CaptionWord *read_words(CaptionParser *p)
{
    size_t n = p->tokens.count;
    p->words = vc_grow(p->words, &p->words_cap, n + 2 * CAPTION_PAD, sizeof *p->words);
    caption_words(p->tokens.tokens, n, p->words);
    return p->words + CAPTION_PAD;
}

static void parse_tokens(CaptionParser *p, unsigned flags, CaptionParse *out)
{
    CaptionWord *words = read_words(p);
    size_t n = p->tokens.count;
    caption_model_tag(p->model, words, n);
    caption_model_roles(p->model, words, n);
    collect_heads(p, flags);
    if ((flags & CAPTION_RELATIONS) != 0 && p->concept_count > 1) {
        caption_model_tree(p->model, words, n, &p->tree);
        collect_relations(p, p->tree.a.head, p->tree.a.dep, p->tree.a.left);
    }
    finish(p, out);
}

void caption_parse(CaptionParser *p, const char *text, size_t n, unsigned flags, CaptionParse *out)
{
    caption_tokens_split(&p->tokens, text, n);
    parse_tokens(p, flags, out);
}

void caption_parse_silver(CaptionParser *p, const Silver *silver, size_t caption, bool gold, CaptionParse *out)
{
    const SilverCaption *k = &silver->captions[caption];
    size_t n = k->count;
    p->tokens.tokens = vc_grow(p->tokens.tokens, &p->tokens.cap, n, sizeof *p->tokens.tokens);
    memcpy(p->tokens.tokens, silver->tokens + k->begin, n * sizeof *p->tokens.tokens);
    p->tokens.count = n;
    if (!gold) {
        parse_tokens(p, CAPTION_PRONOUNS | CAPTION_RELATIONS, out);
        return;
    }
    CaptionWord *words = read_words(p);
    int32_t *left = vc_alloc(n, sizeof *left);
    for (size_t i = 0; i < n; i++) {
        words[i].tag = silver->tags[k->begin + i];
        words[i].role = silver->roles[k->begin + i];
        left[i] = -1;
    }
    for (size_t i = n; i-- > 0;) {
        int32_t head = silver->heads[k->begin + i];
        if (head > (int32_t)i)
            left[head] = (int32_t)i;
    }
    collect_heads(p, CAPTION_PRONOUNS);
    collect_relations(p, silver->heads + k->begin, silver->deps + k->begin, left);
    free(left);
    finish(p, out);
}
