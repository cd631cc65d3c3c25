// SPDX-License-Identifier: MIT
// The images of a workspace to vectors: what concepts_embed does after the concepts. Internal to concepts/.
#pragma once

#include "concepts/embed.h"
#include "concepts/store.h"

// All stored images without a vector, in the order of their ids. What was finished is committed in steps, also when
// the run is interrupted. Fills the report's parts on images.
bool concepts_embed_images(VcWorkspace *ws, const ClipModel *clip, const ConceptsModel *model,
                           const ConceptsEmbedOptions *options, ConceptsEmbedReport *report, VcErr *err);
