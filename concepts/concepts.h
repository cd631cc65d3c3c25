// SPDX-License-Identifier: MIT
// Visual concepts: captions to a vocabulary, images and concepts to CLIP vectors, the best concepts of every image,
// and looking things up afterwards. The only header of this folder that other folders include.
//
// Threads: as each header below says.
#pragma once

#include "concepts/caption.h"
#include "concepts/caption_train.h"
#include "concepts/cells.h"
#include "concepts/clip.h"
#include "concepts/duplicates.h"
#include "concepts/embed.h"
#include "concepts/export.h"
#include "concepts/filter.h"
#include "concepts/index_vectors.h"
#include "concepts/mine.h"
#include "concepts/mine_top.h"
#include "concepts/nearest.h"
#include "concepts/postings.h"
#include "concepts/search.h"
#include "concepts/statistics.h"
#include "concepts/stats.h"
#include "concepts/store.h"
#include "concepts/tokenizer_bpe.h"
#include "concepts/vectors.h"
#include "concepts/vectors_i8.h"
#include "concepts/vocabulary.h"
