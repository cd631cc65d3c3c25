// SPDX-License-Identifier: MIT
// First values of a ViT's input that carry what is known of pictures (recipe key model.init = "structured").
//
// A ViT trained from scratch first has to find that neighbouring pixels belong together and where its patches lie; on a
// few thousand pictures that takes most of the steps there are. Starting from a whitened cosine basis and from 2-D
// sine-cosine positions gives both from the start; every value stays trainable. Threads: one at a time.
#pragma once

#include "train/model/model.h"

// Patch weights [filters, 3, P, P]: the 2-D cosine basis (DCT-II) of lightness and two colour axes, lowest spatial
// frequencies first, with a gain that rises as pictures' spectra fall (Field 1987).
void train_init_dct_patches(TrainModel *model, size_t index);

// Position table [1 + G*G, width]: nn_sincos_positions times `scale`; the class token's row is zero. width % 4 == 0.
void train_init_grid_positions(TrainModel *model, size_t index, double scale);
