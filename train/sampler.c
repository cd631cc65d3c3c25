// SPDX-License-Identifier: MIT
#include "train/sampler.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "extract/extract.h"
#include "train/augment.h"
#include "train/pixels.h"

#include <inttypes.h>
#include <math.h>

struct TrainSampler {
    const TrainRecipe *recipe;
    const TrainData *data;
    const Bpe *bpe;
    BpeCache *cache;
    float table[3][256]; // (u/255 - mean)/std of each channel
    uint8_t *crop;       // pixels of the crop, grown as needed
    size_t crop_cap;
    uint8_t *scaled, *scratch; // S x S x 3
    TrainPixels *decoded;
    size_t decoded_cap;
    VcStr caption;
    int32_t *ids; // of a record of another rank
};

enum { MAX_STAND_INS = 100 }; // in a row, for one bad record: more is not a bad record but a bad set

// The independent streams of a record in an epoch. That of crop and mirror is the record's own.
enum { STREAM_CAPTION = 1, STREAM_CONCEPTS, STREAM_AUGMENT };

static uint64_t record_seed(const TrainSampler *s, uint64_t epoch, uint64_t number)
{
    return vc_mix_seed(vc_mix_seed((uint64_t)s->recipe->seed, epoch + 1), number);
}

static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_std[3] = {0.26862954f, 0.26130258f, 0.27577711f};

TrainSampler *train_sampler_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe)
{
    TrainSampler *s = vc_calloc(1, sizeof *s);
    s->recipe = recipe;
    s->data = data;
    s->bpe = bpe;
    s->cache = bpe ? bpe_cache_create() : NULL;
    size_t side = (size_t)recipe->image_size;
    s->scaled = vc_alloc(side * side, 3);
    s->scratch = vc_alloc(side * side, 3);
    s->ids = vc_alloc((size_t)recipe->context + TRAIN_CONCEPT_TOKENS, sizeof *s->ids);
    for (int c = 0; c < 3; c++) {
        for (int u = 0; u < 256; u++)
            s->table[c][u] = ((float)u / 255.0f - clip_mean[c]) / clip_std[c];
    }
    return s;
}

void train_sampler_destroy(TrainSampler **sampler)
{
    TrainSampler *s = *sampler;
    if (!s)
        return;
    bpe_cache_destroy(&s->cache);
    free(s->crop);
    free(s->scaled);
    free(s->scratch);
    free(s->decoded);
    vc_str_finish(&s->caption);
    free(s->ids);
    free(s);
    *sampler = NULL;
}

TrainCrop train_random_crop(VcRng *rng, int width, int height, double area_min, double area_max, double ratio_max)
{
    double area = (double)width * height, bound = log(ratio_max);
    for (int attempt = 0; attempt < 10; attempt++) {
        double target = area * (area_min + (area_max - area_min) * vc_rng_uniform(rng));
        double ratio = exp(bound * (2 * vc_rng_uniform(rng) - 1));
        int w = (int)nearbyint(sqrt(target * ratio)), h = (int)nearbyint(sqrt(target / ratio));
        if (w < 1 || h < 1 || w > width || h > height)
            continue;
        int y = (int)vc_rng_below(rng, (uint64_t)(height - h) + 1),
            x = (int)vc_rng_below(rng, (uint64_t)(width - w) + 1);
        return (TrainCrop){x, y, w, h};
    }
    // the centre, with the aspect ratio clamped
    int w = width, h = height;
    if ((double)width / height < 1 / ratio_max) {
        h = (int)nearbyint(width * ratio_max);
    } else if ((double)width / height > ratio_max) {
        w = (int)nearbyint(height * ratio_max);
    }
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    return (TrainCrop){(width - w) / 2, (height - h) / 2, w, h};
}

// torchvision crops before it resizes: pixels outside the crop do not shine in.
static void resize_crop(TrainSampler *s, const TrainPixels *image, TrainCrop crop)
{
    int side = (int)s->recipe->image_size;
    size_t row = 3 * (size_t)crop.width;
    s->crop = vc_grow(s->crop, &s->crop_cap, row * (size_t)crop.height, 1);
    for (int y = 0; y < crop.height; y++) {
        memcpy(s->crop + (size_t)y * row,
               image->pixels + 3 * ((size_t)(crop.y + y) * (size_t)image->width + (size_t)crop.x), row);
    }
    extract_resample(s->scaled, s->crop, crop.width, crop.height, 3, (ExtractBox){0, 0, crop.width, crop.height}, side,
                     side, (ExtractWindow){0, 0, side, side});
}

// Evaluation. clip: as the exported model's preprocessor, short side to S and the centre; vicha-itc: squeezed to S x S.
static void resize_whole(TrainSampler *s, const TrainPixels *image)
{
    int side = (int)s->recipe->image_size, w = side, h = side;
    if (s->recipe->objective == TRAIN_CLIP) {
        if (image->width <= image->height) {
            h = (int)((int64_t)side * image->height / image->width);
        } else {
            w = (int)((int64_t)side * image->width / image->height);
        }
    }
    extract_resample(s->scaled, image->pixels, image->width, image->height, 3,
                     (ExtractBox){0, 0, image->width, image->height}, w, h,
                     (ExtractWindow){(w - side) / 2, (h - side) / 2, side, side});
}

// The pixels of a record from the cache, or decoded: then they are the sampler's until the next call.
static const TrainPixels *find_pixels(TrainSampler *s, const IndexRecord *record, uint64_t number, VcErr *err)
{
    TrainCache *cache = train_data_cache(s->data);
    const TrainPixels *kept = train_cache_find(cache, number);
    if (kept)
        return kept;
    ExtractImage image = {0};
    if (!train_pixels_load(&image, record, err))
        return NULL;
    VC_ASSERT(image.pixels && image.width > 0 && image.height > 0);
    size_t bytes = 3 * (size_t)image.width * (size_t)image.height;
    s->decoded = vc_grow(s->decoded, &s->decoded_cap, sizeof *s->decoded + bytes, 1);
    s->decoded->width = image.width;
    s->decoded->height = image.height;
    memcpy(s->decoded->pixels, image.pixels, bytes);
    train_cache_keep(cache, number, image.pixels, image.width, image.height);
    extract_image_finish(&image);
    return s->decoded;
}

// Left for right, in place.
static void mirror(uint8_t *pixels, size_t side)
{
    for (size_t y = 0; y < side; y++) {
        uint8_t *left = pixels + 3 * y * side, *right = left + 3 * (side - 1);
        for (; left < right; left += 3, right -= 3) {
            uint8_t kept[3];
            memcpy(kept, left, 3);
            memcpy(left, right, 3);
            memcpy(right, kept, 3);
        }
    }
}

static void augment(TrainSampler *s, uint64_t seed)
{
    const TrainRecipe *r = s->recipe;
    TrainAugment drawn[TRAIN_AUGMENT_MOST];
    VcRng rng;
    if (r->randaugment_n == 0)
        return;
    vc_rng_seed(&rng, vc_mix_seed(seed, STREAM_AUGMENT));
    size_t n = train_augment_draw(&rng, (size_t)r->randaugment_n, r->randaugment_m, drawn);
    for (size_t i = 0; i < n; i++) {
        train_augment_apply(drawn[i], s->scaled, s->scratch, (int)r->image_size, (int)r->image_size,
                            r->randaugment_original);
    }
}

// seed: of the record's draws; NULL: as in evaluation.
static bool fill_image(TrainSampler *s, const IndexRecord *record, uint64_t number, const uint64_t *seed, nn_real *out,
                       VcErr *err)
{
    const TrainRecipe *r = s->recipe;
    const TrainPixels *image = find_pixels(s, record, number, err);
    if (!image)
        return false;
    if (seed) {
        VcRng rng;
        vc_rng_seed(&rng, *seed);
        resize_crop(s, image,
                    train_random_crop(&rng, image->width, image->height, r->crop_min, r->crop_max, r->ratio_max));
        if (r->flip && vc_rng_uniform(&rng) < 0.5)
            mirror(s->scaled, (size_t)r->image_size);
        augment(s, *seed);
    } else {
        resize_whole(s, image);
    }
    size_t side = (size_t)r->image_size;
    for (size_t c = 0; c < 3; c++) {
        const float *table = s->table[c];
        for (size_t y = 0; y < side; y++) {
            const uint8_t *from = s->scaled + 3 * y * side + c;
            float *to = out + (c * side + y) * side;
            for (size_t x = 0; x < side; x++)
                to[x] = table[from[3 * x]];
        }
    }
    return true;
}

// Writes at most recipe->context ids of a caption, drawn from its stream of `seed`, or the first (NULL). *n: how many.
static bool put_caption(TrainSampler *s, const IndexRecord *record, const uint64_t *seed, int32_t *ids, size_t *n,
                        VcErr *err)
{
    size_t context = (size_t)s->recipe->context, captions = train_data_captions(record), chosen = 0;
    if (captions == 0)
        return vc_fail(err, VC_ERR_FORMAT, "no caption");
    if (seed && captions > 1) {
        VcRng rng;
        vc_rng_seed(&rng, vc_mix_seed(*seed, STREAM_CAPTION));
        chosen = (size_t)vc_rng_below(&rng, captions);
    }
    if (s->bpe) {
        vc_str_clear(&s->caption);
        if (!train_data_caption(record, chosen, &s->caption, err))
            return false;
        *n = bpe_encode(s->bpe, s->cache, BPE_CLEAN_HF, vc_str_get(&s->caption), s->caption.len, ids, context);
    } else {
        size_t first, count;
        train_data_caption_ids(record, chosen, &first, &count);
        *n = count < context ? count : context;
        for (size_t i = 0; i < *n; i++)
            ids[i] = index_int_at(record->caption_ids, first + i);
    }
    return *n > 0 || vc_fail(err, VC_ERR_FORMAT, "a caption without tokens");
}

// [CLS] and the pieces of the concepts drawn from their stream of `seed` (with replacement), or of all in order (NULL).
static size_t put_concepts(const TrainSampler *s, const IndexRecord *record, const uint64_t *seed, int32_t *ids)
{
    size_t all = record->concept_lens.count, draws = all, n = 0;
    VcRng rng;
    if (s->recipe->concept_share == 0)
        seed = NULL;
    if (seed) {
        draws = (size_t)(s->recipe->concept_share * (double)all);
        vc_rng_seed(&rng, vc_mix_seed(*seed, STREAM_CONCEPTS));
    }
    ids[n++] = index_int_at(record->caption_ids, 0); // [CLS], whatever its number
    for (size_t d = 0; all > 0 && d < draws; d++) {
        size_t chosen = seed ? (size_t)vc_rng_below(&rng, all) : d, first = 0;
        for (size_t k = 0; k < chosen; k++)
            first += (size_t)index_int_at(record->concept_lens, k);
        size_t count = (size_t)index_int_at(record->concept_lens, chosen);
        for (size_t i = 0; i < count && n < TRAIN_CONCEPT_TOKENS; i++)
            ids[n++] = index_int_at(record->concept_tokens, first + i);
    }
    return n;
}

static bool wants_concepts(const TrainSampler *s)
{
    return !s->bpe && s->recipe->concepts;
}

// Rows of ids are written as far apart as they may get; close_up moves them together when the longest is known.
static bool fill_row(TrainSampler *s, TrainBatch *b, size_t row, uint64_t number, bool evaluate, VcErr *err)
{
    const TrainRecipe *r = s->recipe;
    size_t side = (size_t)r->image_size, n = 0;
    const uint64_t seed = record_seed(s, b->epoch, number), *draws = evaluate ? NULL : &seed;
    IndexRecord record;
    if (!train_data_get(s->data, number, &record, err))
        return false;
    b->image_ids[row] = record.image_id;
    if (!fill_image(s, &record, number, draws, b->images + row * 3 * side * side, err) ||
        !put_caption(s, &record, draws, b->ids + row * (size_t)r->context, &n, err))
        return vc_prefix(err, "record %" PRIu64 " (image %" PRId64 ")", number, record.image_id);
    b->last[row] = (int32_t)n - 1;
    if (wants_concepts(s)) {
        n = put_concepts(s, &record, draws, b->concepts + row * TRAIN_CONCEPT_TOKENS);
        b->concept_last[row] = (int32_t)n - 1;
    }
    return true;
}

static size_t longest_of(const int32_t *last, size_t rows)
{
    size_t longest = 1;
    for (size_t i = 0; i < rows; i++)
        longest = (size_t)last[i] + 1 > longest ? (size_t)last[i] + 1 : longest;
    return longest;
}

// Moves rows of `wide` ids together to rows of `length`, pads, and makes the mask.
static void close_up(int32_t *ids, float *mask, const int32_t *last, size_t rows, size_t wide, size_t length,
                     int32_t pad)
{
    for (size_t i = 0; i < rows; i++) {
        size_t n = (size_t)last[i] + 1;
        memmove(ids + i * length, ids + i * wide, n * sizeof *ids);
        for (size_t j = 0; j < length; j++) {
            mask[i * length + j] = j < n ? 0 : -10000;
            if (j >= n)
                ids[i * length + j] = pad;
        }
    }
}

static void find_groups(TrainBatch *b, size_t rows)
{
    size_t bytes = b->tokens * sizeof *b->ids;
    for (size_t i = 0; i < rows; i++) {
        b->group[i] = (int32_t)i;
        for (size_t j = 0; j < i; j++) {
            if (memcmp(b->ids + i * b->tokens, b->ids + j * b->tokens, bytes) == 0) {
                b->group[i] = (int32_t)j;
                break;
            }
        }
    }
}

// The stand-in of a bad record: the next of the same part, the same one in every run.
static uint64_t next_of_part(const TrainData *data, uint64_t record)
{
    bool held = train_data_held_out(data, record);
    do {
        record = (record + 1) % train_data_total(data);
    } while (train_data_held_out(data, record) != held);
    return record;
}

// Makes room in *tokens and *concepts for what other ranks have in their shares. A record that is bad in itself has a
// stand-in there as it would have here; one whose image alone is bad is known to its own rank only, which costs that
// batch the equal padding.
static void widen(TrainSampler *s, const TrainBatch *b, size_t *tokens, size_t *concepts)
{
    for (size_t i = 0; i < b->whole_count; i++) {
        uint64_t number = b->whole[i];
        IndexRecord record;
        size_t n = 0, tries = 0;
        while (!train_data_get(s->data, number, &record, NULL) && tries++ < MAX_STAND_INS)
            number = next_of_part(s->data, number);
        if (tries > MAX_STAND_INS)
            continue; // the rank that has it stops the run
        uint64_t seed = record_seed(s, b->epoch, number);
        if (put_caption(s, &record, &seed, s->ids, &n, NULL) && n > *tokens)
            *tokens = n;
        n = wants_concepts(s) ? put_concepts(s, &record, &seed, s->ids) : 0;
        if (n > *concepts)
            *concepts = n;
    }
}

bool train_sampler_fill(TrainSampler *s, TrainBatch *b, size_t count, bool evaluate, VcErr *err)
{
    const TrainRecipe *r = s->recipe;
    b->skipped = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = b->records[i];
        VcErr bad = {0};
        for (size_t tries = 0; !fill_row(s, b, i, number, evaluate, &bad); tries++) {
            if (r->on_bad == TRAIN_BAD_STOP || tries == MAX_STAND_INS) {
                if (err)
                    *err = bad;
                return false;
            }
            train_data_list_bad(s->data, number, &bad);
            b->skipped++;
            b->records[i] = number = next_of_part(s->data, number);
            bad = (VcErr){0};
        }
    }
    b->count = count;
    b->tokens = longest_of(b->last, count);
    b->concept_tokens = wants_concepts(s) ? longest_of(b->concept_last, count) : 0;
    if (!evaluate)
        widen(s, b, &b->tokens, &b->concept_tokens);
    close_up(b->ids, b->mask, b->last, count, (size_t)r->context, b->tokens, s->bpe ? bpe_pad_id(s->bpe) : 0);
    if (wants_concepts(s))
        close_up(b->concepts, b->concept_mask, b->concept_last, count, TRAIN_CONCEPT_TOKENS, b->concept_tokens, 0);
    find_groups(b, count);
    return true;
}
