// SPDX-License-Identifier: MIT
// A cursor is "1ORDER-SCORE-ID-HASH": the order's letter, the bits of the last score, the last image_id, and a hash of
// the question, so that a cursor cannot be used for another one.
#include "base/hash.h"
#include "query/private.h"

#include <inttypes.h>

static const char letters[] = {[QUERY_BY_ID] = 'i',
                               [QUERY_BY_VECTOR] = 'v',
                               [QUERY_BY_CONCEPTS] = 'c',
                               [QUERY_BY_BM25] = 'b',
                               [QUERY_BY_CAPTION] = 't'};

const char *query_cursor_write(VcArena *memory, QueryOrder order, const Ranked *last, uint64_t hash)
{
    enum { SIZE = 80 };
    char *out = vc_arena_alloc(memory, SIZE, 1);
    uint64_t bits;
    memcpy(&bits, &last->score, sizeof bits);
    snprintf(out, SIZE, "1%c-%016" PRIx64 "-%" PRId64 "-%016" PRIx64, letters[order], bits, last->id, hash);
    return out;
}

// Exactly 16 lower-case digits.
static bool read_hex(const char **text, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 16; i++) {
        char c = (*text)[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    *text += 16;
    return true;
}

bool query_cursor_read(const char *cursor, QueryOrder order, uint64_t hash, Ranked *after, VcErr *err)
{
    const char *at = cursor;
    uint64_t bits = 0, asked = 0;
    char number[24] = {0};
    bool ok = at[0] == '1' && at[1] == letters[order] && at[2] == '-';
    at += ok ? 3 : 0;
    ok = ok && read_hex(&at, &bits) && *at++ == '-';
    size_t sign = ok && *at == '-', n = ok ? sign + strspn(at + sign, "0123456789") : 0;
    ok = ok && n > 0 && n < sizeof number && at[n] == '-';
    if (ok) {
        memcpy(number, at, n);
        at += n + 1;
        ok = vc_parse_i64(number, &after->id) && read_hex(&at, &asked) && *at == 0;
    }
    memcpy(&after->score, &bits, sizeof bits);
    if (!ok || after->score != after->score)
        return vc_fail(err, VC_ERR_USAGE, "'%.100s' is no cursor of this order", cursor);
    if (asked != hash) {
        return vc_fail(err, VC_ERR_USAGE,
                       "the cursor '%.100s' belongs to another question: give the one it was printed for", cursor);
    }
    return true;
}

static void add_texts(VcStr *all, const char *name, QueryTexts texts)
{
    vc_str_putf(all, "%s %zu", name, texts.count);
    for (size_t i = 0; i < texts.count; i++) {
        vc_str_putf(all, " %zu:", strlen(texts.items[i]));
        vc_str_put(all, texts.items[i]);
    }
}

uint64_t query_hash(const QueryRequest *r, QueryOrder order, size_t dim)
{
    VcStr all = {0};
    vc_str_putf(&all, "%d %lld %d %a ", (int)order, (long long)r->exclude_image, r->has_min_score,
                r->has_min_score ? r->min_score : 0);
    add_texts(&all, "with", r->filter.with);
    add_texts(&all, "without", r->filter.without);
    add_texts(&all, "captions", r->filter.captions);
    add_texts(&all, "splits", r->filter.splits);
    add_texts(&all, "sources", r->filter.sources);
    add_texts(&all, "tags", r->filter.tags);
    add_texts(&all, "not_tags", r->filter.not_tags);
    if (r->vector)
        vc_str_putn(&all, r->vector, dim * sizeof *r->vector);
    uint64_t hash = vc_xxh64(all.data, all.len);
    vc_str_finish(&all);
    return hash;
}
