// SPDX-License-Identifier: MIT
#include "concepts/vocabulary.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "concepts/caption.h"
#include "concepts/vocabulary_files.h"

// --- captions of the workspace ---------------------------------------------------------------------------------------

// Only images that were stored count, as the original counts after it has removed dead links. An image that a later
// stage rejects keeps its place here, so that a second run finds the same captions.
typedef struct {
    VcStr from; // "FROM caption WHERE ...", ?1 is the split
    const char *split, *task;
} Captions;

// The original takes the concepts of VQA, SNLI-VE and RefCOCO+ from captions of other sets (spec 1.5), so such texts
// count only where the workspace has nothing else.
static bool choose_captions(VcWorkspace *ws, const VocabularyOptions *o, Captions *c, VcErr *err)
{
    static const char *const tasks[] = {"question", "hypothesis", "expression"};
    int64_t own, of_task[3] = {0};
    bool ok =
        vc_db_int(ws->db, "SELECT EXISTS(SELECT 1 FROM caption WHERE kind IS NULL OR kind = 'sentence')", 0, &own, err);
    for (int i = 0; ok && !own && i < 3; i++) {
        char sql[96];
        snprintf(sql, sizeof sql, "SELECT EXISTS(SELECT 1 FROM caption WHERE kind = '%s')", tasks[i]);
        ok = vc_db_int(ws->db, sql, 0, &of_task[i], err);
        c->task = of_task[i] ? tasks[i] : c->task;
    }
    vc_str_put(&c->from, "FROM caption WHERE image_id IN (SELECT image_id FROM image_file)");
    if (!c->task)
        vc_str_put(&c->from, " AND (kind IS NULL OR kind = 'sentence')");
    if (o->split)
        vc_str_put(&c->from, " AND image_id IN (SELECT image_id FROM split WHERE name = ?1)");
    c->split = o->split;
    return ok;
}

// "SELECT WHAT FROM caption ... TAIL"
static bool prepare_captions(VcWorkspace *ws, const Captions *c, const char *what, const char *tail, VcStmt **stmt,
                             VcErr *err)
{
    VcStr sql = {0};
    vc_str_putf(&sql, "SELECT %s %s%s", what, vc_str_get(&c->from), tail);
    const bool ok = vc_db_prepare(ws->db, stmt, sql.data, err);
    vc_str_finish(&sql);
    if (ok && c->split)
        vc_bind_text(*stmt, 1, c->split);
    return ok;
}

// meta.vocabulary_source: "captions MIN_COUNT ATTRIBUTES RELATIONS PRONOUNS SHA256", with " +" behind it when other
// settings had a part in it, or "file SHA256". Equal means there is nothing to do.
enum { SOURCE_MAX = 128 };

static bool has_other_settings(const VocabularyOptions *o)
{
    return o->split || o->letter_case != VOCABULARY_CASE_REFERENCE || o->merge_plurals || o->parser ||
           o->merge_count > 0 || o->stop || o->min_length > 0 || o->max_length > 0;
}

static void add_settings(VcSha256 *sha, const VocabularyOptions *o)
{
    const int64_t values[] = {o->letter_case, o->merge_plurals, o->min_length, o->max_length};
    vc_sha256_add(sha, values, sizeof values);
    if (o->split)
        vc_sha256_add(sha, o->split, strlen(o->split));
}

// The captions in their order.
static bool add_captions(VcWorkspace *ws, const Captions *c, VcSha256 *sha, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = true, ok = prepare_captions(ws, c, "caption_id, text", " ORDER BY caption_id", &stmt, err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row) {
        int64_t id = vc_column_int(stmt, 0);
        const char *caption = vc_column_text(stmt, 1);
        vc_sha256_add(sha, &id, sizeof id);
        vc_sha256_add(sha, caption, strlen(caption) + 1);
        if (vc_interrupted())
            ok = vc_fail(err, VC_ERR_CANCELLED, "interrupted");
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static void end_source(const VocabularyOptions *o, VcSha256 **sha, char out[SOURCE_MAX])
{
    uint8_t digest[32];
    char hex[65];
    vc_sha256_end(sha, digest);
    vc_hex(digest, 32, hex);
    if (o->file_count > 0) {
        snprintf(out, SOURCE_MAX, "file %s", hex);
    } else {
        snprintf(out, SOURCE_MAX, "captions %lld %d %d %d %s%s", (long long)o->min_count, o->attributes, o->relations,
                 o->keep_pronouns, hex, has_other_settings(o) ? " +" : "");
    }
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

static void put_found(VcStr *out, int kind, bool lower, const char *a, const char *b, const char *c)
{
    const char *const parts[] = {a, b, c};
    vc_str_putc(out, (char)('0' + kind));
    for (int i = 0; i < 3 && parts[i]; i++) {
        if (i > 0)
            vc_str_putc(out, ' ');
        if (lower) {
            caption_put_lower(out, parts[i], strlen(parts[i]));
        } else {
            vc_str_put(out, parts[i]);
        }
    }
    vc_str_putc(out, '\0');
}

static void parse_chunk(void *ctx, size_t begin, size_t end, size_t worker)
{
    Batch *b = ctx;
    VcStr *out = &b->found[begin / CHUNK];
    unsigned flags = b->options->keep_pronouns ? CAPTION_PRONOUNS : 0;
    flags |= b->options->relations ? CAPTION_RELATIONS : 0;
    flags |= b->options->letter_case == VOCABULARY_CASE_KEEP ? CAPTION_CASE : 0;
    bool lower = b->options->letter_case == VOCABULARY_CASE_LOWER;
    vc_str_clear(out);
    for (size_t i = begin; i < end; i++) {
        size_t from = i ? b->ends[i - 1] : 0;
        CaptionParse p;
        caption_parse(b->parsers[worker], b->text.data + from, b->ends[i] - from, flags, &p);
        for (size_t k = 0; k < p.concept_count; k++)
            put_found(out, VOCABULARY_OBJECT, false, p.concepts[k], NULL, NULL);
        for (size_t k = 0; b->options->attributes && k < p.attribute_count; k++)
            put_found(out, VOCABULARY_ATTRIBUTE, lower, p.attributes[k].head, p.attributes[k].modifier, NULL);
        for (size_t k = 0; b->options->relations && k < p.relation_count; k++) {
            put_found(out, VOCABULARY_RELATION, lower, p.relations[k].subject, p.relations[k].relation,
                      p.relations[k].object);
        }
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

static bool count_captions(VcWorkspace *ws, const VocabularyOptions *o, const Captions *c, CaptionParser *parser,
                           VocabularyCounter *counter, VocabularyReport *report, VcErr *err)
{
    VcStmt *stmt = NULL;
    if (!prepare_captions(ws, c, "text", " ORDER BY caption_id", &stmt, err))
        return false;
    size_t threads = vc_pool_threads(o->pool);
    Batch *b = vc_calloc(1, sizeof *b);
    b->options = o;
    b->ends = vc_alloc(BATCH, sizeof *b->ends);
    b->parsers = vc_calloc(threads, sizeof(CaptionParser *));
    for (size_t i = 0; i < threads; i++)
        b->parsers[i] = caption_parser_share(parser);
    VcProgress *progress = vc_progress_begin("parse", "captions", 0);
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
    int64_t ruled_out = r->distinct - r->cut[VOCABULARY_RARE];
    if (o->file_count > 0 && r->distinct == 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' holds no concept", o->files[0]);
    if (o->file_count == 0 && r->captions == 0 && o->merge_count == 0) {
        return vc_fail(
            err, VC_ERR_USAGE,
            "there is no caption of a stored image in this workspace; run 'vicha extract' with a source that "
            "has captions, or give a vocabulary with --vocabulary FILE");
    }
    if (ruled_out > 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "of %lld concepts none is left: %lld are ruled out by the stop list or their length, %lld were "
                       "seen less than %lld times",
                       (long long)r->distinct, (long long)ruled_out, (long long)r->cut[VOCABULARY_RARE],
                       (long long)o->min_count);
    }
    return vc_fail(err, VC_ERR_USAGE, "of %lld concepts in %lld captions none was seen %lld times; lower --min-count",
                   (long long)r->distinct, (long long)r->captions, (long long)o->min_count);
}

static bool read_given(const VocabularyOptions *o, VocabularyCounter *counter, bool *counted, VcSha256 *sha, VcErr *err)
{
    bool ok = true;
    *counted = true;
    for (size_t i = 0; ok && i < o->file_count && *counted; i++)
        ok = vocabulary_file_has_counts(o->files[i], counted, err);
    for (size_t i = 0; ok && i < o->file_count; i++)
        ok = vocabulary_read_file(counter, o->files[i], *counted, sha, err);
    return ok;
}

// What was left out, by falling count: "concept TAB count TAB cause".
static bool write_cut(const char *path, const VocabularyEntry *entries, size_t n, VcErr *err)
{
    static const char *const causes[VOCABULARY_CAUSES] = {"kept", "rare", "stop", "short", "long", "plural"};
    VcStr s = {0};
    for (size_t i = 0; i < n; i++)
        vc_str_putf(&s, "%s\t%lld\t%s\n", entries[i].text, (long long)entries[i].count, causes[entries[i].cause]);
    bool ok = vc_write_file(path, vc_str_get(&s), s.len, err);
    vc_str_finish(&s);
    return ok;
}

typedef struct {
    VocabularyCounter *counter, *merged, *stop;
    CaptionParser *parser;
    Captions captions;
    bool counted;
    char source[SOURCE_MAX];
} Build;

// Everything but the captions' concepts, and the text that names what the vocabulary depends on.
static bool prepare(VcWorkspace *ws, const VocabularyOptions *o, Build *b, VcErr *err)
{
    VcSha256 *sha = vc_sha256_begin();
    bool ok = true;
    if (o->file_count > 0) {
        ok = read_given(o, b->counter, &b->counted, sha, err);
    } else {
        b->counted = true;
        b->parser = o->parser ? caption_parser_open(o->parser, err) : caption_parser_create();
        ok = b->parser != NULL;
        if (ok) {
            uint64_t model = caption_parser_model(b->parser);
            vc_sha256_add(sha, &model, sizeof model);
        }
    }
    for (size_t i = 0; ok && i < o->merge_count; i++)
        ok = vocabulary_read_counts(b->merged, o->merge[i], sha, err);
    if (ok && o->stop)
        ok = vocabulary_read_file(b->stop, o->stop, false, sha, err);
    add_settings(sha, o);
    ok = ok &&
         (o->file_count > 0 || (choose_captions(ws, o, &b->captions, err) && add_captions(ws, &b->captions, sha, err)));
    end_source(o, &sha, b->source);
    return ok;
}

static void add_merged(Build *b)
{
    VocabularyEntry *entries;
    size_t n = vocabulary_counter_select(b->merged, 0, &entries);
    for (size_t i = 0; i < n; i++) {
        vocabulary_counter_add_times(b->counter, entries[i].text, strlen(entries[i].text), entries[i].kind,
                                     entries[i].count);
    }
    free(entries);
}

static bool choose_and_store(VcWorkspace *ws, const VocabularyOptions *o, Build *b, VocabularyReport *report,
                             VcErr *err)
{
    VocabularyEntry *entries;
    if (o->merge_plurals)
        vocabulary_counter_merge_plurals(b->counter);
    const VocabularyRules rules = {.min_count = o->file_count > 0 ? 0 : o->min_count,
                                   .stop = b->stop,
                                   .min_length = (size_t)o->min_length,
                                   .max_length = (size_t)o->max_length};
    size_t n = vocabulary_counter_choose(b->counter, &rules, &entries), all = vocabulary_counter_distinct(b->counter);
    report->distinct = (int64_t)all;
    report->kept = (int64_t)n;
    for (size_t i = 0; i < all; i++)
        report->cut[entries[i].cause] += i >= n;
    bool ok = n > 0 ? store(ws, entries, n, b->counted, b->source, report, err) : nothing_kept(o, report, err);
    ok = ok && (!o->cut || write_cut(o->cut, entries + n, all - n, err));
    free(entries);
    return ok;
}

bool vocabulary_build(VcWorkspace *ws, const VocabularyOptions *o, VocabularyReport *report, VcErr *err)
{
    *report = (VocabularyReport){0};
    Build b = {.counter = vocabulary_counter_create(),
               .merged = vocabulary_counter_create(),
               .stop = vocabulary_counter_create()};
    char *before = NULL;
    bool ok = prepare(ws, o, &b, err) && vc_meta_get(ws, "vocabulary_source", &before, err) &&
              vc_db_int(ws->db, "SELECT count(*) FROM concept", 0, &report->kept, err);
    // A report of what is cut needs the counts again.
    report->task = b.captions.task;
    report->unchanged = ok && before && strcmp(before, b.source) == 0 && report->kept > 0 && !o->cut;
    if (ok && !report->unchanged) {
        ok = o->file_count > 0 || count_captions(ws, o, &b.captions, b.parser, b.counter, report, err);
        if (ok)
            add_merged(&b);
        ok = ok && choose_and_store(ws, o, &b, report, err);
    }
    free(before);
    caption_parser_destroy(&b.parser);
    vc_str_finish(&b.captions.from);
    vocabulary_counter_destroy(&b.counter);
    vocabulary_counter_destroy(&b.merged);
    vocabulary_counter_destroy(&b.stop);
    return ok;
}

bool vocabulary_settings(VcWorkspace *ws, VocabularyOptions *options, bool *fixed, bool *found, VcErr *err)
{
    char *source;
    *fixed = *found = false;
    if (!vc_meta_get(ws, "vocabulary_source", &source, err))
        return false;
    if (source && (vc_has_prefix(source, "file ") || vc_has_suffix(source, " +"))) {
        *fixed = *found = true;
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
