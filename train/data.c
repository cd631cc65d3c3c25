// SPDX-License-Identifier: MIT
#include "train/data.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/pixels.h"

#include <inttypes.h>
#include <stdatomic.h>

struct TrainData {
    const TrainRecipe *recipe;
    IndexReader **readers;
    uint64_t *first; // number of the first record of each set
    size_t count;
    uint64_t total, trained;
    uint64_t *shards; // sizes of all shards of all sets
    size_t shard_count;
    int32_t words; // entries of the WordPiece vocabulary
    int32_t mask;  // number of [MASK] in it
    char fingerprint[65];
    TrainCache *cache;
    atomic_bool *listed; // of a record: named as bad; NULL unless data.on_bad is list
};

// Not the run's seed: runs with other seeds are judged on the same images.
static const uint64_t holdout_seed = 0x686F6C646F7574;

bool train_data_held_out(const TrainData *data, uint64_t record)
{
    return (double)(vc_mix_seed(holdout_seed, record) >> 11) * 0x1p-53 < data->recipe->holdout;
}

void train_data_close(TrainData **data)
{
    TrainData *d = *data;
    if (!d)
        return;
    for (size_t i = 0; i < d->count; i++)
        index_reader_close(&d->readers[i]);
    free(d->readers);
    free(d->first);
    free(d->shards);
    free(d->listed);
    train_cache_destroy(&d->cache);
    free(d);
    *data = NULL;
}

// The first record, or the first that can be read where bad ones may be passed over.
static bool first_good(const TrainData *d, const IndexReader *reader, IndexRecord *record, VcErr *err)
{
    bool ok = index_reader_get(reader, 0, record, err);
    for (uint64_t i = 1; !ok && d->recipe->on_bad != TRAIN_BAD_STOP && i < index_reader_total(reader); i++)
        ok = index_reader_get(reader, i, record, err);
    return ok;
}

// A few records, spread over the set: when all are smaller than the model's input, the set was made for another model.
static bool check_sizes(const TrainData *d, const IndexReader *reader, VcErr *err)
{
    enum { PROBES = 8 };
    const uint64_t total = index_reader_total(reader);
    int64_t largest = 0;
    if (d->recipe->upscale)
        return true;
    for (uint64_t i = 0; i < PROBES && largest < d->recipe->image_size; i++) {
        IndexRecord record;
        ExtractImage image = {0};
        if (!index_reader_get(reader, i * total / PROBES, &record, NULL) || !train_pixels_load(&image, &record, NULL))
            continue; // met again in training, where data.on_bad says what to do
        const int64_t side = image.width < image.height ? image.width : image.height;
        largest = side > largest ? side : largest;
        extract_image_finish(&image);
    }
    if (largest == 0 || largest >= d->recipe->image_size)
        return true;
    return vc_fail(err, VC_ERR_USAGE,
                   "the images of '%s' have short sides of %" PRId64 " pixels, below image.size %" PRId64
                   ": extract larger ones, lower image.size, or say image.upscale=true",
                   index_reader_dir(reader), largest, d->recipe->image_size);
}

static bool check_columns(const TrainData *d, const IndexReader *reader, VcErr *err)
{
    IndexRecord record;
    if (!first_good(d, reader, &record, err))
        return false;
    const char *lacks = NULL;
    if (d->recipe->objective == TRAIN_CLIP) {
        lacks = record.caption.data ? NULL : "caption";
    } else if (!record.caption_ids.data || !record.caption_lens.data) {
        lacks = "caption_ids";
    } else if (d->recipe->concepts && (!record.concept_tokens.data || !record.concept_lens.data)) {
        lacks = "concept_tokens";
    }
    if (lacks) {
        return vc_fail(err, VC_ERR_FORMAT, "records '%s' have no column '%s', which this objective needs",
                       index_reader_dir(reader), lacks);
    }
    return true;
}

// All sets must agree on the vocabulary, and one of records and recipe must know its size.
static bool find_words(TrainData *d, const char *dir, VcErr *err)
{
    int32_t stated = (int32_t)d->recipe->word_vocab, found = index_set_vocabulary(dir);
    int32_t words = stated > 0 ? stated : found;
    if (words == 0 && vc_exists(dir))
        return vc_fail(err, VC_ERR_USAGE, "'%s' does not say the size of its vocabulary: set tokenizer.words", dir);
    if ((found > 0 && words > 0 && found != words) || (d->words > 0 && words != d->words)) {
        return vc_fail(err, VC_ERR_USAGE, "'%s' was made with a vocabulary of %d entries, not %d", dir, (int)found,
                       (int)(d->words > 0 ? d->words : words));
    }
    d->words = words;
    if (d->mask < 0)
        d->mask = d->recipe->mask_id >= 0 ? (int32_t)d->recipe->mask_id : index_set_mask_id(dir);
    return true;
}

// bert-base-uncased's where nobody says anything else.
static bool check_mask(TrainData *d, VcErr *err)
{
    enum { BERT_MASK = 103 };
    if (d->recipe->objective == TRAIN_CLIP || d->recipe->loss_mlm == 0)
        return true;
    if (d->mask < 0)
        d->mask = BERT_MASK;
    return d->mask < d->words ||
           vc_fail(err, VC_ERR_USAGE, "[MASK] would be word %d of a vocabulary of %d: set tokenizer.mask", (int)d->mask,
                   (int)d->words);
}

static bool open_set(TrainData *d, size_t i, const char *workspace, VcErr *err)
{
    char *path = vc_path_join(workspace, d->recipe->records.items[i]);
    bool ok = d->recipe->objective == TRAIN_CLIP || find_words(d, path, err);
    const IndexReaderOptions options = {.crc = true, .vocabulary = d->words};
    ok = ok && index_reader_open(&d->readers[i], path, &options, err);
    free(path);
    if (!ok)
        return false;
    const IndexReader *reader = d->readers[i];
    d->first[i] = d->total;
    d->total += index_reader_total(reader);
    size_t shards = index_reader_shards(reader);
    d->shards = vc_realloc(d->shards, d->shard_count + shards + 1, sizeof *d->shards);
    for (size_t s = 0; s < shards; s++)
        d->shards[d->shard_count++] = index_reader_shard_total(reader, s);
    if (index_reader_total(reader) == 0)
        return vc_fail(err, VC_ERR_FORMAT, "records '%s' are empty", index_reader_dir(reader));
    return check_columns(d, reader, err) && check_sizes(d, reader, err);
}

static void make_fingerprint(TrainData *d)
{
    if (d->count == 1) {
        snprintf(d->fingerprint, sizeof d->fingerprint, "%s", index_reader_fingerprint(d->readers[0]));
        return;
    }
    VcStr all = {0};
    for (size_t i = 0; i < d->count; i++)
        vc_str_put(&all, index_reader_fingerprint(d->readers[i]));
    uint8_t digest[32];
    vc_sha256(all.data, all.len, digest);
    vc_hex(digest, sizeof digest, d->fingerprint);
    vc_str_finish(&all);
}

bool train_data_check_batch(const TrainData *data, uint64_t pairs, VcErr *err)
{
    return data->trained >= pairs || vc_fail(err, VC_ERR_USAGE,
                                             "%" PRIu64 " records to train on (%" PRIu64
                                             " less the held-out ones) do not fill a batch of %" PRIu64
                                             ": lower train.batch or index more images",
                                             data->trained, data->total, pairs);
}

bool train_data_open(TrainData **out, const TrainRecipe *recipe, const char *workspace, VcErr *err)
{
    TrainData *d = vc_calloc(1, sizeof *d);
    d->recipe = recipe;
    d->mask = -1;
    d->count = recipe->records.count;
    d->readers = vc_calloc(d->count, sizeof(void *));
    d->first = vc_calloc(d->count, sizeof *d->first);
    bool ok = true;
    for (size_t i = 0; ok && i < d->count; i++)
        ok = open_set(d, i, workspace, err);
    if (!ok || !check_mask(d, err)) {
        train_data_close(&d);
        return false;
    }
    make_fingerprint(d);
    for (uint64_t i = 0; i < d->total; i++)
        d->trained += !train_data_held_out(d, i);
    if (!train_data_check_batch(d, (uint64_t)recipe->batch, err)) {
        train_data_close(&d);
        return false;
    }
    d->listed = recipe->on_bad == TRAIN_BAD_LIST ? vc_calloc(d->total, sizeof *d->listed) : NULL;
    d->cache = train_cache_create(d->total, (size_t)recipe->cache_mib << 20);
    *out = d;
    return true;
}

int32_t train_data_mask_id(const TrainData *data)
{
    return data->mask;
}

size_t train_data_word_vocabulary(const TrainData *data)
{
    return (size_t)data->words;
}

uint64_t train_data_total(const TrainData *data)
{
    return data->total;
}

uint64_t train_data_trained(const TrainData *data)
{
    return data->trained;
}

const char *train_data_fingerprint(const TrainData *data)
{
    return data->fingerprint;
}

TrainCache *train_data_cache(const TrainData *data)
{
    return data->cache;
}

bool train_data_get(const TrainData *data, uint64_t record, IndexRecord *out, VcErr *err)
{
    VC_ASSERT(record < data->total);
    size_t set = data->count - 1;
    while (data->first[set] > record)
        set--;
    return index_reader_get(data->readers[set], record - data->first[set], out, err);
}

void train_data_list_bad(const TrainData *data, uint64_t record, const VcErr *why)
{
    if (data->listed && !atomic_exchange(&data->listed[record], true))
        vc_warn("passed over: %s", why->text);
}

IndexOrder *train_data_order(const TrainData *data, uint64_t epoch)
{
    return index_order_create_sizes(data->shards, data->shard_count, (uint64_t)data->recipe->seed, epoch,
                                    (uint64_t)data->recipe->window);
}

size_t train_data_captions(const IndexRecord *record)
{
    if (record->caption_lens.data)
        return record->caption_lens.count;
    if (!record->captions.data)
        return 1;
    VcJson *list = NULL;
    size_t n =
        vc_json_parse(&list, record->captions.data, record->captions.size, "captions", NULL) ? vc_json_length(list) : 0;
    vc_json_destroy(&list);
    return n > 0 ? n : 1;
}

bool train_data_caption(const IndexRecord *record, size_t i, VcStr *text, VcErr *err)
{
    if (!record->captions.data) {
        vc_str_putn(text, record->caption.data, record->caption.size);
        return true;
    }
    VcJson *list = NULL;
    if (!vc_json_parse(&list, record->captions.data, record->captions.size, "column 'captions'", err))
        return false;
    size_t n;
    const char *caption = vc_json_string(vc_json_item(list, i), &n);
    if (caption)
        vc_str_putn(text, caption, n);
    vc_json_destroy(&list);
    return caption || vc_fail(err, VC_ERR_FORMAT, "column 'captions' has no caption %zu", i + 1);
}

void train_data_caption_ids(const IndexRecord *record, size_t i, size_t *first, size_t *count)
{
    *first = 0;
    for (size_t k = 0; k < i; k++)
        *first += (size_t)index_int_at(record->caption_lens, k);
    *count = (size_t)index_int_at(record->caption_lens, i);
}
