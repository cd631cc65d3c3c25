// SPDX-License-Identifier: MIT
// One record to one row of a batch: decode, crop, resize, mirror, normalise; draw a caption, tokenise; draw concepts.
//
// Every draw comes from streams of (seed, epoch, record): one for the image, one for the caption, one for the concepts.
// So a row is the same whichever thread or rank makes it and whatever was made before, and what a caption will be is
// known without its image. Threads: a sampler belongs to one thread; the data and the tokenizer behind it are shared.
#pragma once

#include "base/rng.h"
#include "concepts/concepts.h"
#include "train/batch.h"
#include "train/data.h"

typedef struct TrainSampler TrainSampler;

// `bpe`: the CLIP tokenizer, NULL for objectives that read token ids from the records.
TrainSampler *train_sampler_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe);
void train_sampler_destroy(TrainSampler **sampler);

// Fills `count` rows with the records batch->records. evaluate: no augmentation, the first caption, all concepts;
// else draws of batch->epoch. A record that cannot be used is an error, or with data.on_bad skip is replaced by the
// next one of its part (batch->skipped counts). Rows are padded to the longest of batch->whole (its images are not
// decoded), else of their own.
bool train_sampler_fill(TrainSampler *sampler, TrainBatch *batch, size_t count, bool evaluate, VcErr *err);

// The crop of RandomResizedCrop (torchvision): exported for its test. Box in whole pixels.
typedef struct {
    int x, y, width, height;
} TrainCrop;
TrainCrop train_random_crop(VcRng *rng, int width, int height, double area_min, double area_max, double ratio_max);
