// SPDX-License-Identifier: MIT
#include "train/recipe_keys.h"

#include "base/cpu.h"
#include "nn/nn.h"

#include <inttypes.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool check_tower(const TrainTower *tower, const char *name, VcErr *err)
{
    if (tower->width % tower->heads != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.%s.width %" PRId64 " is not a multiple of its %" PRId64 " heads", name,
                       tower->width, tower->heads);
    }
    return true;
}

static bool check_text(TrainRecipe *r, VcErr *err)
{
    const bool fuses = r->loss_itm > 0 || r->loss_mlm > 0;
    if (!fuses) {
        r->fusion_layer = r->text.layers;
    } else if (r->fusion_layer == 0) {
        r->fusion_layer = r->text.layers / 2;
    }
    if (r->fusion_layer < 1 || r->fusion_layer > r->text.layers || (fuses && r->fusion_layer == r->text.layers)) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: loss.itm and loss.mlm need text layers below and fusion layers from "
                       "model.text.fusion_layer %" PRId64 " on; model.text.layers is %" PRId64,
                       r->fusion_layer, r->text.layers);
    }
    if (r->positions < r->context) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.text.positions %" PRId64 " is below model.text.context %" PRId64, r->positions,
                       r->context);
    }
    return true;
}

static bool check_levels(TrainRecipe *r, VcErr *err)
{
    if (r->loss_hitc == 0)
        return true;
    const int64_t most = least(r->vision.layers - 1, r->fusion_layer);
    if (r->hitc_levels == 0)
        r->hitc_levels = least(5, most);
    if (r->hitc_levels < 1 || r->hitc_levels > most) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: loss.hitc with %" PRId64 " levels needs as many image blocks before the last and text "
                       "layers; there are %" PRId64,
                       r->hitc_levels, most);
    }
    if (r->hitc_weights.count > 0 && (int64_t)r->hitc_weights.count != r->hitc_levels) {
        return vc_fail(err, VC_ERR_USAGE, "recipe: loss.hitc_weights has %zu numbers for %" PRId64 " levels",
                       r->hitc_weights.count, r->hitc_levels);
    }
    return true;
}

static bool check_decoder(TrainRecipe *r, VcErr *err)
{
    TrainTower *d = &r->decoder;
    if (d->width == 0)
        d->width = r->vision.width;
    if (d->heads == 0)
        d->heads = d->width % 16 == 0 ? 16 : r->vision.heads;
    if (d->mlp == 0)
        d->mlp = 4 * d->width;
    if (r->loss_mim == 0)
        return true;
    const int64_t patches = (r->image_size / r->patch) * (r->image_size / r->patch);
    const int64_t seen = (int64_t)((double)patches * (1 - r->mim_ratio));
    if (seen < 1 || seen >= patches) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: loss.mim_ratio %g leaves %" PRId64 " of %" PRId64 " patches seen; some must be, and "
                       "some hidden",
                       r->mim_ratio, seen, patches);
    }
    if (d->width % 4 != 0) {
        return vc_fail(err, VC_ERR_USAGE, "recipe: model.decoder.width %" PRId64 " is not a multiple of 4", d->width);
    }
    return check_tower(d, "decoder", err);
}

static bool check_vicha(TrainRecipe *r, VcErr *err)
{
    if (!check_text(r, err) || !check_levels(r, err) || !check_decoder(r, err))
        return false;
    if (!(r->loss_itc + r->loss_hitc + r->loss_itm + r->loss_mlm + r->loss_mim > 0))
        return vc_fail(err, VC_ERR_USAGE, "recipe: every weight of loss.* is 0: nothing to train");
    if (!r->momentum) {
        r->queue = 0;
    } else if (r->queue % r->batch != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.queue %" PRId64 " is not a multiple of train.batch %" PRId64 " (%" PRId64
                       " would be)",
                       r->queue, r->batch, r->queue / r->batch * r->batch);
    }
    return true;
}

bool recipe_check(TrainRecipe *recipe, VcErr *err)
{
    if (recipe->init == TRAIN_INIT_STRUCTURED && recipe->vision.width % 4 != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.init \"structured\" needs a model.vision.width that is a "
                       "multiple of 4");
    }
    if (recipe->precision == TRAIN_PRECISION_AUTO)
        recipe->precision = vc_cpu_flags() & VC_CPU_AVX512_BF16 ? NN_PRECISION_BF16 : NN_PRECISION_FP32;
    if (recipe->vision.mlp == 0)
        recipe->vision.mlp = 4 * recipe->vision.width;
    if (recipe->text.mlp == 0)
        recipe->text.mlp = 4 * recipe->text.width;
    if (!check_tower(&recipe->vision, "vision", err) || !check_tower(&recipe->text, "text", err))
        return false;
    if (recipe->image_size % recipe->patch != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: image.size %" PRId64 " is not a multiple of model.vision.patch %" PRId64,
                       recipe->image_size, recipe->patch);
    }
    if (recipe->crop_min > recipe->crop_max) {
        return vc_fail(err, VC_ERR_USAGE, "recipe: image.crop_min %g is above image.crop_max %g", recipe->crop_min,
                       recipe->crop_max);
    }
    if (recipe->objective != TRAIN_CLIP)
        return check_vicha(recipe, err);
    bool files = *recipe->tokenizer_vocab || *recipe->tokenizer_merges;
    if (files && (!*recipe->tokenizer_vocab || !*recipe->tokenizer_merges))
        return vc_fail(err, VC_ERR_USAGE, "recipe: tokenizer.vocab and tokenizer.merges go together");
    if (files && *recipe->tokenizer_dir)
        return vc_fail(err, VC_ERR_USAGE, "recipe: give tokenizer.dir or tokenizer.vocab and .merges, not both");
    if (files || *recipe->tokenizer_dir) {
        recipe->tokenizer_learn = 0; // a tokenizer that is named wins over the default of learning one
    } else if (recipe->tokenizer_learn < 515) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: name a tokenizer (tokenizer.dir, or .vocab and .merges) or learn one of at least 515 "
                       "entries (tokenizer.learn: 512 byte symbols, a merge and two special tokens)");
    }
    return true;
}
