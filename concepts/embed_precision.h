// SPDX-License-Identifier: MIT
// Private to concepts/: in which precision a workspace's vectors are made, and what that needs measured on its own
// images.
//
// One workspace has one precision as it has one model: meta 'embed_precision' says it once there are vectors. int8's
// calibration lies in vectors/calibration-HASH.safetensors, HASH the beginning of the weights' hash; what "auto" found
// is meta 'auto_precision:HASH'. Both are made once. Threads: as concepts_embed.
#pragma once

#include "base/pool.h"
#include "base/workspace.h"
#include "concepts/clip.h"
#include "concepts/embed.h"

// Prepares `model` (clip_prepare) for the precision of `options`. vectors: the workspace has some of this model.
// report->precision and report->why are filled. Another precision than that of the vectors there: VC_ERR_USAGE; auto
// then means theirs.
bool concepts_prepare_precision(VcWorkspace *ws, ClipModel *model, const uint8_t hash[32],
                                const ConceptsEmbedOptions *options, bool vectors, ConceptsEmbedReport *report,
                                VcErr *err);
// Whether the vectors there are of another precision than the options ask for (auto: never).
bool concepts_other_precision(VcWorkspace *ws, const ConceptsEmbedOptions *options, bool *other, VcErr *err);
