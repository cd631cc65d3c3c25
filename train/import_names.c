// SPDX-License-Identifier: MIT
#include "train/import_names.h"

#include "base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 512 }; // longer names are not ours

// ---- which layout ----

static bool copy_prefix(TrainNaming *naming, const char *name, const char *ending)
{
    const size_t n = strlen(name), e = strlen(ending);
    if (n < e || n - e >= sizeof naming->prefix || strcmp(name + n - e, ending) != 0)
        return false;
    memcpy(naming->prefix, name, n - e);
    naming->prefix[n - e] = '\0';
    return n == e || name[n - e - 1] == '.';
}

static bool has(const NnSafetensors *set, const char *prefix, const char *rest)
{
    char name[NAME];
    snprintf(name, sizeof name, "%s%s", prefix, rest);
    return nn_safetensors_find(set, name) != NULL;
}

static bool begins(const NnSafetensors *set, const char *prefix)
{
    for (size_t i = 0; i < nn_safetensors_count(set); i++) {
        if (vc_has_prefix(nn_safetensors_at(set, i)->name, prefix))
            return true;
    }
    return false;
}

TrainNaming train_naming_of(const NnSafetensors *set)
{
    static const struct {
        const char *mark, *also; // both stand behind the same prefix
        TrainNames layout;
    } marks[] = {
        {"embeddings.word_embeddings.weight", "embeddings.token_type_embeddings.weight", TRAIN_NAMES_BERT},
        {"embeddings.patch_embeddings.projection.weight", "embeddings.cls_token", TRAIN_NAMES_VIT},
        {"patch_embed.proj.weight", "cls_token", TRAIN_NAMES_TIMM},
    };
    TrainNaming naming = {.layout = TRAIN_NAMES_VICHA};
    if (begins(set, "visual_encoder.") || begins(set, "text_encoder."))
        return naming;
    for (size_t m = 0; m < sizeof marks / sizeof *marks; m++) {
        naming.layout = marks[m].layout;
        for (size_t i = 0; i < nn_safetensors_count(set); i++) {
            if (copy_prefix(&naming, nn_safetensors_at(set, i)->name, marks[m].mark) &&
                has(set, naming.prefix, marks[m].also))
                return naming;
        }
    }
    return (TrainNaming){.layout = TRAIN_NAMES_SAME};
}

const char *train_naming_text(const TrainNaming *naming)
{
    static const char *const texts[] = {[TRAIN_NAMES_SAME] = "this model's names",
                                        [TRAIN_NAMES_VICHA] = "ViCHA or ALBEF",
                                        [TRAIN_NAMES_BERT] = "BERT",
                                        [TRAIN_NAMES_VIT] = "Hugging Face ViT",
                                        [TRAIN_NAMES_TIMM] = "timm ViT"};
    return texts[naming->layout];
}

// ---- one name ----

// Adds tensor PREFIX + name when it is there.
static bool add(TrainNamed *out, const NnSafetensors *set, const char *prefix, const char *name)
{
    char full[NAME];
    const int n = snprintf(full, sizeof full, "%s%s", prefix, name);
    const NnStored *t = n < NAME ? nn_safetensors_find(set, full) : NULL;
    if (t != NULL)
        out->tensors[out->count++] = t;
    return t != NULL;
}

// Old BERT files call a layer norm's gain gamma and its offset beta.
static bool add_bert(TrainNamed *out, const NnSafetensors *set, const char *prefix, const char *name)
{
    static const char *const endings[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                             {"LayerNorm.bias", "LayerNorm.beta"}};
    if (add(out, set, prefix, name))
        return true;
    for (int i = 0; i < 2; i++) {
        if (vc_has_suffix(name, endings[i][0])) {
            char old[NAME];
            snprintf(old, sizeof old, "%.*s%s", (int)(strlen(name) - strlen(endings[i][0])), name, endings[i][1]);
            return add(out, set, prefix, old);
        }
    }
    return false;
}

static void find_bert(TrainNamed *out, const NnSafetensors *set, const char *prefix, const char *target)
{
    static const char *const towers[] = {"text_encoder.bert.", "text_encoder.", "kw_encoder."};
    static const char head[] = "text_encoder.cls.predictions.";
    if (vc_has_prefix(target, head)) {
        const char *rest = target + strlen("text_encoder.");
        if (!add_bert(out, set, "", rest) && strcmp(target + sizeof head - 1, "bias") == 0)
            add(out, set, "", "cls.predictions.decoder.bias");
        return;
    }
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++) {
        if (vc_has_prefix(target, towers[i]) && add_bert(out, set, prefix, target + strlen(towers[i])))
            return;
    }
}

// "blocks.N.REST" -> N and REST.
static bool split_block(const char *name, unsigned *layer, const char **rest)
{
    static const char stem[] = "blocks.";
    char *end;
    if (!vc_has_prefix(name, stem) || !isdigit((unsigned char)name[sizeof stem - 1]))
        return false;
    const unsigned long n = strtoul(name + sizeof stem - 1, &end, 10);
    if (*end != '.' || n > 99999)
        return false;
    *layer = (unsigned)n;
    *rest = end + 1;
    return true;
}

static void find_vit(TrainNamed *out, const NnSafetensors *set, const char *prefix, const char *target)
{
    static const char *const outer[][2] = {
        {"cls_token", "embeddings.cls_token"},
        {"pos_embed", "embeddings.position_embeddings"},
        {"patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"},
        {"patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias"},
        {"norm.weight", "layernorm.weight"},
        {"norm.bias", "layernorm.bias"},
    };
    static const char *const inner[][2] = {
        {"norm1.", "layernorm_before."},     {"norm2.", "layernorm_after."}, {"attn.proj.", "attention.output.dense."},
        {"mlp.fc1.", "intermediate.dense."}, {"mlp.fc2.", "output.dense."},
    };
    static const char joined[] = "attn.qkv.";
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++) {
        if (strcmp(target, outer[i][0]) == 0)
            add(out, set, prefix, outer[i][1]);
    }
    unsigned layer;
    const char *rest;
    if (!split_block(target, &layer, &rest))
        return;
    char name[NAME];
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        if (vc_has_prefix(rest, inner[i][0])) {
            snprintf(name, sizeof name, "encoder.layer.%u.%s%s", layer, inner[i][1], rest + strlen(inner[i][0]));
            add(out, set, prefix, name);
        }
    }
    static const char *const parts[] = {"query", "key", "value"};
    for (size_t i = 0; vc_has_prefix(rest, joined) && i < 3; i++) {
        snprintf(name, sizeof name, "encoder.layer.%u.attention.attention.%s.%s", layer, parts[i],
                 rest + sizeof joined - 1);
        if (!add(out, set, prefix, name))
            out->count = 0;
        if (out->count != i + 1)
            break;
    }
}

// Downstream models of the original drop "bert." from the names of the text encoder.
static void find_vicha(TrainNamed *out, const NnSafetensors *set, const char *target)
{
    static const char *const towers[] = {"text_encoder.bert.", "text_encoder_m.bert."};
    if (add(out, set, "", target))
        return;
    for (int i = 0; i < 2; i++) {
        if (vc_has_prefix(target, towers[i])) {
            char shorter[NAME];
            snprintf(shorter, sizeof shorter, "%.*s%s", (int)strlen(towers[i]) - 5, target, target + strlen(towers[i]));
            add(out, set, "", shorter);
        }
    }
}

TrainNamed train_named(const NnSafetensors *set, const TrainNaming *naming, const char *target)
{
    static const char image_tower[] = "visual_encoder.";
    TrainNamed out = {.count = 0};
    const char *tower = vc_has_prefix(target, image_tower) ? target + sizeof image_tower - 1 : NULL;
    switch (naming->layout) {
    case TRAIN_NAMES_SAME:
        add(&out, set, "", target);
        break;
    case TRAIN_NAMES_VICHA:
        find_vicha(&out, set, target);
        break;
    case TRAIN_NAMES_BERT:
        find_bert(&out, set, naming->prefix, target);
        break;
    case TRAIN_NAMES_VIT:
        if (tower != NULL)
            find_vit(&out, set, naming->prefix, tower);
        break;
    case TRAIN_NAMES_TIMM:
        if (tower != NULL)
            add(&out, set, naming->prefix, tower);
        break;
    }
    return out;
}

const char *train_unused_reason(const char *name)
{
    static const char *const reasons[][2] = {
        {"position_ids", "a buffer that is computed here"},
        {"pooler.", "a pooling layer: the model reads token 0 as it is"},
        {"seq_relationship.", "the head for the next sentence"},
        {"cls.predictions.decoder.", "tied: the word embeddings and the bias are loaded"},
        {"dist_token", "the token of distillation: the model has one class token"},
        {"distillation_token", "the token of distillation: the model has one class token"},
        {"head_dist.", "a classification head"},
        {"classifier", "a classification head"},
        {"head.", "a classification head"},
        {"idx_queue", "of the retrieval task"},
        {"queue", "a queue: it fills anew"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strstr(name, reasons[i][0]) != NULL)
            return reasons[i][1];
    }
    return NULL;
}
