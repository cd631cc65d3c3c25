// SPDX-License-Identifier: MIT
// First values of a ViT that carry what is known of pictures (recipe key model.init = "structured").
//
// A ViT trained from scratch first has to find that neighbouring pixels belong together, where its patches lie and that
// a patch has most to do with those like it and near it; on a few thousand pictures that takes most of the steps there
// are. A whitened cosine basis, 2-D sine-cosine positions and attention that begins as trained attention ends give this
// from the start; every value stays trainable. Threads: one at a time.
#pragma once

#include "train/model/block.h"

// Patch weights [filters, 3, P, P]: the 2-D cosine basis (DCT-II) of lightness and two colour axes, lowest spatial
// frequencies first, with a gain that rises as pictures' spectra fall (Field 1987).
void train_init_dct_patches(TrainModel *model, size_t index);

// Position table [1 + G*G, width] or [1, 1 + G*G, width]: nn_sincos_positions times `scale`; the class token's row is
// zero. width % 4 == 0.
void train_init_grid_positions(TrainModel *model, size_t index, double scale);

// Attention of one layer of `width` (Trockman and Kolter 2023, arXiv 2305.09828): K = Q + 0.3 K and
// O = 0.3 O - 0.4 V^T of the random values that are there, so that Q^T K is near the identity (tokens attend to what is
// like them, and sine-cosine positions make that their neighbours) and O V near minus a part of it. The factors were
// chosen on the demonstration's scenes.
void train_init_mimetic_attention(TrainModel *model, const TrainLayer *layer, size_t width);
