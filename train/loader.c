// SPDX-License-Identifier: MIT
#include "train/loader.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "extract/extract.h"

#include <pthread.h>
#include <string.h>

typedef enum { SLOT_FREE, SLOT_FILLING, SLOT_READY } SlotState;

typedef struct {
    TrainBatch batch;
    uint64_t *whole; // records of the global batch, those of batch.records among them
    SlotState state;
    bool failed;
    VcErr error;
} Slot;

struct TrainLoader {
    const TrainRecipe *recipe;
    const TrainData *data;
    const Bpe *bpe;
    TrainShare share;
    uint64_t global;  // records of a global batch
    uint64_t batches; // global ones of an epoch

    pthread_mutex_t lock; // guards all below
    pthread_cond_t changed;
    Slot *slots; // batch k of this loader lies in slot k % slot_count
    size_t slot_count;
    uint64_t claimed, taken; // batches given to workers, and to the consumer
    bool holding;            // the consumer still has batch taken-1
    bool stop;
    uint64_t epoch, number; // of the next claim
    uint64_t position;      // in the order of the epoch
    IndexOrder *order;

    pthread_t *threads;
    size_t thread_count;
    double waited;
};

// The next record of the epoch's order that is trained on.
static uint64_t next_record(TrainLoader *l)
{
    for (;;) {
        uint64_t record = index_order_at(l->order, l->position++);
        if (!train_data_held_out(l->data, record))
            return record;
    }
}

static void start_epoch(TrainLoader *l, uint64_t epoch)
{
    index_order_destroy(&l->order);
    l->order = train_data_order(l->data, epoch);
    l->epoch = epoch;
    l->number = 0;
    l->position = 0;
}

// Under the lock: takes the next batch number and writes down its records. The rest of the work needs no lock.
static Slot *claim(TrainLoader *l)
{
    Slot *slot = &l->slots[l->claimed++ % l->slot_count];
    if (l->number == l->batches)
        start_epoch(l, l->epoch + 1);
    slot->state = SLOT_FILLING;
    slot->batch.epoch = l->epoch;
    slot->batch.number = l->number++;
    uint64_t rows = (uint64_t)l->recipe->batch;
    for (uint64_t i = 0; i < l->global; i++)
        slot->whole[i] = next_record(l);
    memcpy(slot->batch.records, slot->whole + l->share.rank * rows, rows * sizeof *slot->whole);
    return slot;
}

static void *work(void *arg)
{
    TrainLoader *l = arg;
    TrainSampler *sampler = train_sampler_create(l->recipe, l->data, l->bpe);
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->stop && l->slots[l->claimed % l->slot_count].state != SLOT_FREE)
            pthread_cond_wait(&l->changed, &l->lock);
        if (l->stop)
            break;
        Slot *slot = claim(l);
        pthread_mutex_unlock(&l->lock);
        bool ok = train_sampler_fill(sampler, &slot->batch, (size_t)l->recipe->batch, false, &slot->error);
        pthread_mutex_lock(&l->lock);
        slot->failed = !ok;
        slot->state = SLOT_READY;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    train_sampler_destroy(&sampler);
    extract_image_thread_end();
    return NULL;
}

TrainLoader *train_loader_create(const TrainRecipe *recipe, const TrainData *data, const Bpe *bpe,
                                 const TrainShare *share, uint64_t epoch, uint64_t number)
{
    TrainLoader *l = vc_calloc(1, sizeof *l);
    l->recipe = recipe;
    l->data = data;
    l->bpe = bpe;
    l->share = share ? *share : (TrainShare){0, 1};
    VC_ASSERT(l->share.rank < l->share.ranks);
    l->global = (uint64_t)recipe->batch * l->share.ranks;
    l->batches = train_data_trained(data) / l->global;
    VC_ASSERT(l->batches > 0);
    l->slot_count = (size_t)recipe->prefetch + 1; // one is with the consumer
    l->slots = vc_calloc(l->slot_count, sizeof *l->slots);
    for (size_t i = 0; i < l->slot_count; i++) {
        train_batch_init(&l->slots[i].batch, recipe, (size_t)recipe->batch);
        l->slots[i].whole = vc_alloc(l->global, sizeof *l->slots[i].whole);
        if (l->share.ranks > 1) {
            l->slots[i].batch.whole = l->slots[i].whole;
            l->slots[i].batch.whole_count = l->global;
        }
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    start_epoch(l, epoch);
    for (; l->number < number && l->number < l->batches; l->number++) {
        for (uint64_t i = 0; i < l->global; i++)
            next_record(l);
    }
    l->thread_count = (size_t)recipe->workers;
    l->threads = vc_calloc(l->thread_count, sizeof *l->threads);
    for (size_t i = 0; i < l->thread_count; i++)
        VC_ASSERT(pthread_create(&l->threads[i], NULL, work, l) == 0);
    return l;
}

void train_loader_destroy(TrainLoader **loader)
{
    TrainLoader *l = *loader;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    for (size_t i = 0; i < l->slot_count; i++) {
        train_batch_finish(&l->slots[i].batch);
        free(l->slots[i].whole);
    }
    index_order_destroy(&l->order);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l->slots);
    free(l->threads);
    free(l);
    *loader = NULL;
}

bool train_loader_next(TrainLoader *l, const TrainBatch **batch, VcErr *err)
{
    pthread_mutex_lock(&l->lock);
    if (l->holding) {
        l->slots[(l->taken - 1) % l->slot_count].state = SLOT_FREE;
        l->holding = false;
        pthread_cond_broadcast(&l->changed);
    }
    Slot *slot = &l->slots[l->taken % l->slot_count];
    if (slot->state != SLOT_READY) {
        double start = vc_now();
        while (slot->state != SLOT_READY)
            pthread_cond_wait(&l->changed, &l->lock);
        l->waited += vc_now() - start;
    }
    bool failed = slot->failed;
    if (failed && err)
        *err = slot->error;
    if (!failed) {
        l->taken++;
        l->holding = true;
        *batch = &slot->batch;
    }
    pthread_mutex_unlock(&l->lock);
    return !failed;
}

double train_loader_waited(const TrainLoader *loader)
{
    return loader->waited;
}

uint64_t train_loader_batches(const TrainLoader *loader)
{
    return loader->batches;
}
