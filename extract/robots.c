// SPDX-License-Identifier: MIT
#include "extract/robots.h"

#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RULES = 10000, MAX_PATTERN = 2048, MAX_STEPS = 1 << 20 };

typedef struct {
    char *pattern;
    size_t n;
    bool allow;
} Rule;

typedef struct {
    Rule *rules;
    size_t count, cap;
    double delay;
} Group;

struct ExtractRobots {
    Group group;
};

typedef struct {
    const char *text;
    size_t n;
} Span;

static Span trim(Span s)
{
    while (s.n && (s.text[0] == ' ' || s.text[0] == '\t')) {
        s.text++;
        s.n--;
    }
    while (s.n && (unsigned char)s.text[s.n - 1] <= ' ')
        s.n--;
    return s;
}

static bool is_word(Span s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.text, word, s.n) == 0;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

// One form for patterns and paths: bytes that need no escape stand for themselves, all others are %XX in capitals.
// '*' and '$' are left alone in a pattern; in a path they are escaped, so that an escaped one in a pattern finds them.
static char *normalise(Span s, bool pattern, size_t *out)
{
    VcStr r = {0};
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.text[i];
        bool escaped = false;
        if (c == '%' && i + 2 < s.n && hex_value(s.text[i + 1]) >= 0 && hex_value(s.text[i + 2]) >= 0) {
            c = (unsigned char)(hex_value(s.text[i + 1]) * 16 + hex_value(s.text[i + 2]));
            i += 2;
            escaped = true;
        }
        const bool special = c == '*' || (c == '$' && i + 1 == s.n);
        if (isalnum(c) || (c && strchr("-._~", c)) || (!escaped && c && strchr("/?#[]@!&'()+,;=:%", c)) ||
            (special && pattern && !escaped)) {
            vc_str_putc(&r, (char)c);
        } else {
            vc_str_putf(&r, "%%%02X", c);
        }
    }
    *out = r.len;
    if (!r.data)
        r.data = vc_strdup("");
    return r.data;
}

static void add_rule(Group *g, Span value, bool allow)
{
    if (value.n == 0 || value.n > MAX_PATTERN || g->count >= MAX_RULES)
        return; // an empty Disallow forbids nothing
    g->rules = vc_grow(g->rules, &g->cap, g->count + 1, sizeof *g->rules);
    Rule *r = &g->rules[g->count++];
    r->pattern = normalise(value, true, &r->n);
    r->allow = allow;
}

static void set_delay(Group *g, Span value)
{
    char text[16];
    double seconds;
    if (value.n == 0 || value.n >= sizeof text)
        return;
    memcpy(text, value.text, value.n);
    text[value.n] = 0;
    if (vc_parse_double(text, &seconds) && seconds > g->delay)
        g->delay = seconds < 3600 ? seconds : 3600;
}

static void free_group(Group *g)
{
    for (size_t i = 0; i < g->count; i++)
        free(g->rules[i].pattern);
    free(g->rules);
    *g = (Group){0};
}

typedef struct {
    const char *agent;
    Group ours, all;
    bool in_agents;              // the last line was a User-agent
    bool for_us, for_all, named; // whom the group is for; a group of ours was seen
} Reading;

static void read_agent(Reading *r, Span value)
{
    if (!r->in_agents)
        r->for_us = r->for_all = false;
    r->in_agents = true;
    size_t n = 0; // a token may be followed by a version or a remark
    while (n < value.n && (isalnum((unsigned char)value.text[n]) || value.text[n] == '-' || value.text[n] == '_'))
        n++;
    if (value.n && value.text[0] == '*') {
        r->for_all = true;
    } else if (n && is_word((Span){value.text, n}, r->agent)) {
        r->for_us = r->named = true;
    }
}

static void read_line(Reading *r, Span line)
{
    const char *hash = memchr(line.text, '#', line.n);
    if (hash)
        line.n = (size_t)(hash - line.text);
    const char *colon = memchr(line.text, ':', line.n);
    if (!colon)
        return;
    const Span name = trim((Span){line.text, (size_t)(colon - line.text)});
    const Span value = trim((Span){colon + 1, (size_t)(line.text + line.n - colon - 1)});
    if (is_word(name, "user-agent") || is_word(name, "useragent")) {
        read_agent(r, value);
        return;
    }
    const bool allow = is_word(name, "allow"), disallow = is_word(name, "disallow");
    const bool delay = is_word(name, "crawl-delay");
    if (!allow && !disallow && !delay)
        return; // Sitemap and others belong to no group and end none
    r->in_agents = false;
    Group *const to[] = {r->for_us ? &r->ours : NULL, r->for_all ? &r->all : NULL};
    for (size_t i = 0; i < 2; i++) {
        if (to[i] && delay) {
            set_delay(to[i], value);
        } else if (to[i]) {
            add_rule(to[i], value, allow);
        }
    }
}

ExtractRobots *extract_robots_parse(const char *text, size_t n, const char *agent)
{
    Reading r = {.agent = agent};
    if (n > EXTRACT_ROBOTS_BYTES)
        n = EXTRACT_ROBOTS_BYTES;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        n -= 3;
    }
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && text[end] != '\n' && text[end] != '\r')
            end++;
        read_line(&r, (Span){text + at, end - at});
        at = end + 1;
    }
    ExtractRobots *robots = vc_calloc(1, sizeof *robots);
    robots->group = r.named ? r.ours : r.all;
    free_group(r.named ? &r.all : &r.ours);
    return robots;
}

void extract_robots_free(ExtractRobots **robots)
{
    if (!robots || !*robots)
        return;
    free_group(&(*robots)->group);
    free(*robots);
    *robots = NULL;
}

// Greedy with one step back: on a mismatch the last '*' takes one byte more. At most n * m steps, and no more than
// *steps, which are counted down to 0.
static bool fits(const char *pattern, size_t m, const char *path, size_t n, size_t *steps)
{
    const bool whole = m && pattern[m - 1] == '$';
    m -= whole;
    size_t i = 0, k = 0, star = SIZE_MAX, mark = 0;
    for (; *steps; --*steps) {
        if (i == m && (!whole || k == n))
            return true;
        if (i < m && pattern[i] == '*') {
            star = i++;
            mark = k;
        } else if (i < m && k < n && pattern[i] == path[k]) {
            i++;
            k++;
        } else if (star != SIZE_MAX && mark < n) {
            i = star + 1;
            k = ++mark;
        } else {
            return false;
        }
    }
    return false;
}

bool extract_robots_allow(const ExtractRobots *robots, const char *path)
{
    if (!robots || robots->group.count == 0)
        return true;
    size_t n, best = 0, steps = MAX_STEPS;
    char *normal = normalise((Span){path, strcspn(path, "#")}, false, &n);
    bool allowed = true;
    for (size_t i = 0; i < robots->group.count; i++) {
        const Rule *r = &robots->group.rules[i];
        if ((r->n > best || (r->n == best && r->allow)) && fits(r->pattern, r->n, normal, n, &steps)) {
            best = r->n;
            allowed = r->allow;
        }
    }
    free(normal);
    return allowed && steps > 0; // rules made to be too much work are a no
}

double extract_robots_delay(const ExtractRobots *robots)
{
    return robots ? robots->group.delay : 0;
}

void extract_robots_token(const char *user_agent, char *token, size_t n)
{
    size_t k = 0;
    while (k + 1 < n && (isalnum((unsigned char)user_agent[k]) || user_agent[k] == '-' || user_agent[k] == '_')) {
        token[k] = user_agent[k];
        k++;
    }
    token[k] = 0;
}

bool extract_robots_tag(const char *value, size_t n, const char *agent)
{
    bool ours = true;
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && value[end] != ',')
            end++;
        Span item = trim((Span){value + at, end - at});
        const char *colon = memchr(item.text, ':', item.n);
        if (colon) { // "otherbot: noai, noindex": the directives up to the next name are meant for that robot
            const Span name = trim((Span){item.text, (size_t)(colon - item.text)});
            // These directives have a value of their own.
            const bool directive = is_word(name, "unavailable_after") || is_word(name, "max-snippet") ||
                                   is_word(name, "max-image-preview") || is_word(name, "max-video-preview");
            if (!directive)
                ours = is_word(name, agent) || is_word(name, "*");
            item = trim((Span){colon + 1, (size_t)(item.text + item.n - colon - 1)});
        }
        if (ours && (is_word(item, "noai") || is_word(item, "noimageai")))
            return true;
        at = end + 1;
    }
    return false;
}
