// SPDX-License-Identifier: MIT
//
// The pieces are in one byte trie with two roots, words and continuations ("##ing" hangs below the second as "ing").
// Its edges are one open-addressing table from (node, byte) to node, so the longest piece is found in one walk.
// Normalising, splitting and matching run in one pass over the text with a buffer of one word: nothing is allocated.
#include "index/tokenizer_wordpiece.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "index/unicode.h"

enum {
    MAX_FILE = 8 << 20,
    MAX_WORD_CHARS = 100,
    MAX_WORD_BYTES = 4 * MAX_WORD_CHARS,
    ROOT_WORD = 0,
    ROOT_CONTINUATION = 1,
    FIRST_NODE = 2,
};

static const char *const special_text[WORDPIECE_SPECIALS] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

struct Wordpiece {
    char *text;       // all pieces, each with a zero byte after it
    uint32_t *starts; // of piece i in text
    size_t count;
    uint64_t *edges; // (node << 8 | byte) << 32 | child; 0 is an empty slot: children are never node 0
    unsigned edge_bits;
    int32_t *node_id; // piece that ends at a node, -1 for none
    uint32_t nodes;
    int32_t special[WORDPIECE_SPECIALS];
    uint8_t ascii_class[128], ascii_lower[128];
    char sha256[65];
};

static size_t edge_slot(const Wordpiece *wp, uint32_t key)
{
    return (size_t)((key * 0x9E3779B97F4A7C15u) >> (64 - wp->edge_bits));
}

// The child of `node` by `byte`, 0 when there is none.
static uint32_t edge_find(const Wordpiece *wp, uint32_t node, uint8_t byte)
{
    uint32_t key = node << 8 | byte;
    size_t mask = ((size_t)1 << wp->edge_bits) - 1;
    for (size_t i = edge_slot(wp, key); wp->edges[i] != 0; i = (i + 1) & mask) {
        if ((uint32_t)(wp->edges[i] >> 32) == key)
            return (uint32_t)wp->edges[i];
    }
    return 0;
}

static uint32_t edge_add(Wordpiece *wp, uint32_t node, uint8_t byte)
{
    uint32_t key = node << 8 | byte;
    size_t mask = ((size_t)1 << wp->edge_bits) - 1, i = edge_slot(wp, key);
    while (wp->edges[i] != 0)
        i = (i + 1) & mask;
    uint32_t child = wp->nodes++;
    wp->edges[i] = (uint64_t)key << 32 | child;
    wp->node_id[child] = -1;
    return child;
}

static bool is_continuation(const char *piece, size_t n)
{
    return n > 2 && piece[0] == '#' && piece[1] == '#';
}

// Adds piece `id`; returns the id of an equal earlier piece, or -1.
static int32_t trie_add(Wordpiece *wp, const char *piece, size_t n, int32_t id)
{
    uint32_t node = is_continuation(piece, n) ? ROOT_CONTINUATION : ROOT_WORD;
    for (size_t i = node == ROOT_CONTINUATION ? 2 : 0; i < n; i++) {
        uint32_t next = edge_find(wp, node, (uint8_t)piece[i]);
        node = next != 0 ? next : edge_add(wp, node, (uint8_t)piece[i]);
    }
    int32_t earlier = wp->node_id[node];
    if (earlier < 0)
        wp->node_id[node] = id;
    return earlier;
}

static void fill_ascii(Wordpiece *wp)
{
    for (uint32_t c = 0; c < 128; c++) {
        wp->ascii_class[c] = (uint8_t)index_cp_class(c);
        wp->ascii_lower[c] = (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
}

static bool has_upper(const char *piece, size_t n)
{
    if (n > 0 && piece[0] == '[')
        return false;
    for (size_t i = 0; i < n; i++) {
        if (piece[i] >= 'A' && piece[i] <= 'Z')
            return true;
    }
    return false;
}

// One pass over the lines: text, starts, trie.
static bool read_lines(Wordpiece *wp, const char *data, size_t n, const char *what, VcErr *err)
{
    size_t line = 0, upper = 0, first_upper = 0, starts_cap = 0, used = 0;
    for (size_t at = 0; at < n; line++) {
        const char *newline = memchr(data + at, '\n', n - at);
        size_t stop = newline != NULL ? (size_t)(newline - data) : n;
        size_t length = stop - at;
        if (length > 0 && data[at + length - 1] == '\r')
            length--;
        const char *piece = data + at;
        if (length == 0) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu: empty line; a vocabulary has one piece a line", what,
                           line + 1);
        }
        if (!vc_utf8_valid(piece, length) || memchr(piece, 0, length) != NULL)
            return vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu: not UTF-8 text", what, line + 1);
        wp->starts = vc_grow(wp->starts, &starts_cap, line + 1, sizeof *wp->starts);
        wp->starts[line] = (uint32_t)used;
        memcpy(wp->text + used, piece, length);
        wp->text[used + length] = 0;
        used += length + 1;
        int32_t earlier = trie_add(wp, piece, length, (int32_t)line);
        if (earlier >= 0) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s' line %zu: piece '%s' is on line %d already", what, line + 1,
                           wp->text + wp->starts[line], earlier + 1);
        }
        if (has_upper(piece, length) && upper++ == 0)
            first_upper = line;
        at = stop + 1;
    }
    wp->count = line;
    if (upper * 100 > line) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' is the vocabulary of a cased model (%zu pieces have capitals, first '%s' on line %zu); "
                       "WordPiece here lower-cases all text: use the vocab.txt of bert-base-uncased",
                       what, upper, wp->text + wp->starts[first_upper], first_upper + 1);
    }
    return true;
}

static bool find_specials(Wordpiece *wp, const char *what, VcErr *err)
{
    VcStr missing = {0};
    for (int s = 0; s < WORDPIECE_SPECIALS; s++) {
        uint32_t node = ROOT_WORD;
        for (const char *p = special_text[s]; *p != 0 && (node != 0 || p == special_text[s]); p++)
            node = edge_find(wp, node, (uint8_t)*p);
        wp->special[s] = node != 0 ? wp->node_id[node] : -1;
        if (wp->special[s] < 0)
            vc_str_putf(&missing, "%s%s", missing.len > 0 ? ", " : "", special_text[s]);
    }
    bool ok = missing.len == 0;
    if (!ok) {
        vc_fail(err, VC_ERR_FORMAT,
                "'%s' has no piece %s among its %zu lines: not the vocab.txt of a BERT model, or a damaged one", what,
                vc_str_get(&missing), wp->count);
    }
    vc_str_finish(&missing);
    return ok;
}

bool wordpiece_open_memory(Wordpiece **out, const char *data, size_t n, const char *what, VcErr *err)
{
    if (n == 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is empty; expected a BERT vocab.txt, one piece a line", what);
    if (n > MAX_FILE)
        return vc_fail(err, VC_ERR_LIMIT, "'%s' has %zu bytes; a vocabulary may have %d", what, n, (int)MAX_FILE);
    if (data[0] == '{') {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' is JSON, the file of another tokenizer; expected a BERT vocab.txt, one piece a line",
                       what);
    }
    Wordpiece *wp = vc_calloc(1, sizeof *wp);
    wp->text = vc_alloc(n + 1, 1);
    wp->edge_bits = 10;
    while (((size_t)1 << wp->edge_bits) < 2 * n) // every byte makes at most one edge
        wp->edge_bits++;
    wp->edges = vc_calloc((size_t)1 << wp->edge_bits, sizeof *wp->edges);
    wp->node_id = vc_alloc(n + FIRST_NODE, sizeof *wp->node_id);
    wp->node_id[ROOT_WORD] = wp->node_id[ROOT_CONTINUATION] = -1;
    wp->nodes = FIRST_NODE;
    fill_ascii(wp);
    uint8_t hash[32];
    vc_sha256(data, n, hash);
    vc_hex(hash, sizeof hash, wp->sha256);
    if (!read_lines(wp, data, n, what, err) || !find_specials(wp, what, err)) {
        wordpiece_close(&wp);
        return false;
    }
    wp->node_id = vc_realloc(wp->node_id, wp->nodes, sizeof *wp->node_id);
    *out = wp;
    return true;
}

bool wordpiece_open(Wordpiece **out, const char *path, VcErr *err)
{
    char *data;
    size_t n;
    if (!vc_read_file(&data, &n, path, MAX_FILE, err))
        return vc_prefix(err, "cannot read the WordPiece vocabulary");
    bool ok = wordpiece_open_memory(out, data, n, path, err);
    free(data);
    return ok;
}

void wordpiece_close(Wordpiece **wp)
{
    if (wp == NULL || *wp == NULL)
        return;
    free((*wp)->text);
    free((*wp)->starts);
    free((*wp)->edges);
    free((*wp)->node_id);
    free(*wp);
    *wp = NULL;
}

size_t wordpiece_size(const Wordpiece *wp)
{
    return wp->count;
}

const char *wordpiece_sha256(const Wordpiece *wp)
{
    return wp->sha256;
}

int32_t wordpiece_special(const Wordpiece *wp, WordpieceSpecial which)
{
    VC_ASSERT((int)which >= 0 && which < WORDPIECE_SPECIALS);
    return wp->special[which];
}

const char *wordpiece_piece(const Wordpiece *wp, int32_t id)
{
    return id >= 0 && (size_t)id < wp->count ? wp->text + wp->starts[id] : NULL;
}

// The state of one call: the word being gathered and the ids so far.
typedef struct {
    const Wordpiece *wp;
    char word[MAX_WORD_BYTES];
    size_t bytes, chars; // chars over MAX_WORD_CHARS: the word is [UNK]
    int32_t *ids;
    size_t limit, count; // count goes on past the limit
} Encoder;

static void emit(Encoder *e, int32_t id)
{
    if (e->count < e->limit)
        e->ids[e->count] = id;
    e->count++;
}

// Cuts the gathered word into the longest pieces and starts a new one.
static void flush_word(Encoder *e)
{
    if (e->chars == 0)
        return;
    const Wordpiece *wp = e->wp;
    int32_t pieces[MAX_WORD_BYTES];
    size_t count = 0, at = 0, bytes = e->bytes;
    bool unknown = e->chars > MAX_WORD_CHARS;
    e->bytes = e->chars = 0;
    while (at < bytes && !unknown) {
        uint32_t node = at == 0 ? ROOT_WORD : ROOT_CONTINUATION;
        size_t best_end = at;
        int32_t best = -1;
        for (size_t i = at; i < bytes; i++) {
            node = edge_find(wp, node, (uint8_t)e->word[i]);
            if (node == 0)
                break;
            if (wp->node_id[node] >= 0) {
                best = wp->node_id[node];
                best_end = i + 1;
            }
        }
        unknown = best < 0;
        pieces[count++] = best;
        at = best_end;
    }
    if (unknown) {
        emit(e, wp->special[WORDPIECE_UNK]);
        return;
    }
    for (size_t i = 0; i < count; i++)
        emit(e, pieces[i]);
}

static void add_char(Encoder *e, uint32_t cp)
{
    if (++e->chars <= MAX_WORD_CHARS)
        e->bytes += vc_utf8_encode(cp, e->word + e->bytes);
}

static void add_alone(Encoder *e, uint32_t cp)
{
    flush_word(e);
    add_char(e, cp);
    flush_word(e);
}

// A character outside ASCII. Marks are dropped and classes looked at after decomposition, as BERT does: U+1FEF is a
// letter-like symbol but decomposes to a grave accent, which is punctuation. The order of the marks that remain after
// dropping category Mn is the text's own.
static void add_unicode(Encoder *e, uint32_t cp)
{
    uint32_t parts[4];
    switch (index_cp_class(cp)) {
    case INDEX_CP_DROP:
        return;
    case INDEX_CP_SPACE:
        flush_word(e);
        return;
    case INDEX_CP_CJK: // compatibility ideographs decompose to the unified ones
        index_cp_decompose(cp, parts);
        add_alone(e, parts[0]);
        return;
    case INDEX_CP_PUNCT:
    case INDEX_CP_WORD:
        break;
    }
    size_t count = index_cp_decompose(index_cp_lower(cp), parts);
    for (size_t i = 0; i < count; i++) {
        if (index_cp_is_mark(parts[i]))
            continue;
        if (index_cp_class(parts[i]) == INDEX_CP_PUNCT) {
            add_alone(e, parts[i]);
        } else {
            add_char(e, parts[i]);
        }
    }
}

// Does one of the special strings stand at s? Its index, or -1.
static int special_at(const char *s, size_t n)
{
    for (int i = 0; i < WORDPIECE_SPECIALS; i++) {
        size_t length = i == WORDPIECE_MASK ? 6 : 5;
        if (n >= length && memcmp(s, special_text[i], length) == 0)
            return i;
    }
    return -1;
}

static void encode_text(Encoder *e, const char *text, size_t n, bool count_all)
{
    const Wordpiece *wp = e->wp;
    for (size_t i = 0; i < n;) {
        if (!count_all && e->count >= e->limit)
            return;
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x80) {
            uint32_t cp;
            size_t used = vc_utf8_decode(text + i, n - i, &cp);
            if (used > 0)
                add_unicode(e, cp);
            i += used > 0 ? used : 1;
            continue;
        }
        int special = c == '[' ? special_at(text + i, n - i) : -1;
        if (special >= 0) {
            flush_word(e);
            emit(e, wp->special[special]);
            i += special == WORDPIECE_MASK ? 6 : 5;
            continue;
        }
        i++;
        switch (wp->ascii_class[c]) {
        case INDEX_CP_WORD:
            if (++e->chars <= MAX_WORD_CHARS)
                e->word[e->bytes++] = (char)wp->ascii_lower[c];
            break;
        case INDEX_CP_SPACE:
            flush_word(e);
            break;
        case INDEX_CP_PUNCT:
            add_alone(e, c);
            break;
        default:
            break;
        }
    }
    flush_word(e);
}

size_t wordpiece_encode(const Wordpiece *wp, const char *text, size_t n, unsigned flags, int32_t *ids, size_t cap,
                        size_t *whole)
{
    size_t sep = (flags & WORDPIECE_ADD_SEP) != 0 ? 1 : 0;
    Encoder e;
    e.wp = wp;
    e.bytes = e.chars = e.count = 0;
    e.ids = ids;
    e.limit = cap >= sep ? cap - sep : 0;
    if ((flags & WORDPIECE_ADD_CLS) != 0)
        emit(&e, wp->special[WORDPIECE_CLS]);
    encode_text(&e, text, n, whole != NULL);
    size_t kept = e.count < e.limit ? e.count : e.limit;
    if (sep != 0 && cap > 0)
        ids[kept++] = wp->special[WORDPIECE_SEP];
    if (whole != NULL)
        *whole = e.count + sep;
    return kept;
}
