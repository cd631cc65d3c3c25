// SPDX-License-Identifier: MIT
// Names of the same weight in the files people publish: which layout a file has, and which of its tensors a parameter
// of the model comes from. The model's own names are the original's (docs/FORMATS.md). Threads: any.
#pragma once

#include "nn/nn.h"

typedef enum {
    TRAIN_NAMES_SAME,  // the model's own, whatever they are (Hugging Face CLIP for objective clip)
    TRAIN_NAMES_VICHA, // ViCHA's and ALBEF's state dicts: visual_encoder., text_encoder.[bert.], kw_encoder., ..._m.
    TRAIN_NAMES_BERT,  // Hugging Face BERT: [bert.]embeddings., encoder.layer.N., cls.predictions.
    TRAIN_NAMES_VIT,   // Hugging Face ViT and DeiT: [vit.|deit.]embeddings., encoder.layer.N.
    TRAIN_NAMES_TIMM,  // timm's and DeiT's own ViT: cls_token, pos_embed, blocks.N.
} TrainNames;

typedef struct {
    TrainNames layout;
    char prefix[64]; // before every name of the tower: "", "bert.", "vit.", "deit."
} TrainNaming;

// Which layout the set has, by the names in it.
TrainNaming train_naming_of(const NnSafetensors *set);
const char *train_naming_text(const TrainNaming *naming); // for people: "BERT", "timm ViT"

// The tensors that parameter `target` is made of: one, or three to be joined row by row (query, key, value).
typedef struct {
    const NnStored *tensors[3];
    size_t count; // 0: the set has none
} TrainNamed;
TrainNamed train_named(const NnSafetensors *set, const TrainNaming *naming, const char *target);

// Why a tensor of a file has no place in the model, as far as its name tells; NULL when it does not.
const char *train_unused_reason(const char *name);
