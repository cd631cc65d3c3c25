// SPDX-License-Identifier: MIT
#include "query/expression.h"

#include "base/str.h"

#include <math.h>

typedef enum { END, OPEN, CLOSE, LEAST, AND_WORD, OR_WORD, NOT_WORD, WORD, QUOTED } Kind;

typedef struct {
    Kind kind;
    size_t at, size; // bytes of the source; QUOTED: with its quotation marks
} Token;

typedef struct {
    const char *text;
    size_t n, next; // next: where the token after `token` begins
    Token token;
    VcArena *memory;
    size_t depth, terms;
    VcErr *err;
} Parser;

static bool refuse(Parser *p, size_t at, const char *what)
{
    size_t left = p->n - at;
    if (left == 0)
        return vc_fail(p->err, VC_ERR_USAGE, "concept expression '%.200s': %s at its end", p->text, what);
    return vc_fail(p->err, VC_ERR_USAGE, "concept expression '%.200s': %s at '%.*s%s' (byte %zu)", p->text, what,
                   (int)(left < 40 ? left : 40), p->text + at, left > 40 ? "..." : "", at + 1);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(const Parser *p, size_t at)
{
    char c = p->text[at];
    return at < p->n && !is_space(c) && c != '(' && c != ')' && c != '"' && !(c == '>' && p->text[at + 1] == '=');
}

// Reads the next token into p->token. The text ends with a zero byte, so looking one byte ahead is safe.
static bool advance(Parser *p)
{
    size_t at = p->next;
    while (at < p->n && is_space(p->text[at]))
        at++;
    size_t end = at;
    Kind kind = END;
    if (at < p->n && (p->text[at] == '(' || p->text[at] == ')')) {
        kind = p->text[at] == '(' ? OPEN : CLOSE;
        end = at + 1;
    } else if (at < p->n && p->text[at] == '"') {
        kind = QUOTED;
        for (end = at + 1; end < p->n; end++) {
            if (p->text[end] == '"' && p->text[end + 1] != '"')
                break;
            end += p->text[end] == '"';
        }
        if (end >= p->n)
            return refuse(p, at, "a quotation mark is not closed");
        end++;
    } else if (at < p->n && p->text[at] == '>' && p->text[at + 1] == '=') {
        kind = LEAST;
        end = at + 2;
    } else if (at < p->n) {
        while (is_word(p, end))
            end++;
        size_t n = end - at;
        const char *w = p->text + at;
        kind = n == 3 && memcmp(w, "AND", 3) == 0   ? AND_WORD
               : n == 2 && memcmp(w, "OR", 2) == 0  ? OR_WORD
               : n == 3 && memcmp(w, "NOT", 3) == 0 ? NOT_WORD
                                                    : WORD;
    }
    p->token = (Token){kind, at, end - at};
    p->next = end;
    return true;
}

static QueryNode *new_node(Parser *p, QueryNodeKind kind, size_t at)
{
    QueryNode *node = vc_arena_zalloc(p->memory, 1, sizeof *node);
    *node = (QueryNode){.kind = kind, .concept_id = -1, .least = INT32_MIN, .at = at};
    return node;
}

static const char *keep(Parser *p, const VcStr *s)
{
    char *copy = vc_arena_alloc(p->memory, s->len + 1, 1);
    memcpy(copy, vc_str_get(s), s->len + 1);
    return copy;
}

// The text between quotation marks, "" as one. False: nothing in it.
static bool unquote(Parser *p, const char **out)
{
    VcStr s = {0};
    for (size_t i = p->token.at + 1; i + 1 < p->token.at + p->token.size; i++) {
        vc_str_putc(&s, p->text[i]);
        i += p->text[i] == '"';
    }
    *out = keep(p, &s);
    bool some = s.len > 0;
    vc_str_finish(&s);
    return some || refuse(p, p->token.at, "an empty name");
}

static bool read_least(Parser *p, int *least)
{
    if (!advance(p))
        return false;
    char number[32];
    double value = 0;
    size_t n = p->token.size;
    bool ok = p->token.kind == WORD && n < sizeof number;
    if (ok) {
        memcpy(number, p->text + p->token.at, n);
        number[n] = 0;
        ok = vc_parse_double(number, &value) && value >= -1 && value <= 1;
    }
    if (!ok)
        return refuse(p, p->token.at, "expected a cosine from -1 to 1 behind '>='");
    *least = (int)ceil(value * 32767 - 1e-3);
    return advance(p);
}

// name [ ">=" number ]
static bool read_term(Parser *p, QueryNode **out)
{
    if (++p->terms > QUERY_EXPRESSION_TERMS)
        return refuse(p, p->token.at, "too many concepts (256 are allowed)");
    QueryNode *node = new_node(p, QUERY_TERM, p->token.at);
    if (p->token.kind == QUOTED) {
        if (!unquote(p, &node->text) || !advance(p))
            return false;
    } else {
        VcStr words = {0};
        bool ok = true;
        for (; ok && p->token.kind == WORD; ok = advance(p)) {
            if (words.len > 0)
                vc_str_putc(&words, ' ');
            vc_str_putn(&words, p->text + p->token.at, p->token.size);
        }
        node->text = keep(p, &words);
        vc_str_finish(&words);
        if (!ok)
            return false;
    }
    *out = node;
    return p->token.kind != LEAST || read_least(p, &node->least);
}

static bool read_or(Parser *p, QueryNode **out);

static bool read_item(Parser *p, QueryNode **out)
{
    if (p->depth > QUERY_EXPRESSION_DEPTH)
        return refuse(p, p->token.at, "nested too deep (64 levels are allowed)");
    size_t at = p->token.at;
    bool ok;
    p->depth++;
    if (p->token.kind == NOT_WORD) {
        QueryNode *inner = NULL;
        ok = advance(p) && read_item(p, &inner);
        ok = ok && inner;
        if (ok && inner->kind == QUERY_NOT) { // twice is not at all
            *out = inner->children[0];
        } else if (ok) {
            *out = new_node(p, QUERY_NOT, at);
            (*out)->children = vc_arena_alloc(p->memory, 1, sizeof *(*out)->children);
            (*out)->children[0] = inner;
            (*out)->child_count = 1;
        }
    } else if (p->token.kind == OPEN) {
        ok = advance(p) && read_or(p, out);
        if (ok && p->token.kind != CLOSE)
            ok = refuse(p, p->token.at, p->token.kind == END ? "a bracket is not closed" : "expected AND, OR or ')'");
        ok = ok && advance(p);
    } else if (p->token.kind == WORD || p->token.kind == QUOTED) {
        ok = read_term(p, out);
    } else {
        ok = refuse(p, at, "expected a concept");
    }
    p->depth--;
    return ok;
}

// Parts of the same kind become parts of this one: (a AND b) AND c is one AND of three.
static QueryNode *join(Parser *p, QueryNodeKind kind, QueryNode *const *parts, size_t count)
{
    if (count == 1)
        return parts[0];
    QueryNode *node = new_node(p, kind, parts[0]->at);
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i]->kind == kind ? parts[i]->child_count : 1;
    node->children = vc_arena_alloc(p->memory, total, sizeof *node->children);
    for (size_t i = 0; i < count; i++) {
        if (parts[i]->kind != kind) {
            node->children[node->child_count++] = parts[i];
            continue;
        }
        memcpy(node->children + node->child_count, parts[i]->children, parts[i]->child_count * sizeof *parts);
        node->child_count += parts[i]->child_count;
    }
    return node;
}

static bool read_chain(Parser *p, QueryNodeKind kind, QueryNode **out)
{
    QueryNode **parts = NULL;
    size_t count = 0, cap = 0;
    bool ok = true, more = true;
    while (ok && more) {
        parts = vc_grow(parts, &cap, count + 1, sizeof *parts);
        if (kind == QUERY_OR) {
            ok = read_chain(p, QUERY_AND, &parts[count]);
            more = ok && p->token.kind == OR_WORD;
        } else {
            ok = read_item(p, &parts[count]);
            // AND may be left out before anything that begins an item.
            more = ok && p->token.kind != END && p->token.kind != OR_WORD && p->token.kind != CLOSE &&
                   p->token.kind != LEAST;
        }
        count++;
        if (more && (p->token.kind == OR_WORD || p->token.kind == AND_WORD))
            ok = advance(p);
    }
    if (ok)
        *out = join(p, kind, parts, count);
    free(parts);
    return ok;
}

static bool read_or(Parser *p, QueryNode **out)
{
    return read_chain(p, QUERY_OR, out);
}

bool query_expression_parse(QueryNode **out, const char *text, VcArena *memory, VcErr *err)
{
    Parser p = {.text = text, .n = strlen(text), .memory = memory, .err = err};
    *out = NULL;
    if (p.n > QUERY_EXPRESSION_BYTES)
        return vc_fail(err, VC_ERR_USAGE, "a concept expression of %zu bytes is too long (65536 are allowed)", p.n);
    if (!vc_utf8_valid(text, p.n))
        return vc_fail(err, VC_ERR_USAGE, "a concept expression is not UTF-8");
    QueryNode *node;
    if (!advance(&p) || !read_or(&p, &node))
        return false;
    if (p.token.kind != END)
        return refuse(&p, p.token.at, p.token.kind == CLOSE ? "a bracket closes nothing" : "expected AND, OR or NOT");
    *out = node;
    return true;
}

// --- as text ---------------------------------------------------------------------------------------------------------

static bool needs_quotes(const char *name)
{
    Parser p = {.text = name, .n = strlen(name)};
    if (p.n == 0 || is_space(name[0]) || is_space(name[p.n - 1]) || strstr(name, "  "))
        return true;
    VcErr err;
    p.err = &err;
    while (advance(&p) && p.token.kind == WORD) {
    }
    return p.token.kind != END || strpbrk(name, "\t\r\n\"") != NULL;
}

static void put_node(VcStr *out, const QueryNode *node, QueryNodeKind outer)
{
    if (node->kind == QUERY_TERM) {
        bool quotes = needs_quotes(node->text);
        vc_str_put(out, quotes ? "\"" : "");
        for (const char *c = node->text; *c; c++)
            vc_str_put(out, *c == '"' ? "\"\"" : (char[]){*c, 0});
        vc_str_put(out, quotes ? "\"" : "");
        if (node->least != INT32_MIN)
            vc_str_putf(out, " >= %.8g", node->least / 32767.0);
        return;
    }
    if (node->kind == QUERY_NOT) {
        vc_str_put(out, "NOT ");
        put_node(out, node->children[0], QUERY_NOT);
        return;
    }
    bool brackets = outer == QUERY_NOT || (outer == QUERY_AND && node->kind == QUERY_OR);
    vc_str_put(out, brackets ? "(" : "");
    for (size_t i = 0; i < node->child_count; i++) {
        vc_str_put(out, i == 0 ? "" : node->kind == QUERY_AND ? " AND " : " OR ");
        put_node(out, node->children[i], node->kind);
    }
    vc_str_put(out, brackets ? ")" : "");
}

const char *query_expression_text(const QueryNode *node, VcArena *memory)
{
    VcStr s = {0};
    put_node(&s, node, QUERY_OR);
    char *copy = vc_arena_alloc(memory, s.len + 1, 1);
    memcpy(copy, vc_str_get(&s), s.len + 1);
    vc_str_finish(&s);
    return copy;
}
