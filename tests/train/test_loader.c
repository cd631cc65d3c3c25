// SPDX-License-Identifier: MIT
// Batches depend on records, recipe and position alone; crops are torchvision's; bad records stop or are stood in for.
#include "base/hash.h"
#include "tests/train/scenes.h"
#include "train/bpe_learn.h"
#include "train/loader.h"
#include "train/vocabulary.h"

typedef struct {
    TrainRecipe recipe;
    TrainData *data;
    Bpe *bpe;
} World;

static char *folder;

static void open_world(World *w, const char *const *sets, size_t count)
{
    scene_recipe(&w->recipe, sets, count);
    assert_ok(train_data_open(&w->data, &w->recipe, folder, err));
    w->bpe = NULL;
    uint64_t fingerprint;
    if (w->recipe.objective == TRAIN_CLIP)
        assert_ok(train_vocabulary_open(&w->bpe, &fingerprint, &w->recipe, w->data, folder, true, err));
}

static void close_world(World *w)
{
    bpe_close(&w->bpe);
    train_data_close(&w->data);
    train_recipe_finish(&w->recipe);
}

static uint64_t hash_batch(const TrainBatch *b, size_t side)
{
    uint64_t parts[] = {
        b->count,
        b->tokens,
        b->concept_tokens,
        b->epoch,
        b->number,
        vc_xxh64(b->images, b->count * 3 * side * side * sizeof *b->images),
        vc_xxh64(b->ids, b->count * b->tokens * sizeof *b->ids),
        vc_xxh64(b->mask, b->count * b->tokens * sizeof *b->mask),
        vc_xxh64(b->last, b->count * sizeof *b->last),
        vc_xxh64(b->concepts, b->count * b->concept_tokens * sizeof *b->concepts),
        vc_xxh64(b->group, b->count * sizeof *b->group),
        vc_xxh64(b->image_ids, b->count * sizeof *b->image_ids),
    };
    return vc_xxh64(parts, sizeof parts);
}

static void hash_run(const char *const *sets, size_t count, uint64_t epoch, uint64_t number, size_t n, uint64_t *out)
{
    World w;
    open_world(&w, sets, count);
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, epoch, number);
    for (size_t i = 0; i < n; i++) {
        const TrainBatch *batch;
        assert_ok(train_loader_next(loader, &batch, err));
        out[i] = hash_batch(batch, (size_t)w.recipe.image_size);
    }
    train_loader_destroy(&loader);
    close_world(&w);
}

static void check_same_for_threads(const char *objective)
{
    enum { BATCHES = 14 }; // over an epoch of 6 and into the third
    uint64_t one[BATCHES], other[BATCHES];
    const char *plain[] = {objective, "image.flip=true", "image.randaugment_n=2"};
    hash_run(plain, 3, 0, 0, BATCHES, one);
    static const char *const workers[] = {"data.workers=2", "data.workers=7"};
    static const char *const ahead[] = {"data.prefetch=1", "data.prefetch=9"};
    for (size_t i = 0; i < 2; i++) {
        const char *sets[] = {objective, "image.flip=true", "image.randaugment_n=2", workers[i], ahead[i]};
        hash_run(sets, 5, 0, 0, BATCHES, other);
        assert_memory_equal(one, other, sizeof one);
    }
    for (size_t i = 1; i < BATCHES; i++)
        assert_true(one[i] != one[i - 1]);
    const char *seed[] = {objective, "image.flip=true", "image.randaugment_n=2", "seed=7"};
    hash_run(seed, 4, 0, 0, 1, other);
    assert_true(other[0] != one[0]);
}

static void test_same_for_threads(void **state)
{
    (void)state;
    check_same_for_threads("objective=clip");
    check_same_for_threads("objective=vicha");
}

static void test_resume_position(void **state)
{
    (void)state;
    World w;
    open_world(&w, NULL, 0);
    uint64_t batches = train_data_trained(w.data) / 16;
    close_world(&w);
    assert_in_range(batches, 5, 12);
    uint64_t all[22], rest[6];
    hash_run(NULL, 0, 0, 0, 22, all);
    for (uint64_t start = 1; start < 17; start += 5) {
        hash_run(NULL, 0, start / batches, start % batches, 6, rest);
        assert_memory_equal(all + start, rest, sizeof rest);
    }
    hash_run(NULL, 0, 0, batches, 5, rest); // the end of an epoch is the start of the next
    assert_memory_equal(all + batches, rest, 5 * sizeof *rest);
}

// The rows of `ranks` loaders of B/ranks pairs are those of one loader of B, to the bit and with the same padding.
static void check_shares(const char *objective, const char *records, const char *on_bad, uint64_t ranks)
{
    enum { ROWS = 16, BATCHES = 9 };
    World whole, part;
    const char *sets[] = {objective, records, on_bad, "data.holdout=0.1", "train.batch=16", "data.workers=2"};
    char batch[32];
    snprintf(batch, sizeof batch, "train.batch=%d", ROWS / (int)ranks);
    open_world(&whole, sets, 6);
    sets[4] = batch;
    open_world(&part, sets, 6);
    size_t rows = ROWS / (size_t)ranks, pixels = 3 * 32 * 32;
    TrainLoader *one = train_loader_create(&whole.recipe, whole.data, whole.bpe, NULL, 1, 1), *shares[8];
    for (uint64_t r = 0; r < ranks; r++)
        shares[r] = train_loader_create(&part.recipe, part.data, part.bpe, &(TrainShare){r, ranks}, 1, 1);
    for (size_t k = 0; k < BATCHES; k++) {
        const TrainBatch *a, *b;
        assert_ok(train_loader_next(one, &a, err));
        for (size_t r = 0; r < ranks; r++) {
            assert_ok(train_loader_next(shares[r], &b, err));
            size_t first = r * rows;
            assert_int_equal(b->count, rows);
            assert_int_equal(b->epoch, a->epoch);
            assert_int_equal(b->number, a->number);
            assert_int_equal(b->tokens, a->tokens);
            assert_int_equal(b->concept_tokens, a->concept_tokens);
            assert_memory_equal(b->records, a->records + first, rows * sizeof *b->records);
            assert_memory_equal(b->images, a->images + first * pixels, rows * pixels * sizeof *b->images);
            assert_memory_equal(b->ids, a->ids + first * a->tokens, rows * a->tokens * sizeof *b->ids);
            assert_memory_equal(b->mask, a->mask + first * a->tokens, rows * a->tokens * sizeof *b->mask);
            assert_memory_equal(b->concepts, a->concepts + first * a->concept_tokens,
                                rows * a->concept_tokens * sizeof *b->concepts);
        }
    }
    for (uint64_t r = 0; r < ranks; r++) {
        assert_int_equal(train_loader_batches(shares[r]), train_loader_batches(one));
        train_loader_destroy(&shares[r]);
    }
    train_loader_destroy(&one);
    close_world(&part);
    close_world(&whole);
}

static void test_shares(void **state)
{
    (void)state;
    check_shares("objective=vicha", "data.records=records", "data.on_bad=stop", 2);
    check_shares("objective=vicha", "data.records=[\"records\",\"more\"]", "data.on_bad=stop", 8);
    check_shares("objective=clip", "data.records=more", "data.on_bad=stop", 4);
    check_shares("objective=clip", "data.records=broken", "data.on_bad=skip", 2);
}

// Every record of the training part comes once an epoch, no held-out one ever, and epochs differ.
static void test_epochs(void **state)
{
    (void)state;
    World w;
    open_world(&w, NULL, 0);
    uint64_t total = train_data_total(w.data), batches = train_data_trained(w.data) / 16;
    uint8_t *seen = vc_calloc(total, 1);
    uint64_t first[2] = {0};
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, 0, 0);
    for (uint64_t epoch = 0; epoch < 2; epoch++) {
        for (uint64_t b = 0; b < batches; b++) {
            const TrainBatch *batch;
            assert_ok(train_loader_next(loader, &batch, err));
            assert_int_equal(batch->epoch, epoch);
            assert_int_equal(batch->number, b);
            if (b == 0)
                first[epoch] = vc_xxh64(batch->records, 16 * sizeof *batch->records);
            for (size_t i = 0; i < 16; i++) {
                assert_false(train_data_held_out(w.data, batch->records[i]));
                assert_int_equal(seen[batch->records[i]], epoch);
                seen[batch->records[i]]++;
                assert_int_equal(batch->image_ids[i], batch->records[i] % 120 + 1);
            }
        }
        for (uint64_t i = 0; i < total; i++) // whole batches only: the rest of the epoch is dropped
            seen[i] = (uint8_t)(epoch + 1);
    }
    assert_true(first[0] != first[1]);
    train_loader_destroy(&loader);
    free(seen);
    close_world(&w);
}

static void test_batch_contents(void **state)
{
    (void)state;
    World w;
    open_world(&w, NULL, 0);
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, 0, 0);
    const TrainBatch *b;
    assert_ok(train_loader_next(loader, &b, err));
    bool shared = false;
    for (size_t i = 0; i < b->count; i++) {
        const int32_t *ids = b->ids + i * b->tokens;
        assert_int_equal(ids[0], bpe_start_id(w.bpe));
        assert_int_equal(ids[b->last[i]], bpe_end_id(w.bpe));
        for (size_t t = 0; t < b->tokens; t++)
            assert_true(b->mask[i * b->tokens + t] == ((int32_t)t > b->last[i] ? -10000 : 0));
        assert_true(b->group[i] <= (int32_t)i);
        for (size_t j = 0; j < i; j++) {
            bool same = memcmp(ids, b->ids + j * b->tokens, b->tokens * sizeof *ids) == 0;
            assert_int_equal(same, b->group[i] == b->group[j]);
            shared = shared || same;
        }
    }
    assert_true(shared); // 16 captions of 64: the case that loss.duplicates is for does occur
    train_loader_destroy(&loader);
    close_world(&w);
}

// A share of 1/2 of two concepts is one draw: [CLS] and the pieces of one of them, now the first and now the second.
static void test_concepts(void **state)
{
    (void)state;
    World w;
    const char *sets[] = {"objective=vicha", "model.concept_share=0.5"};
    open_world(&w, sets, 2);
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, NULL, NULL, 0, 0);
    const TrainBatch *b;
    assert_ok(train_loader_next(loader, &b, err));
    size_t drawn[2] = {0};
    for (size_t i = 0; i < b->count; i++) {
        IndexRecord record;
        const int32_t *ids = b->concepts + i * b->concept_tokens;
        assert_int_equal(ids[0], 2); // [CLS]
        assert_ok(train_data_get(w.data, b->records[i], &record, err));
        size_t first = (size_t)index_int_at(record.concept_lens, 0);
        bool second = ids[1] != index_int_at(record.concept_tokens, 0);
        size_t from = second ? first : 0, n = second ? (size_t)index_int_at(record.concept_lens, 1) : first;
        assert_int_equal(b->concept_last[i], n);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(ids[1 + k], index_int_at(record.concept_tokens, from + k));
        drawn[second]++;
    }
    assert_true(drawn[0] > 2 && drawn[1] > 2);
    train_loader_destroy(&loader);
    close_world(&w);
    sets[1] = "model.concept_share=0.49"; // rounded down to none
    open_world(&w, sets, 2);
    loader = train_loader_create(&w.recipe, w.data, NULL, NULL, 0, 0);
    assert_ok(train_loader_next(loader, &b, err));
    assert_int_equal(b->concept_tokens, 1);
    train_loader_destroy(&loader);
    // evaluation takes all, in order, once
    TrainSampler *sampler = train_sampler_create(&w.recipe, w.data, NULL);
    TrainBatch batch;
    train_batch_init(&batch, &w.recipe, 2);
    batch.records[0] = 3;
    batch.records[1] = 4;
    assert_ok(train_sampler_fill(sampler, &batch, 2, true, err));
    IndexRecord record;
    assert_ok(train_data_get(w.data, 3, &record, err));
    assert_int_equal(batch.concept_last[0], record.concept_tokens.count);
    for (size_t i = 0; i < record.concept_tokens.count; i++)
        assert_int_equal(batch.concepts[1 + i], index_int_at(record.concept_tokens, i));
    train_batch_finish(&batch);
    train_sampler_destroy(&sampler);
    close_world(&w);
}

// RandAugment changes the pictures it was drawn for and nothing else, another way in the next epoch.
static void test_randaugment(void **state)
{
    (void)state;
    enum { ROWS = 16, PIXELS = 3 * 32 * 32 };
    World with, without;
    const char *sets[] = {"objective=vicha", "image.randaugment_n=2"};
    open_world(&with, sets, 2);
    open_world(&without, sets, 1);
    TrainSampler *a = train_sampler_create(&with.recipe, with.data, NULL);
    TrainSampler *b = train_sampler_create(&without.recipe, without.data, NULL);
    TrainBatch x, y;
    train_batch_init(&x, &with.recipe, ROWS);
    train_batch_init(&y, &without.recipe, ROWS);
    bool same[2][ROWS];
    size_t kept = 0, moved = 0;
    for (uint64_t epoch = 0; epoch < 2; epoch++) {
        x.epoch = y.epoch = epoch;
        for (size_t i = 0; i < ROWS; i++)
            x.records[i] = y.records[i] = 5 * i;
        assert_ok(train_sampler_fill(a, &x, ROWS, false, err));
        assert_ok(train_sampler_fill(b, &y, ROWS, false, err));
        assert_int_equal(x.concept_tokens, y.concept_tokens);
        assert_memory_equal(x.ids, y.ids, ROWS * x.tokens * sizeof *x.ids);
        assert_memory_equal(x.concepts, y.concepts, ROWS * x.concept_tokens * sizeof *x.concepts);
        for (size_t i = 0; i < ROWS; i++) {
            same[epoch][i] = memcmp(x.images + i * PIXELS, y.images + i * PIXELS, PIXELS * sizeof *x.images) == 0;
            kept += same[epoch][i];
            moved += epoch && same[0][i] != same[1][i];
        }
    }
    assert_in_range(kept, 3, 20); // 0.3 of 32 are left alone by chance
    assert_true(moved > 0);
    assert_ok(train_sampler_fill(a, &x, ROWS, true, err)); // evaluation does not augment
    assert_ok(train_sampler_fill(b, &y, ROWS, true, err));
    assert_memory_equal(x.images, y.images, ROWS * PIXELS * sizeof *x.images);
    train_batch_finish(&x);
    train_batch_finish(&y);
    train_sampler_destroy(&a);
    train_sampler_destroy(&b);
    close_world(&with);
    close_world(&without);
}

static void test_random_crop(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 5);
    double area = 0, low = 1, high = 0;
    enum { TRIES = 4000 };
    for (int i = 0; i < TRIES; i++) {
        TrainCrop c = train_random_crop(&rng, 200, 160, 0.2, 1, 4.0 / 3);
        assert_true(c.x >= 0 && c.y >= 0 && c.width > 0 && c.height > 0);
        assert_true(c.x + c.width <= 200 && c.y + c.height <= 160);
        double share = c.width * c.height / 32000.0, ratio = (double)c.width / c.height;
        assert_true(ratio > 0.74 && ratio < 1.35);
        area += share / TRIES;
        low = fmin(low, share);
        high = fmax(high, share);
    }
    assert_true(low < 0.21 && high > 0.95 && area > 0.5 && area < 0.62);
    // an image too thin for any crop: the centre, clamped to the widest ratio
    TrainCrop c = train_random_crop(&rng, 10, 1000, 0.9, 1, 4.0 / 3);
    assert_int_equal(c.width, 10);
    assert_int_equal(c.height, 13);
    assert_int_equal(c.y, 493);
    c = train_random_crop(&rng, 1, 1, 0.01, 0.02, 1);
    assert_int_equal(c.width * c.height, 1);
}

static void test_bad_record(void **state)
{
    (void)state;
    World w;
    const char *stop[] = {"data.records=broken", "data.holdout=0"};
    open_world(&w, stop, 2);
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, 0, 0);
    const TrainBatch *b;
    VcErr cause = {0};
    bool failed = false;
    for (int i = 0; i < 3 && !failed; i++)
        failed = !train_loader_next(loader, &b, &cause);
    assert_true(failed);
    assert_non_null(strstr(cause.text, "record 17 (image 18)"));
    train_loader_destroy(&loader);
    close_world(&w);

    uint64_t hashes[2][6];
    for (size_t k = 0; k < 2; k++) {
        const char *skip_it[] = {"data.records=broken", "data.holdout=0", "data.on_bad=skip",
                                 k ? "data.workers=3" : "data.workers=1"};
        open_world(&w, skip_it, 4);
        loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, 0, 0);
        size_t skipped = 0;
        for (size_t i = 0; i < 6; i++) {
            assert_ok(train_loader_next(loader, &b, err));
            skipped += b->skipped;
            hashes[k][i] = hash_batch(b, 32);
        }
        assert_in_range(skipped, 1, 3);
        train_loader_destroy(&loader);
        close_world(&w);
    }
    assert_memory_equal(hashes[0], hashes[1], sizeof hashes[0]);
}

// Whatever batch of two epochs a loader starts at, it gives what a loader gives that was never stopped: with records
// whose picture is cut, with records whose CRC is wrong, with small pools, for any share and number of workers.
static void check_resume_anywhere(const char *const *sets, size_t count, uint64_t ranks)
{
    enum { MOST = 64 };
    uint64_t expected[MOST];
    World w;
    open_world(&w, sets, count);
    const TrainShare share = {ranks - 1, ranks};
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, &share, 0, 0);
    const uint64_t batches = train_loader_batches(loader);
    const TrainBatch *b;
    size_t skipped = 0;
    assert_in_range(batches, 2, MOST / 2 - 1);
    for (uint64_t k = 0; k < 2 * batches + 2; k++) {
        assert_ok(train_loader_next(loader, &b, err));
        expected[k] = hash_batch(b, 32);
        skipped += b->skipped;
    }
    train_loader_destroy(&loader);
    assert_true(skipped > 0);
    for (uint64_t start = 0; start < 2 * batches; start++) {
        loader = train_loader_create(&w.recipe, w.data, w.bpe, &share, start / batches, start % batches);
        for (uint64_t k = start; k < start + 3 && k < 2 * batches + 2; k++) {
            assert_ok(train_loader_next(loader, &b, err));
            assert_int_equal(b->epoch, k / batches);
            assert_int_equal(b->number, k % batches);
            assert_true(hash_batch(b, 32) == expected[k]);
        }
        train_loader_destroy(&loader);
    }
    close_world(&w);
}

static void test_resume_anywhere(void **state)
{
    (void)state;
    static const char *const itc[] = {"objective=vicha",  "data.records=[\"damaged\", \"broken\"]",
                                      "data.on_bad=skip", "data.window=2",
                                      "data.holdout=0.1", "train.batch=5",
                                      "data.workers=3",   "data.prefetch=3",
                                      "image.flip=true",  "image.randaugment_n=2",
                                      "model.queue=0"};
    check_resume_anywhere(itc, 11, 1);
    static const char *const clip[] = {"data.records=[\"broken\", \"damaged\"]", "data.on_bad=skip", "data.holdout=0",
                                       "data.cache_mib=0", "train.batch=4"};
    check_resume_anywhere(clip, 5, 3);
}

// With data.on_bad list a bad record is named, once a run.
static void test_listed(void **state)
{
    (void)state;
    World w;
    const char *sets[] = {"data.records=[\"damaged\", \"broken\"]", "data.on_bad=list", "data.holdout=0",
                          "data.workers=3", "train.batch=8"};
    open_world(&w, sets, 5);
    char *path = vc_path_join(folder, "stderr.txt"), *text = NULL;
    fflush(stderr);
    const int kept = dup(2);
    FILE *file = freopen(path, "w", stderr);
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, 0, 0);
    const TrainBatch *b;
    bool ok = file != NULL;
    size_t skipped = 0;
    for (uint64_t k = 0; ok && k < 3 * train_loader_batches(loader); k++) {
        ok = train_loader_next(loader, &b, NULL);
        skipped += ok ? b->skipped : 0;
    }
    train_loader_destroy(&loader);
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    assert_true(ok);
    assert_int_equal(skipped, 6); // two records, three epochs
    assert_ok(vc_read_file(&text, NULL, path, 1 << 20, err));
    size_t lines = 0;
    for (const char *p = text; (p = strstr(p, "passed over: ")) != NULL; p++)
        lines++;
    assert_int_equal(lines, 2);
    assert_non_null(strstr(text, "record 0: its CRC is not the one in the side index"));
    assert_non_null(strstr(text, "record 57 (image 18)"));
    free(text);
    free(path);
    close_world(&w);
}

// Recipe and records that do not fit each other.
static void test_unfit_sets(void **state)
{
    (void)state;
    static const struct {
        const char *sets[3];
        const char *words;
    } cases[] = {
        {{"image.size=48", "name=x", "name=x"}, "have short sides of 40 pixels, below image.size 48"},
        {{"objective=vicha", "tokenizer.words=20", "name=x"}, "is negative or at or over 20"},
        {{"data.records=damaged", "name=x", "name=x"}, "record 0: its CRC is not the one in the side index"},
        {{"data.records=broken", "data.on_bad=skip", "train.batch=40"}, "do not fill a batch of 40"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainRecipe recipe;
        TrainData *data = NULL;
        scene_recipe(&recipe, cases[i].sets, 3);
        assert_error(train_data_open(&data, &recipe, folder, err), cases[i].words);
        train_recipe_finish(&recipe);
    }
    TrainRecipe recipe;
    TrainData *data = NULL;
    const char *upscale[] = {"image.size=48", "image.upscale=true"};
    scene_recipe(&recipe, upscale, 2);
    assert_ok(train_data_open(&data, &recipe, folder, err));
    train_data_close(&data);
    train_recipe_finish(&recipe);
    const char *one[] = {"train.batch=1"};
    assert_error(train_recipe_load(&recipe, NULL, one, 1, err), "'train.batch' is 1, expected 2 to");
}

static void test_wrong_sets(void **state)
{
    (void)state;
    TrainRecipe recipe;
    TrainData *data = NULL;
    const char *absent[] = {"data.records=nowhere"};
    scene_recipe(&recipe, absent, 1);
    assert_error(train_data_open(&data, &recipe, folder, err), "nowhere");
    train_recipe_finish(&recipe);
    const char *large[] = {"train.batch=4000"};
    scene_recipe(&recipe, large, 1);
    assert_error(train_data_open(&data, &recipe, folder, err), "do not fill a batch of 4000");
    train_recipe_finish(&recipe);
}

// Two sets are one: numbered through, with one order over both.
static void test_two_sets(void **state)
{
    (void)state;
    World w;
    const char *sets[] = {"data.records=[\"records\", \"more\"]", "data.holdout=0"};
    open_world(&w, sets, 2);
    assert_int_equal(train_data_total(w.data), 160);
    IndexRecord record;
    assert_ok(train_data_get(w.data, 119, &record, err));
    assert_int_equal(record.image_id, 120);
    assert_ok(train_data_get(w.data, 120, &record, err));
    assert_int_equal(record.image_id, 1);
    assert_int_equal(train_data_captions(&record), 2);
    char seen[160] = {0};
    TrainLoader *loader = train_loader_create(&w.recipe, w.data, w.bpe, NULL, 0, 0);
    for (int i = 0; i < 10; i++) {
        const TrainBatch *b;
        assert_ok(train_loader_next(loader, &b, err));
        for (size_t k = 0; k < 16; k++)
            seen[b->records[k]]++;
    }
    for (size_t i = 0; i < 160; i++)
        assert_int_equal(seen[i], 1);
    train_loader_destroy(&loader);
    close_world(&w);
}

// Flips a bit in the middle of the first record of a set: only its CRC tells.
static void damage_first_record(const char *name)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s/shard.00000.mds", folder, name);
    FILE *file = fopen(path.data, "r+b");
    uint32_t at[2];
    assert_non_null(file);
    assert_int_equal(fseek(file, 4, SEEK_SET), 0);
    assert_int_equal(fread(at, 4, 2, file), 2);
    const long middle = (long)(at[0] + (at[1] - at[0]) / 2);
    assert_int_equal(fseek(file, middle, SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, middle, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 4, file), byte ^ 4);
    assert_int_equal(fclose(file), 0);
    vc_str_finish(&path);
}

static int set_up(void **state)
{
    (void)state;
    folder = test_temp_folder();
    scene_records(folder, "records", 120, false, SIZE_MAX);
    scene_records(folder, "more", 40, true, SIZE_MAX);
    scene_records(folder, "broken", 40, false, 17);
    scene_records(folder, "damaged", 40, true, SIZE_MAX);
    damage_first_record("damaged");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_for_threads), cmocka_unit_test(test_resume_position),
        cmocka_unit_test(test_shares),           cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_batch_contents),   cmocka_unit_test(test_randaugment),
        cmocka_unit_test(test_concepts),         cmocka_unit_test(test_random_crop),
        cmocka_unit_test(test_bad_record),       cmocka_unit_test(test_wrong_sets),
        cmocka_unit_test(test_resume_anywhere),  cmocka_unit_test(test_listed),
        cmocka_unit_test(test_unfit_sets),       cmocka_unit_test(test_two_sets),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
