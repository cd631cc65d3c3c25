// SPDX-License-Identifier: MIT
// Multiply-adds of a pair, as the spec's 7.2 counts them, and as they are done here: keys and values of the images made
// once, the head on hidden words alone, the last fusion layer of ITM on the class token, pixels of hidden patches
// alone.
#include "base/str.h"
#include "train/model/vicha.h"

typedef struct {
    const Vicha *v;
    const TrainRecipe *r;
    double patches, concepts, tokens, image_tokens, cv, ct, e, words, selected;
    bool teachers;
} Shape;

static double times(size_t n, double macs)
{
    return (double)n * macs;
}

// A BERT layer with cross-attention over `tokens`, keys and values of the images apart.
static double fusion_layer(const Shape *s)
{
    const TrainLayerShape *l = &s->v->student.text.shape;
    return train_layer_macs(l, s->tokens) + train_cross_macs(l, s->tokens, s->image_tokens);
}

static double keys_macs(const Shape *s)
{
    const TrainBert *text = &s->v->student.text;
    return times(text->count - text->fusion, train_cross_keys_macs(&text->shape, s->cv, s->image_tokens));
}

// The last layer where one token of a text is read: its keys and values are of all tokens, the rest of one.
static double pooled_fusion_layer(const Shape *s)
{
    const TrainLayerShape *l = &s->v->student.text.shape;
    const double c = s->ct;
    return s->tokens * 2 * c * c + 2 * c * c + 2 * s->tokens * c + 2 * c * (double)l->mlp +
           train_cross_macs(l, 1, s->image_tokens);
}

static void add(TrainCost *costs, size_t *n, TrainCost cost)
{
    costs[(*n)++] = cost;
}

static void add_towers(const Shape *s, TrainCost *costs, size_t *n)
{
    const VichaNet *net = &s->v->student;
    const double columns = 3 * (double)(s->r->patch * s->r->patch), on = s->teachers;
    if (s->r->concepts) {
        const double macs = times(net->concepts.count, train_layer_macs(&net->concepts.shape, s->concepts)) +
                            s->concepts * s->ct * s->cv;
        const double kept = times(net->concepts.count, train_layer_kept(&net->concepts.shape, s->concepts));
        add(costs, n, (TrainCost){"concept branch", macs, on * macs, macs, on * macs, kept});
    }
    const double image =
        s->patches * s->cv * columns + times(net->vit.count, train_layer_macs(&net->vit.shape, s->image_tokens));
    add(costs, n,
        (TrainCost){"image tower", image, on * image, image, on * image,
                    s->patches * (columns + 4 * s->cv) +
                        times(net->vit.count, train_layer_kept(&net->vit.shape, s->image_tokens))});
    const double text = times(net->text.fusion, train_layer_macs(&net->text.shape, s->tokens));
    add(costs, n,
        (TrainCost){"text layers", text, on * text, text, on * text,
                    times(net->text.fusion, train_layer_kept(&net->text.shape, s->tokens)) + 4 * s->tokens * s->ct});
    const double keys = (double)s->r->batch + (double)s->r->queue;
    const double projections = (s->cv + s->ct) * s->e, products = 2 * keys * s->e;
    add(costs, n,
        (TrainCost){"ITC", projections + products, on * (projections + products), projections + products,
                    on * (projections + products), 6 * keys});
}

static void add_fusion(const Shape *s, TrainCost *costs, size_t *n)
{
    const TrainBert *text = &s->v->student.text;
    const size_t layers = text->count - text->fusion;
    const double pass = times(layers, fusion_layer(s)), keys = keys_macs(s), on = s->teachers;
    const double layer_kept = train_layer_kept(&text->shape, s->tokens) + s->tokens * 5 * s->ct +
                              (double)text->shape.heads * s->tokens * s->image_tokens;
    const double keys_kept = times(layers, s->image_tokens * 2 * s->ct);
    bool shared = false;
    if (s->r->loss_itm > 0) {
        add(costs, n,
            (TrainCost){"ITM", 3 * (pass + keys), 0, 3 * (pass - fusion_layer(s) + pooled_fusion_layer(s)) + keys, 0,
                        3 * times(layers, layer_kept) + keys_kept});
        shared = true;
    }
    if (s->r->loss_mlm > 0) {
        const double whole = times(text->fusion, train_layer_macs(&text->shape, s->tokens)) + pass;
        const double head = s->ct * s->ct + s->ct * s->words;
        add(costs, n,
            (TrainCost){"MLM", whole + keys + s->tokens * head, on * (whole + keys + s->tokens * head),
                        whole + (shared ? 0 : keys) + s->selected * head, on * (whole + keys + s->selected * head),
                        times(text->fusion, train_layer_kept(&text->shape, s->tokens)) + times(layers, layer_kept) +
                            (shared ? 0 : keys_kept) + 2 * s->selected * s->words});
    }
}

static void add_mim(const Shape *s, TrainCost *costs, size_t *n)
{
    const Vicha *v = s->v;
    const TrainVit *vit = &v->student.vit;
    const double columns = 3 * (double)(s->r->patch * s->r->patch), seen = (double)vicha_mim_keep(s->r);
    const double d = (double)v->decoder_shape.width;
    const double blocks = times(vit->count, train_layer_macs(&vit->shape, seen + 1)) + (seen + 1) * s->cv * d +
                          times(v->decoder_count, train_layer_macs(&v->decoder_shape, s->patches + 1));
    const double kept = times(vit->count, train_layer_kept(&vit->shape, seen + 1)) +
                        times(v->decoder_count, train_layer_kept(&v->decoder_shape, s->patches + 1)) +
                        (s->patches - seen) * (columns + 2 * d);
    add(costs, n,
        (TrainCost){"MIM", blocks + s->patches * s->cv * columns + (s->patches + 1) * d * columns, 0,
                    blocks + (s->patches - seen) * d * columns, 0, kept});
}

size_t vicha_costs(const TrainModel *model, TrainCost costs[TRAIN_MAX_PARTS])
{
    const TrainRecipe *r = model->recipe;
    const Vicha *v = model->parts;
    Shape s = {.v = v, .r = r, .teachers = r->momentum};
    s.patches = (double)train_vit_patches(&v->student.vit);
    // 10 concept tokens on average: four concepts, with the start token (section 7.2 of the specification)
    s.concepts = r->concepts ? 2.5 * floor(15 * (r->concept_share > 0 ? r->concept_share : 1)) : 0;
    s.tokens = (double)r->context;
    s.image_tokens = 1 + s.patches + s.concepts;
    s.cv = (double)r->vision.width;
    s.ct = (double)r->text.width;
    s.e = (double)r->proj;
    s.words = (double)model->vocabulary;
    s.selected = r->mlm_probability * (s.tokens - 1);
    size_t n = 0;
    add_towers(&s, costs, &n);
    if (vicha_fuses(r))
        add_fusion(&s, costs, &n);
    if (r->loss_mim > 0)
        add_mim(&s, costs, &n);
    return n;
}

size_t vicha_parts(const TrainModel *model, TrainPart parts[TRAIN_MAX_PARTS])
{
    static const TrainPart all[] = {{"image tower", "visual_encoder."},
                                    {"image projection", "vision_proj."},
                                    {"text and fusion encoder", "text_encoder.bert."},
                                    {"MLM head", "text_encoder.cls."},
                                    {"text projection", "text_proj."},
                                    {"concept encoder", "kw_encoder."},
                                    {"concept projection", "kw_proj."},
                                    {"ITM head", "itm_head."},
                                    {"HITC image projections", "vision_proj_hidden."},
                                    {"HITC text projections", "text_proj_hidden."},
                                    {"MIM pixels", "mae_proj."},
                                    {"MIM mask token", "mask_token"},
                                    {"MIM decoder", "decoder_"},
                                    {"temperature", "temp"}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t k = 0; k < model->params.count; k++) {
            if (vc_has_prefix(model->params.items[k].name, all[i].prefix)) {
                parts[n++] = all[i];
                break;
            }
        }
    }
    return n;
}
