// SPDX-License-Identifier: MIT
#include "concepts/caption_train.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "concepts/caption_model.h"
#include "concepts/caption_perceptron.h"
#include "concepts/caption_silver.h"
#include "concepts/caption_train_score.h"

#include <stdlib.h>
#include <string.h>

enum { FOLDS = 4, COPIES = 3, EPOCHS = 5, MIN_COUNT = 2, WORD_MIN_COUNT = 20, CLASSES = 16 };

const CaptionTrainOptions caption_train_defaults = {
    .seed = 1, .tag_features = 45000, .role_features = 45000, .step_features = 53000};

typedef enum { MODEL_TAGS, MODEL_ROLES, MODEL_STEPS, MODELS } ModelKind;

typedef struct {
    Silver silver;
    uint8_t *tags, *roles; // as models give them that have not seen the caption; of captions held out: as annotated
    CaptionDictionaryWord *words;
    size_t word_count;
    uint32_t word_mask;
    uint32_t *word_slots; // open addressing: index into words + 1
    const CaptionTrainOptions *options;
    size_t keep[MODELS];
    CaptionPerceptron *final[MODELS];
} Trainer;

// One training: of a fold's model, or of the one that is kept.
typedef struct {
    Trainer *t;
    ModelKind kind;
    int fold; // captions i with i % FOLDS == fold are left out, then labelled; -1 none
    CaptionPerceptron *p;
    CaptionWord *words; // [SILVER_MAX_TOKENS + 2 CAPTION_PAD]
    CaptionTree tree;
    VcRng rng;
    int32_t *heads; // gold tree of a caption, the root its token n
    int epoch;
} Job;

typedef enum { COUNT, LEARN, APPLY } Mode;

static bool is_held_out(const Trainer *t, size_t caption)
{
    return t->options->holdout > 0 && (int64_t)(caption % (size_t)t->options->holdout) == t->options->holdout - 1;
}

static bool is_of_fold(const Job *j, size_t caption)
{
    return j->fold >= 0 && (int)(caption % FOLDS) == j->fold;
}

// --- dictionary ------------------------------------------------------------------------------------------------------

static const CaptionDictionaryWord *look_up(const Trainer *t, uint32_t key)
{
    uint32_t at = key & t->word_mask;
    while (t->word_slots[at] && t->words[t->word_slots[at] - 1].key != key)
        at = (at + 1) & t->word_mask;
    return t->word_slots[at] ? &t->words[t->word_slots[at] - 1] : NULL;
}

static int by_word(const void *a, const void *b)
{
    uint32_t x = ((const CaptionDictionaryWord *)a)->key, y = ((const CaptionDictionaryWord *)b)->key;
    return x < y ? -1 : x > y;
}

// Words with one part of speech in all but 2 of 1000 sightings: they need no model.
static void make_dictionary(Trainer *t)
{
    const Silver *s = &t->silver;
    CaptionDictionaryWord *seen = vc_alloc(s->token_count + 1, sizeof *seen); // every token
    CaptionWord *words = vc_alloc(SILVER_MAX_TOKENS + 2 * CAPTION_PAD, sizeof *words);
    size_t n = 0;
    for (size_t c = 0; c < s->caption_count; c++) {
        const SilverCaption *k = &s->captions[c];
        if (is_held_out(t, c))
            continue;
        caption_words(s->tokens + k->begin, k->count, words);
        for (size_t i = 0; i < k->count; i++)
            seen[n++] = (CaptionDictionaryWord){words[CAPTION_PAD + i].lower, s->tags[k->begin + i]};
    }
    qsort(seen, n, sizeof *seen, by_word);
    t->words = seen; // rewritten from the front
    for (size_t i = 0, end; i < n; i = end) {
        uint32_t count[CAPTION_TAGS] = {0}, total = 0, best = 0, key = seen[i].key;
        for (end = i; end < n && seen[end].key == key; end++, total++)
            count[seen[end].tag]++;
        for (uint32_t tag = 1; tag < CAPTION_TAGS; tag++)
            best = count[tag] > count[best] ? tag : best;
        if (total >= WORD_MIN_COUNT && (uint64_t)(total - count[best]) * 500 <= total)
            t->words[t->word_count++] = (CaptionDictionaryWord){key, (uint8_t)best};
    }
    t->word_mask = 1;
    while (t->word_mask < 2 * t->word_count)
        t->word_mask = t->word_mask * 2 + 1;
    t->word_slots = vc_calloc((size_t)t->word_mask + 1, sizeof *t->word_slots);
    for (size_t i = 0; i < t->word_count; i++) {
        uint32_t at = t->words[i].key & t->word_mask;
        while (t->word_slots[at])
            at = (at + 1) & t->word_mask;
        t->word_slots[at] = (uint32_t)i + 1;
    }
    free(words);
}

// --- one caption -----------------------------------------------------------------------------------------------------

// The best of the classes in `allowed`, ties to the lowest.
static int best_of(const int32_t *scores, uint32_t allowed)
{
    int best = -1;
    for (int c = 0; c < CLASSES; c++) {
        if (allowed >> c & 1 && (best < 0 || scores[c] > scores[best]))
            best = c;
    }
    return best;
}

// Answers one example as `mode` says: the class that is taken to go on with.
static int answer(Job *j, Mode mode, const uint32_t *keys, size_t n, size_t classes, int gold)
{
    if (mode == COUNT) {
        caption_perceptron_count(j->p, keys, n);
        return gold;
    }
    uint32_t rows[CAPTION_MAX_FEATURES];
    int32_t scores[CLASSES];
    caption_perceptron_score(j->p, keys, n, rows, scores);
    int best = best_of(scores, (1u << classes) - 1);
    if (mode == LEARN)
        caption_perceptron_update(j->p, rows, n, (size_t)gold, (size_t)best);
    return best;
}

static void walk_tags(Job *j, const SilverCaption *k, Mode mode)
{
    const Silver *s = &j->t->silver;
    CaptionWord *w = j->words + CAPTION_PAD;
    uint32_t keys[CAPTION_MAX_FEATURES];
    caption_words(s->tokens + k->begin, k->count, j->words);
    for (size_t i = 0; i < k->count; i++) {
        const CaptionDictionaryWord *known = look_up(j->t, w[i].lower);
        w[i].tag = known ? known->tag
                         : (uint8_t)answer(j, mode, keys, caption_tag_features(w + i, keys), CAPTION_TAGS,
                                           s->tags[k->begin + i]);
        if (mode == APPLY)
            j->t->tags[k->begin + i] = w[i].tag;
    }
}

static void walk_roles(Job *j, const SilverCaption *k, Mode mode)
{
    const Silver *s = &j->t->silver;
    CaptionWord *w = j->words + CAPTION_PAD;
    uint32_t keys[CAPTION_MAX_FEATURES];
    CaptionRoleContext context = caption_role_begin;
    caption_words(s->tokens + k->begin, k->count, j->words);
    for (size_t i = 0; i < k->count; i++) {
        w[i].tag = j->t->tags[k->begin + i];
        w[i].listed = look_up(j->t, w[i].lower) != NULL;
    }
    for (size_t i = k->count; i-- > 0;) {
        w[i].role = CAPTION_OTHER;
        if (caption_role_is_open(w + i)) {
            w[i].role = (uint8_t)answer(j, mode, keys, caption_role_features(w + i, &context, keys), CAPTION_ROLES,
                                        s->roles[k->begin + i]);
        }
        caption_role_seen(&context, w + i);
        if (mode == APPLY)
            j->t->roles[k->begin + i] = w[i].role;
    }
}

// While features are counted: arcs as soon as they can be made.
static int first_step(uint32_t good)
{
    uint32_t arcs = good & ~(1u << CAPTION_SHIFT | 1u << CAPTION_REDUCE);
    return __builtin_ctz(arcs ? arcs : good & 1u << CAPTION_REDUCE ? good & 1u << CAPTION_REDUCE : good);
}

static void walk_steps(Job *j, const SilverCaption *k, Mode mode)
{
    const Silver *s = &j->t->silver;
    uint32_t keys[CAPTION_MAX_FEATURES], rows[CAPTION_MAX_FEATURES];
    int32_t scores[CLASSES];
    caption_words(s->tokens + k->begin, k->count, j->words);
    for (size_t i = 0; i < k->count; i++) {
        j->words[CAPTION_PAD + i].tag = j->t->tags[k->begin + i];
        j->words[CAPTION_PAD + i].role = j->t->roles[k->begin + i];
        int32_t head = s->heads[k->begin + i];
        j->heads[i] = head < 0 ? (int32_t)k->count : head;
    }
    j->heads[k->count] = -2;
    caption_tree_begin(&j->tree, j->words + CAPTION_PAD, k->count);
    CaptionArcs *a = &j->tree.a;
    while (!caption_tree_done(a)) {
        size_t n = caption_step_features(a, keys);
        uint32_t good = caption_tree_oracle(a, j->heads, s->deps + k->begin);
        int step;
        if (mode == COUNT) {
            caption_perceptron_count(j->p, keys, n);
            step = first_step(good);
        } else {
            caption_perceptron_score(j->p, keys, n, rows, scores);
            step = best_of(scores, caption_tree_allowed(a));
            int want = good >> step & 1 ? step : best_of(scores, good);
            caption_perceptron_update(j->p, rows, n, (size_t)want, (size_t)step);
            // After the first epoch most mistakes are followed, to learn the way on from them.
            if (step != want && (j->epoch == 0 || vc_rng_below(&j->rng, 10) == 0))
                step = want;
        }
        caption_tree_step(a, (CaptionStep)step);
    }
}

static void walk(Job *j, size_t caption, Mode mode)
{
    const SilverCaption *k = &j->t->silver.captions[caption];
    if (j->kind == MODEL_TAGS) {
        walk_tags(j, k, mode);
    } else if (j->kind == MODEL_ROLES) {
        walk_roles(j, k, mode);
    } else {
        walk_steps(j, k, mode);
    }
}

// --- trainings -------------------------------------------------------------------------------------------------------

static void learn(Job *j, uint32_t *order, size_t n)
{
    for (j->epoch = 0; j->epoch < EPOCHS && !vc_interrupted(); j->epoch++) {
        vc_rng_shuffle(&j->rng, order, n, sizeof *order);
        for (size_t i = 0; i < n; i++)
            walk(j, order[i], LEARN);
    }
    caption_perceptron_average(j->p);
}

static void begin_job(Job *j, uint64_t stream)
{
    j->words = vc_alloc(SILVER_MAX_TOKENS + 2 * CAPTION_PAD, sizeof *j->words);
    j->heads = vc_alloc(SILVER_MAX_TOKENS + 1, sizeof *j->heads);
    vc_rng_seed(&j->rng, vc_mix_seed(j->t->options->seed, (uint64_t)j->kind * 100 + stream));
}

static void end_job(Job *j)
{
    caption_tree_finish(&j->tree);
    free(j->words);
    free(j->heads);
}

// The captions that a job learns from. Freed with free().
static uint32_t *captions_of(const Job *j, size_t *n)
{
    size_t captions = j->t->silver.caption_count;
    uint32_t *order = vc_alloc(captions + 1, sizeof *order);
    *n = 0;
    for (size_t i = 0; i < captions; i++) {
        if (!is_held_out(j->t, i) && !is_of_fold(j, i))
            order[(*n)++] = (uint32_t)i;
    }
    return order;
}

// All features: of a fold, whose captions it labels then, or to find those that matter.
static void run_first(Job *j)
{
    static const size_t classes[MODELS] = {CAPTION_TAGS, CAPTION_ROLES, CAPTION_STEPS};
    Trainer *t = j->t;
    size_t n;
    uint32_t *order = captions_of(j, &n);
    begin_job(j, (uint64_t)j->fold + 1);
    j->p = caption_perceptron_create(classes[j->kind]);
    for (size_t i = 0; i < n; i++)
        walk(j, order[i], COUNT);
    caption_perceptron_choose(j->p, MIN_COUNT);
    learn(j, order, n);
    if (j->fold >= 0) {
        for (size_t i = 0; i < t->silver.caption_count; i++) {
            if (is_of_fold(j, i) && !is_held_out(t, i))
                walk(j, i, APPLY);
        }
        caption_perceptron_destroy(&j->p);
    } else {
        caption_perceptron_prune(j->p, t->keep[j->kind]);
    }
    end_job(j);
    free(order);
}

static void run_first_jobs(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++)
        run_first((Job *)ctx + i);
}

static void run_second_jobs(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        Job *j = (Job *)ctx + i;
        size_t n;
        uint32_t *order = captions_of(j, &n);
        begin_job(j, FOLDS + 1 + (uint64_t)i);
        learn(j, order, n);
        end_job(j);
        free(order);
    }
}

// The folds' models and the one that chooses features, side by side; then the copies of what is kept. The steps have no
// folds: nothing follows on them.
static bool train_kind(Trainer *t, ModelKind kind, VcErr *err)
{
    Job first[FOLDS + 1] = {0}, second[COPIES] = {0};
    size_t n = kind == MODEL_STEPS ? 1 : FOLDS + 1;
    for (size_t i = 0; i < n; i++)
        first[i] = (Job){.t = t, .kind = kind, .fold = (int)i - 1};
    vc_parallel_for(t->options->pool, n, 1, run_first_jobs, first);
    for (size_t i = 0; i < COPIES; i++)
        second[i] = (Job){.t = t, .kind = kind, .fold = -1, .p = i ? caption_perceptron_clone(first[0].p) : first[0].p};
    vc_parallel_for(t->options->pool, COPIES, 1, run_second_jobs, second);
    for (size_t i = 1; i < COPIES; i++) {
        caption_perceptron_add(second[0].p, second[i].p);
        caption_perceptron_destroy(&second[i].p);
    }
    t->final[kind] = second[0].p;
    return !vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted");
}

// --- packing ---------------------------------------------------------------------------------------------------------

// Weights as int8, the largest as 127. (With the largest cut off, finer steps for the rest, the parts of speech lose
// 0.003; with 1000 steps instead of 127 they gain nothing.) Weights of one step are left out: 7 % of the bytes, and no
// score falls.
static CaptionFeature *quantise(const CaptionPerceptron *p, size_t *count)
{
    size_t n = caption_perceptron_features(p);
    CaptionFeature *out = vc_calloc(n + 1, sizeof *out);
    uint32_t key;
    int64_t top = 1;
    for (size_t i = 0; i < n; i++) {
        const int32_t *w = caption_perceptron_feature(p, i, &key);
        for (size_t c = 0; c < CLASSES; c++) {
            int64_t size = w[c] < 0 ? -(int64_t)w[c] : w[c];
            top = size > top ? size : top;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const int32_t *w = caption_perceptron_feature(p, i, &out[i].key);
        for (size_t c = 0; c < CLASSES; c++) {
            int64_t q = ((int64_t)w[c] * 254 + (w[c] < 0 ? -top : top)) / (2 * top); // rounded
            out[i].weights[c] = (int8_t)(q == 1 || q == -1 ? 0 : q);
        }
    }
    *count = n;
    return out;
}

static void pack(Trainer *t, VcStr *out)
{
    CaptionModelParts parts = {.words = t->words, .word_count = t->word_count};
    for (int i = 0; i < MODELS; i++)
        parts.features[i] = quantise(t->final[i], &parts.feature_count[i]);
    caption_model_write(out, &parts);
    for (int i = 0; i < MODELS; i++)
        free(parts.features[i]);
}

bool caption_train(const char *silver, const char *out, const CaptionTrainOptions *options, CaptionTrainReport *report,
                   VcErr *err)
{
    double begin = vc_now();
    Trainer t = {.options = options};
    t.keep[MODEL_TAGS] = (size_t)options->tag_features;
    t.keep[MODEL_ROLES] = (size_t)options->role_features;
    t.keep[MODEL_STEPS] = (size_t)options->step_features;
    *report = (CaptionTrainReport){0};
    if (!silver_read(&t.silver, silver, err))
        return false;
    size_t n = t.silver.token_count;
    t.tags = vc_alloc(n, 1);
    t.roles = vc_alloc(n, 1);
    memcpy(t.tags, t.silver.tags, n);
    memcpy(t.roles, t.silver.roles, n);
    make_dictionary(&t);
    VcStr packed = {0};
    bool ok = train_kind(&t, MODEL_TAGS, err) && train_kind(&t, MODEL_ROLES, err) && train_kind(&t, MODEL_STEPS, err);
    if (ok) {
        pack(&t, &packed);
        ok = vc_write_file(out, packed.data, packed.len, err);
    }
    report->captions = (int64_t)t.silver.caption_count;
    report->tokens = (int64_t)n;
    report->bytes = (int64_t)packed.len;
    report->seconds = vc_now() - begin;
    if (ok && options->holdout > 0)
        ok = caption_train_score(&t.silver, (size_t)options->holdout, packed.data, packed.len, report, err);
    for (int i = 0; i < MODELS; i++)
        caption_perceptron_destroy(&t.final[i]);
    vc_str_finish(&packed);
    free(t.tags);
    free(t.roles);
    free(t.words);
    free(t.word_slots);
    silver_finish(&t.silver);
    return ok;
}
