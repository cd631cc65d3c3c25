// SPDX-License-Identifier: MIT
#include "concepts/vocabulary.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "concepts/caption.h"

// --- counter ---------------------------------------------------------------------------------------------------------

typedef struct {
    size_t text; // offset in the pool
    uint32_t length;
    int kind;
    int64_t count;
} Entry;

struct VocabularyCounter {
    VcStr pool;     // texts, each with a zero byte
    Entry *entries; // in the order of first sighting
    size_t count, cap;
    uint32_t *slots; // open addressing: index + 1
    size_t slot_count;
};

VocabularyCounter *vocabulary_counter_create(void)
{
    VocabularyCounter *c = vc_calloc(1, sizeof *c);
    c->slot_count = 1024;
    c->slots = vc_calloc(c->slot_count, sizeof *c->slots);
    return c;
}

void vocabulary_counter_destroy(VocabularyCounter **counter)
{
    VocabularyCounter *c = counter ? *counter : NULL;
    if (!c)
        return;
    vc_str_finish(&c->pool);
    free(c->entries);
    free(c->slots);
    free(c);
    *counter = NULL;
}

static uint32_t *find_slot(const VocabularyCounter *c, const char *text, size_t n)
{
    size_t at = vc_xxh3(text, n) & (c->slot_count - 1);
    while (c->slots[at]) {
        const Entry *e = &c->entries[c->slots[at] - 1];
        if (e->length == n && memcmp(c->pool.data + e->text, text, n) == 0)
            break;
        at = (at + 1) & (c->slot_count - 1);
    }
    return &c->slots[at];
}

static void grow_slots(VocabularyCounter *c)
{
    free(c->slots);
    c->slot_count *= 2;
    c->slots = vc_calloc(c->slot_count, sizeof *c->slots);
    for (size_t i = 0; i < c->count; i++)
        *find_slot(c, c->pool.data + c->entries[i].text, c->entries[i].length) = (uint32_t)(i + 1);
}

void vocabulary_counter_add(VocabularyCounter *c, const char *text, size_t n, int kind)
{
    uint32_t *slot = find_slot(c, text, n);
    if (*slot) {
        c->entries[*slot - 1].count++;
        return;
    }
    VC_ASSERT(c->count < UINT32_MAX - 1 && n < UINT32_MAX);
    c->entries = vc_grow(c->entries, &c->cap, c->count + 1, sizeof *c->entries);
    c->entries[c->count++] = (Entry){c->pool.len, (uint32_t)n, kind, 1};
    vc_str_putn(&c->pool, text, n);
    vc_str_putc(&c->pool, '\0');
    *slot = (uint32_t)c->count;
    if (c->count * 2 > c->slot_count)
        grow_slots(c);
}

size_t vocabulary_counter_distinct(const VocabularyCounter *counter)
{
    return counter->count;
}

typedef struct {
    int64_t count;
    size_t index;
} Rank;

static int by_count(const void *a, const void *b)
{
    const Rank *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

size_t vocabulary_counter_select(const VocabularyCounter *c, int64_t min_count, VocabularyEntry **out)
{
    Rank *ranks = vc_alloc(c->count + 1, sizeof *ranks);
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->entries[i].count >= min_count)
            ranks[n++] = (Rank){c->entries[i].count, i};
    }
    qsort(ranks, n, sizeof *ranks, by_count);
    *out = vc_alloc(n + 1, sizeof **out);
    for (size_t i = 0; i < n; i++) {
        const Entry *e = &c->entries[ranks[i].index];
        (*out)[i] = (VocabularyEntry){c->pool.data + e->text, e->count, e->kind};
    }
    free(ranks);
    return n;
}

// --- captions of the workspace ---------------------------------------------------------------------------------------

// Only images that were stored count, as the original counts after it has removed dead links. An image that a later
// stage rejects keeps its place here, so that a second run finds the same captions.
#define CAPTIONS "FROM caption WHERE image_id IN (SELECT image_id FROM image_file)"

// meta.vocabulary_source: "captions MIN_COUNT ATTRIBUTES RELATIONS PRONOUNS SHA256" or "file SHA256". Equal means there
// is nothing to do.
enum { SOURCE_MAX = 128 };

// SHA-256 over the captions in their order.
static bool captions_source(VcWorkspace *ws, const VocabularyOptions *o, char out[SOURCE_MAX], VcErr *err)
{
    VcSha256 *sha = vc_sha256_begin();
    VcStmt *stmt = NULL;
    bool row = true, ok = vc_db_prepare(ws->db, &stmt, "SELECT caption_id, text " CAPTIONS " ORDER BY caption_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t id = vc_column_int(stmt, 0);
        const char *caption = vc_column_text(stmt, 1);
        vc_sha256_add(sha, &id, sizeof id);
        vc_sha256_add(sha, caption, strlen(caption) + 1);
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    vc_stmt_finish(&stmt);
    uint8_t digest[32];
    char hex[65];
    vc_sha256_end(&sha, digest);
    vc_hex(digest, 32, hex);
    snprintf(out, SOURCE_MAX, "captions %lld %d %d %d %s", (long long)o->min_count, o->attributes, o->relations,
             o->keep_pronouns, hex);
    return ok;
}

enum { BATCH = 4096, CHUNK = 64 };

typedef struct {
    const VocabularyOptions *options;
    VcStr text;   // captions of the batch
    size_t *ends; // [BATCH]
    size_t count;
    VcStr found[BATCH / CHUNK]; // of each chunk: kind byte, text, zero byte, ...
    CaptionParser **parsers;
} Batch;

static void put_found(VcStr *out, int kind, const char *a, const char *b, const char *c)
{
    vc_str_putc(out, (char)('0' + kind));
    vc_str_put(out, a);
    if (b)
        vc_str_putf(out, " %s", b);
    if (c)
        vc_str_putf(out, " %s", c);
    vc_str_putc(out, '\0');
}

static void parse_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Batch *b = ctx;
    VcStr *out = &b->found[begin / CHUNK];
    unsigned flags = b->options->keep_pronouns ? CAPTION_PRONOUNS : 0;
    flags |= b->options->relations ? CAPTION_RELATIONS : 0;
    vc_str_clear(out);
    for (size_t i = begin; i < end; i++) {
        size_t from = i ? b->ends[i - 1] : 0;
        CaptionParse p;
        caption_parse(b->parsers[worker], b->text.data + from, b->ends[i] - from, flags, &p);
        for (size_t k = 0; k < p.concept_count; k++)
            put_found(out, VOCABULARY_OBJECT, p.concepts[k], NULL, NULL);
        for (size_t k = 0; b->options->attributes && k < p.attribute_count; k++)
            put_found(out, VOCABULARY_ATTRIBUTE, p.attributes[k].head, p.attributes[k].modifier, NULL);
        for (size_t k = 0; b->options->relations && k < p.relation_count; k++)
            put_found(out, VOCABULARY_RELATION, p.relations[k].subject, p.relations[k].relation, p.relations[k].object);
    }
}

static void count_batch(Batch *b, VocabularyCounter *counter, VocabularyReport *report)
{
    if (b->count == 0)
        return;
    vc_str_putc(&b->text, '\0');
    vc_parallel_for(b->options->pool, b->count, CHUNK, parse_chunk, b);
    for (size_t i = 0; i * CHUNK < b->count; i++) {
        for (size_t at = 0; at < b->found[i].len;) {
            const char *s = b->found[i].data + at;
            size_t n = strlen(s);
            vocabulary_counter_add(counter, s + 1, n - 1, s[0] - '0');
            report->sightings++;
            at += n + 1;
        }
    }
    report->captions += (int64_t)b->count;
    b->count = 0;
    vc_str_clear(&b->text);
}

static bool count_captions(VcWorkspace *ws, const VocabularyOptions *o, VocabularyCounter *counter,
                           VocabularyReport *report, VcErr *err)
{
    int64_t total;
    VcStmt *stmt = NULL;
    if (!vc_db_int(ws->db, "SELECT count(*) " CAPTIONS, 0, &total, err) ||
        !vc_db_prepare(ws->db, &stmt, "SELECT text " CAPTIONS " ORDER BY caption_id", err))
        return false;
    size_t threads = vc_pool_threads(o->pool);
    Batch *b = vc_calloc(1, sizeof *b);
    b->options = o;
    b->ends = vc_alloc(BATCH, sizeof *b->ends);
    b->parsers = vc_calloc(threads, sizeof(CaptionParser *));
    for (size_t i = 0; i < threads; i++)
        b->parsers[i] = i ? caption_parser_share(b->parsers[0]) : caption_parser_create();
    VcProgress *progress = vc_progress_begin("parse", "captions", (uint64_t)total);
    bool row = true, ok = true;
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        vc_str_put(&b->text, vc_column_text(stmt, 0));
        b->ends[b->count++] = b->text.len;
        if (b->count == BATCH) {
            vc_progress_add(progress, b->count, 0);
            count_batch(b, counter, report);
        }
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    if (ok) {
        vc_progress_add(progress, b->count, 0);
        count_batch(b, counter, report);
    }
    vc_progress_end(&progress);
    vc_stmt_finish(&stmt);
    for (size_t i = threads; i-- > 0;)
        caption_parser_destroy(&b->parsers[i]);
    for (size_t i = 0; i < BATCH / CHUNK; i++)
        vc_str_finish(&b->found[i]);
    vc_str_finish(&b->text);
    free(b->parsers);
    free(b->ends);
    free(b);
    return ok;
}

// --- a vocabulary of the user's --------------------------------------------------------------------------------------

enum { MAX_FILE = 1 << 30 };

static bool add_given(VocabularyCounter *counter, const char *text, size_t n, const char *path, size_t line, VcErr *err)
{
    while (n > 0 && (uint8_t)text[n - 1] <= ' ')
        n--;
    while (n > 0 && (uint8_t)text[0] <= ' ')
        text++, n--;
    if (n == 0)
        return true;
    if (!vc_utf8_valid(text, n))
        return vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: the bytes are not UTF-8", path, line);
    if (memchr(text, 0, n))
        return vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: a concept cannot hold a zero byte", path, line);
    if (*find_slot(counter, text, n)) { // a second count would move it forward
        vc_warn("'%s', entry %zu: '%.*s' was there before; the first one counts", path, line, (int)n, text);
    } else {
        vocabulary_counter_add(counter, text, n, VOCABULARY_OBJECT);
    }
    return true;
}

static bool read_list(VocabularyCounter *counter, const char *bytes, size_t n, const char *path, VcErr *err)
{
    VcJson *json;
    if (!vc_json_parse(&json, bytes, n, path, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < vc_json_length(json); i++) {
        size_t length;
        const char *text = vc_json_string(vc_json_item(json, i), &length);
        ok = text ? add_given(counter, text, length, path, i + 1, err)
                  : vc_fail(err, VC_ERR_FORMAT, "'%s', entry %zu: expected a string", path, i + 1);
    }
    vc_json_destroy(&json);
    return ok;
}

static bool read_vocabulary(VocabularyCounter *counter, const char *path, char source[SOURCE_MAX], VcErr *err)
{
    char *bytes;
    size_t n;
    if (!vc_read_file(&bytes, &n, path, MAX_FILE, err))
        return vc_prefix(err, "cannot read the vocabulary");
    uint8_t digest[32];
    char hex[65];
    vc_sha256(bytes, n, digest);
    vc_hex(digest, 32, hex);
    snprintf(source, SOURCE_MAX, "file %s", hex);
    const char *s = bytes, *end = bytes + n;
    if (n >= 3 && memcmp(s, "\xEF\xBB\xBF", 3) == 0)
        s += 3;
    const char *first = s;
    while (first < end && (uint8_t)*first <= ' ')
        first++;
    bool ok = true;
    if (first < end && *first == '[') {
        ok = read_list(counter, s, (size_t)(end - s), path, err);
    } else {
        for (size_t line = 1; ok && s < end; line++) {
            const char *stop = memchr(s, '\n', (size_t)(end - s));
            stop = stop ? stop : end;
            ok = add_given(counter, s, (size_t)(stop - s), path, line, err);
            s = stop + 1;
        }
    }
    free(bytes);
    return ok;
}

// --- the table -------------------------------------------------------------------------------------------------------

static void vocabulary_hash(const VocabularyEntry *entries, size_t n, char hex[65])
{
    VcSha256 *sha = vc_sha256_begin();
    for (size_t i = 0; i < n; i++)
        vc_sha256_add(sha, entries[i].text, strlen(entries[i].text) + 1);
    uint8_t digest[32];
    vc_sha256_end(&sha, digest);
    vc_hex(digest, 32, hex);
}

static bool insert_entries(VcWorkspace *ws, const VocabularyEntry *entries, size_t n, bool counted, VcErr *err)
{
    static const char *const kinds[] = {"object", "attribute", "relation"};
    VcStmt *stmt;
    if (!vc_db_prepare(ws->db, &stmt, "INSERT INTO concept(concept_id, text, freq, pos) VALUES(?1, ?2, ?3, ?4)", err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        vc_bind_int(stmt, 1, (int64_t)i);
        vc_bind_text(stmt, 2, entries[i].text);
        if (counted) {
            vc_bind_int(stmt, 3, entries[i].count);
        } else {
            vc_bind_null(stmt, 3);
        }
        vc_bind_text(stmt, 4, kinds[entries[i].kind]);
        ok = vc_stmt_run(stmt, err);
    }
    vc_stmt_finish(&stmt);
    return ok;
}

// What was derived from the vocabulary of before. Its vector file is overwritten by the next embed.
static bool forget_derived(VcWorkspace *ws, VocabularyReport *report, VcErr *err)
{
    int64_t rows, mined;
    if (!vc_db_int(ws->db, "SELECT sum(rows) FROM vector_file WHERE kind = 'concept'", 0, &rows, err) ||
        !vc_db_int(ws->db, "SELECT EXISTS(SELECT 1 FROM image_concept)", 0, &mined, err))
        return false;
    report->dropped_vectors = rows > 0 || mined;
    return vc_db_exec(
        ws->db,
        "DELETE FROM vector_file WHERE kind = 'concept'; DELETE FROM image_concept;"
        "DELETE FROM concept_stat; DELETE FROM concept_pair; UPDATE image SET status = 1 WHERE status = 2;"
        "DELETE FROM meta WHERE key = 'active_run'; DELETE FROM concept",
        err);
}

static bool store(VcWorkspace *ws, const VocabularyEntry *entries, size_t n, bool counted, const char *source,
                  VocabularyReport *report, VcErr *err)
{
    char hex[65], *old = NULL;
    vocabulary_hash(entries, n, hex);
    bool ok = vc_db_begin(ws->db, err) && vc_meta_get(ws, "vocabulary_sha256", &old, err);
    // The same concepts in the same order: only their counts can have changed, and vectors still hold.
    bool same = ok && old && strcmp(old, hex) == 0;
    if (same) {
        VcStmt *stmt = NULL;
        ok = vc_db_prepare(ws->db, &stmt, "UPDATE concept SET freq = ?2 WHERE concept_id = ?1", err);
        for (size_t i = 0; ok && counted && i < n; i++) {
            vc_bind_int(stmt, 1, (int64_t)i);
            vc_bind_int(stmt, 2, entries[i].count);
            ok = vc_stmt_run(stmt, err);
        }
        vc_stmt_finish(&stmt);
    } else {
        ok = ok && forget_derived(ws, report, err) && insert_entries(ws, entries, n, counted, err) &&
             vc_meta_set(ws, "vocabulary_sha256", hex, err);
    }
    ok = ok && vc_meta_set(ws, "vocabulary_source", source, err) && vc_db_commit(ws->db, err);
    if (!ok)
        vc_db_rollback(ws->db);
    free(old);
    return ok;
}

static bool nothing_kept(const VocabularyOptions *o, const VocabularyReport *r, VcErr *err)
{
    if (o->file)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' holds no concept", o->file);
    if (r->captions == 0) {
        return vc_fail(
            err, VC_ERR_USAGE,
            "there is no caption of a stored image in this workspace; run 'vicha extract' with a source that "
            "has captions, or give a vocabulary with --vocabulary FILE");
    }
    return vc_fail(err, VC_ERR_USAGE, "of %lld concepts in %lld captions none was seen %lld times; lower --min-count",
                   (long long)r->distinct, (long long)r->captions, (long long)o->min_count);
}

bool vocabulary_build(VcWorkspace *ws, const VocabularyOptions *o, VocabularyReport *report, VcErr *err)
{
    *report = (VocabularyReport){0};
    char source[SOURCE_MAX] = "", *before = NULL;
    VocabularyCounter *counter = vocabulary_counter_create();
    VocabularyEntry *entries = NULL;
    bool ok = o->file ? read_vocabulary(counter, o->file, source, err) : captions_source(ws, o, source, err);
    ok = ok && vc_meta_get(ws, "vocabulary_source", &before, err) &&
         vc_db_int(ws->db, "SELECT count(*) FROM concept", 0, &report->kept, err);
    if (ok && before && strcmp(before, source) == 0 && report->kept > 0) {
        report->unchanged = true;
        goto out;
    }
    ok = ok && (o->file || count_captions(ws, o, counter, report, err));
    if (!ok)
        goto out;
    size_t n = vocabulary_counter_select(counter, o->file ? 1 : o->min_count, &entries);
    report->distinct = (int64_t)vocabulary_counter_distinct(counter);
    report->kept = (int64_t)n;
    ok = n > 0 ? store(ws, entries, n, !o->file, source, report, err) : nothing_kept(o, report, err);
out:
    free(entries);
    free(before);
    vocabulary_counter_destroy(&counter);
    return ok;
}

bool vocabulary_settings(VcWorkspace *ws, VocabularyOptions *options, bool *from_file, bool *found, VcErr *err)
{
    char *source;
    *from_file = *found = false;
    if (!vc_meta_get(ws, "vocabulary_source", &source, err))
        return false;
    if (source && vc_has_prefix(source, "file ")) {
        *from_file = *found = true;
    } else if (source && vc_has_prefix(source, "captions ")) {
        // "captions MIN_COUNT ATTRIBUTES RELATIONS PRONOUNS SHA256"
        char *at = source + strlen("captions ");
        long long v[4];
        for (int i = 0; i < 4; i++)
            v[i] = strtoll(at, &at, 10);
        *found = v[0] > 0;
        options->min_count = v[0];
        options->attributes = v[1] != 0;
        options->relations = v[2] != 0;
        options->keep_pronouns = v[3] != 0;
    }
    free(source);
    return true;
}
