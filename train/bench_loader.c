// SPDX-License-Identifier: MIT
// How fast one worker makes rows of batches.
#include "base/clock.h"
#include "base/log.h"
#include "extract/extract.h"
#include "train/sampler.h"
#include "train/train.h"

// Fills batches in the order of epoch 0 until `images` rows were made; the set comes again when it is shorter.
static bool fill(TrainSampler *sampler, const TrainData *data, TrainBatch *batch, uint64_t images,
                 TrainBenchLoader *out, VcErr *err)
{
    const uint64_t total = train_data_total(data), rows = batch->count;
    IndexOrder *order = train_data_order(data, 0);
    // libvips decodes on a thread of its own: the time of the whole process is what an image costs
    const double start = vc_now(), start_cpu = vc_process_time();
    bool ok = true;
    *out = (TrainBenchLoader){0};
    for (uint64_t at = 0; ok && out->images < images; out->images += rows) {
        for (uint64_t i = 0; i < rows; i++)
            batch->records[i] = index_order_at(order, at++ % total);
        ok = train_sampler_fill(sampler, batch, rows, false, err) &&
             (!vc_interrupted() || vc_fail(err, VC_ERR_CANCELLED, "interrupted"));
    }
    out->seconds = vc_now() - start;
    out->cpu_seconds = vc_process_time() - start_cpu;
    index_order_destroy(&order);
    return ok;
}

bool train_bench_loader(const TrainRecipe *recipe, const char *workspace, uint64_t images, bool cached,
                        TrainBenchLoader *bench, VcErr *err)
{
    TrainRecipe r = *recipe; // borrows the strings
    TrainData *data = NULL;
    TrainSampler *sampler = NULL;
    TrainBatch batch = {0};
    if (r.objective == TRAIN_CLIP) { // its captions cost nothing next to its images
        r.objective = TRAIN_VICHA;
        r.concepts = false;
        r.loss_mlm = 0;
    }
    if (!cached)
        r.cache_mib = 0;
    bool ok = extract_image_init(err) && train_data_open(&data, &r, workspace, err);
    if (ok) {
        sampler = train_sampler_create(&r, data, NULL);
        train_batch_init(&batch, &r, (size_t)r.batch);
        ok = (!cached || fill(sampler, data, &batch, train_data_total(data), bench, err)) &&
             fill(sampler, data, &batch, images, bench, err);
        extract_image_thread_end();
    }
    train_batch_finish(&batch);
    train_sampler_destroy(&sampler);
    train_data_close(&data);
    return ok;
}
