// SPDX-License-Identifier: MIT
#include "concepts/caption.h"

#include "base/mem.h"
#include "concepts/caption_internal.h"

struct CaptionParser {
    CaptionModel *model;
    bool shared; // the model belongs to another parser
    CaptionTokens tokens;
    uint8_t *states;
    size_t states_cap;
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

CaptionParser *caption_parser_create(void)
{
    CaptionParser *p = vc_calloc(1, sizeof *p);
    p->model = caption_model_create();
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
    free(p->states);
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
        if (caption_model_role(p->model, p->states[t]) == 'C') {
            vc_str_putn(&p->pool, p->tokens.tokens[t].text, p->tokens.tokens[t].length);
            vc_str_putc(&p->pool, ' ');
        }
    }
    vc_str_putn(&p->pool, p->tokens.tokens[head].text, p->tokens.tokens[head].length);
    return end_string(p, begin);
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
    for (size_t t = from; t < head; t++) {
        if (keep && caption_model_role(p->model, p->states[t]) == 'M') {
            p->attributes = vc_grow(p->attributes, &p->attribute_cap, 2 * (p->attribute_count + 1), sizeof(size_t));
            size_t modifier = put_token(p, t);
            p->attributes[2 * p->attribute_count] = surface;
            p->attributes[2 * p->attribute_count++ + 1] = modifier;
        }
    }
    if (!keep)
        return;
    p->concepts = vc_grow(p->concepts, &p->concept_cap, p->concept_count + 1, sizeof(size_t));
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

void caption_parse(CaptionParser *p, const char *text, size_t n, bool keep_pronouns, CaptionParse *out)
{
    caption_tokens_split(&p->tokens, text, n);
    size_t count = p->tokens.count;
    p->states = vc_grow(p->states, &p->states_cap, count, 1);
    caption_model_label(p->model, p->tokens.tokens, count, p->states);
    vc_str_clear(&p->pool);
    p->concept_count = p->attribute_count = p->relation_count = p->head_count = 0;
    size_t from = 0;
    for (size_t t = 0; t < count; t++) {
        char role = caption_model_role(p->model, p->states[t]);
        if (role != 'H' && role != 'P')
            continue;
        add_head(p, from, t, role == 'H' || keep_pronouns);
        from = t + 1;
    }
    CaptionRoles roles = {p->model, p->tokens.tokens, p->states, p->heads, p->head_count, add_relation, p};
    caption_relate(&roles);
    finish(p, out);
}
