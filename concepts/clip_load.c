// SPDX-License-Identifier: MIT
// Weights: Hugging Face's and open_clip's names for the same tensors. F32 tensors are viewed in the map, all others
// converted into one arena. A missing or misshapen tensor is named with the shape that the configuration asks for.
#include "concepts/clip_private.h"

#include "base/file.h"
#include "base/log.h"
#include "base/str.h"

#include <math.h>
#include <string.h>

// Reads tensors one after the other; after the first failure the rest is skipped.
typedef struct {
    ClipModel *m;
    bool ok;
    VcErr *err;
    size_t used;
    bool *seen; // by index in the file
} Reader;

__attribute__((format(printf, 2, 0))) static void format_name(VcStr *out, const char *fmt, va_list ap)
{
    vc_str_vputf(out, fmt, ap);
}

static void mark(Reader *r, const char *name)
{
    for (size_t lo = 0, hi = nn_safetensors_count(r->m->weights); lo < hi;) { // in order of name
        const size_t mid = lo + (hi - lo) / 2;
        const int order = strcmp(nn_safetensors_at(r->m->weights, mid)->name, name);
        if (order == 0) {
            r->seen[mid] = true;
            return;
        }
        if (order < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
}

static const float *read_named(Reader *r, const char *name, NnShape shape)
{
    const float *view = NULL;
    size_t count = 0, bytes = 0;
    if (!r->ok)
        return NULL;
    if (!nn_shape_count(&shape, &count) || !vc_mul_size(count, sizeof(float), &bytes)) {
        r->ok = vc_fail(r->err, VC_ERR_LIMIT, "tensor '%s' would be too large", name);
        return NULL;
    }
    r->ok = nn_safetensors_view_f32(r->m->weights, name, shape, &view, r->err);
    if (!r->ok)
        return NULL;
    mark(r, name);
    r->m->info.parameters += count;
    if (view != NULL) {
        r->m->info.mapped_bytes += bytes;
        return view;
    }
    float *copy = vc_arena_alloc(r->m->converted, count, sizeof *copy);
    r->m->info.converted_bytes += bytes;
    r->ok = nn_safetensors_load_f32(r->m->weights, name, shape, copy, r->err);
    return copy;
}

__attribute__((format(printf, 3, 4))) static const float *read_tensor(Reader *r, NnShape shape, const char *fmt, ...)
{
    VcStr name = {0};
    va_list ap;
    va_start(ap, fmt);
    format_name(&name, fmt, ap);
    va_end(ap);
    const float *data = read_named(r, name.data, shape);
    vc_str_finish(&name);
    return data;
}

static ClipLinear read_linear(Reader *r, const char *prefix, const char *name, size_t out, size_t in)
{
    return (ClipLinear){read_tensor(r, NN_SHAPE(out, in), "%s%s.weight", prefix, name),
                        read_tensor(r, NN_SHAPE(out), "%s%s.bias", prefix, name)};
}

static ClipNorm read_norm(Reader *r, const char *prefix, const char *name, size_t width)
{
    return (ClipNorm){read_tensor(r, NN_SHAPE(width), "%s%s.weight", prefix, name),
                      read_tensor(r, NN_SHAPE(width), "%s%s.bias", prefix, name)};
}

// A projection stored [in][out], turned to [out][in]: small, and both layouts then run the same products.
static ClipLinear read_turned(Reader *r, const char *name, size_t out, size_t in)
{
    const float *stored = read_named(r, name, NN_SHAPE(in, out));
    if (stored == NULL)
        return (ClipLinear){0};
    float *turned = vc_arena_alloc(r->m->converted, out * in, sizeof *turned);
    for (size_t i = 0; i < in; i++) {
        for (size_t o = 0; o < out; o++)
            turned[o * in + i] = stored[i * out + o];
    }
    r->m->info.converted_bytes += out * in * sizeof *turned;
    return (ClipLinear){turned, NULL};
}

static ClipBlock *hf_blocks(Reader *r, const char *tower, const ClipTower *t)
{
    ClipBlock *blocks = vc_calloc(t->layers, sizeof *blocks);
    const size_t w = t->width;
    for (size_t i = 0; r->ok && i < t->layers; i++) {
        char p[96];
        snprintf(p, sizeof p, "%s.encoder.layers.%zu.", tower, i);
        blocks[i] = (ClipBlock){
            .norm1 = read_norm(r, p, "layer_norm1", w),
            .norm2 = read_norm(r, p, "layer_norm2", w),
            .q = read_linear(r, p, "self_attn.q_proj", w, w),
            .k = read_linear(r, p, "self_attn.k_proj", w, w),
            .v = read_linear(r, p, "self_attn.v_proj", w, w),
            .o = read_linear(r, p, "self_attn.out_proj", w, w),
            .fc1 = read_linear(r, p, "mlp.fc1", t->mlp, w),
            .fc2 = read_linear(r, p, "mlp.fc2", w, t->mlp),
        };
    }
    return blocks;
}

static ClipBlock *oc_blocks(Reader *r, const char *tower, const ClipTower *t)
{
    ClipBlock *blocks = vc_calloc(t->layers, sizeof *blocks);
    const size_t w = t->width;
    for (size_t i = 0; r->ok && i < t->layers; i++) {
        char p[96];
        snprintf(p, sizeof p, "%stransformer.resblocks.%zu.", tower, i);
        const float *in_w = read_tensor(r, NN_SHAPE(3 * w, w), "%sattn.in_proj_weight", p);
        const float *in_b = read_tensor(r, NN_SHAPE(3 * w), "%sattn.in_proj_bias", p);
        if (!r->ok)
            break;
        blocks[i] = (ClipBlock){
            .norm1 = read_norm(r, p, "ln_1", w),
            .norm2 = read_norm(r, p, "ln_2", w),
            .q = {in_w, in_b},
            .k = {in_w + w * w, in_b + w},
            .v = {in_w + 2 * w * w, in_b + 2 * w},
            .o = read_linear(r, p, "attn.out_proj", w, w),
            .fc1 = read_linear(r, p, "mlp.c_fc", t->mlp, w),
            .fc2 = read_linear(r, p, "mlp.c_proj", w, t->mlp),
        };
    }
    return blocks;
}

static void read_hf(Reader *r)
{
    ClipModel *m = r->m;
    const ClipInfo *info = &m->info;
    const size_t w = info->image.width, tw = info->text.width, p = info->patch, grid = info->image_size / p;
    m->class_token = read_named(r, "vision_model.embeddings.class_embedding", NN_SHAPE(w));
    m->patch.w = read_named(r, "vision_model.embeddings.patch_embedding.weight", NN_SHAPE(w, 3, p, p));
    m->image_positions =
        read_named(r, "vision_model.embeddings.position_embedding.weight", NN_SHAPE(grid * grid + 1, w));
    m->pre = read_norm(r, "vision_model.", "pre_layrnorm", w); // sic: the published name
    m->image_blocks = hf_blocks(r, "vision_model", &info->image);
    m->post = read_norm(r, "vision_model.", "post_layernorm", w);
    m->image_projection.w = read_named(r, "visual_projection.weight", NN_SHAPE(info->dim, w));
    m->tokens = read_named(r, "text_model.embeddings.token_embedding.weight", NN_SHAPE(info->vocabulary, tw));
    m->text_positions = read_named(r, "text_model.embeddings.position_embedding.weight", NN_SHAPE(info->context, tw));
    m->text_blocks = hf_blocks(r, "text_model", &info->text);
    m->final = read_norm(r, "text_model.", "final_layer_norm", tw);
    m->text_projection.w = read_named(r, "text_projection.weight", NN_SHAPE(info->dim, tw));
}

static void read_openclip(Reader *r)
{
    ClipModel *m = r->m;
    const ClipInfo *info = &m->info;
    const size_t w = info->image.width, tw = info->text.width, p = info->patch, grid = info->image_size / p;
    // A text tower of its own class has its tensors under "text.".
    const char *text = nn_safetensors_find(m->weights, "text.token_embedding.weight") != NULL ? "text." : "";
    char projection[32];
    snprintf(projection, sizeof projection, "%stext_projection", text);
    m->class_token = read_named(r, "visual.class_embedding", NN_SHAPE(w));
    m->patch.w = read_named(r, "visual.conv1.weight", NN_SHAPE(w, 3, p, p));
    m->image_positions = read_named(r, "visual.positional_embedding", NN_SHAPE(grid * grid + 1, w));
    m->pre = read_norm(r, "visual.", "ln_pre", w);
    m->image_blocks = oc_blocks(r, "visual.", &info->image);
    m->post = read_norm(r, "visual.", "ln_post", w);
    m->image_projection = read_turned(r, "visual.proj", info->dim, w);
    m->tokens = read_tensor(r, NN_SHAPE(info->vocabulary, tw), "%stoken_embedding.weight", text);
    m->text_positions = read_tensor(r, NN_SHAPE(info->context, tw), "%spositional_embedding", text);
    m->text_blocks = oc_blocks(r, text, &info->text);
    m->final = read_norm(r, text, "ln_final", tw);
    m->text_projection = read_turned(r, projection, info->dim, tw);
}

// Tensors that the configuration has no place for: a block beyond its layers means that the two do not belong together.
static void check_left_over(Reader *r)
{
    static const char *const harmless[] = {"position_ids", "attn_mask"};
    for (size_t i = 0; r->ok && i < nn_safetensors_count(r->m->weights); i++) {
        const NnStored *t = nn_safetensors_at(r->m->weights, i);
        bool expected = r->seen[i];
        for (size_t k = 0; k < 2; k++)
            expected = expected || vc_has_suffix(t->name, harmless[k]);
        if (expected)
            continue;
        if (strstr(t->name, ".layers.") != NULL || strstr(t->name, ".resblocks.") != NULL) {
            r->ok = vc_fail(r->err, VC_ERR_FORMAT,
                            "'%s' has tensor '%s', for which the configuration (%zu image and %zu text layers) has no "
                            "place: do the "
                            "two files belong to one model?",
                            t->file, t->name, r->m->info.image.layers, r->m->info.text.layers);
        } else {
            vc_warn("tensor '%s' in '%s' is no part of CLIP and was left out", t->name, t->file);
        }
    }
}

static void read_scale(Reader *r)
{
    // A scalar, or a vector of one in some files.
    const NnStored *stored = nn_safetensors_find(r->m->weights, "logit_scale");
    const NnShape shape = stored != NULL && stored->shape.rank == 1 ? NN_SHAPE(1) : NN_SCALAR;
    const float *scale = read_named(r, "logit_scale", shape);
    if (scale == NULL)
        return;
    float value;
    memcpy(&value, scale, sizeof value);
    if (!(fabsf(value) < 80.0F)) {
        r->ok = vc_fail(r->err, VC_ERR_FORMAT, "'logit_scale' in '%s' is %g: expected a logarithm near 4.6",
                        nn_safetensors_path(r->m->weights), (double)value);
    }
    r->m->info.logit_scale = (float)exp((double)value);
}

bool clip_load_weights(ClipModel *m, VcErr *err)
{
    const bool hf = m->info.layout == CLIP_LAYOUT_HF;
    if (!nn_weights_open_dir(&m->weights, m->dir, hf ? "model" : "open_clip_model",
                             hf ? "pytorch_model" : "open_clip_pytorch_model", err))
        return false;
    m->converted = vc_arena_create("clip weights");
    Reader r = {.m = m, .ok = true, .err = err, .seen = vc_calloc(nn_safetensors_count(m->weights) + 1, sizeof(bool))};
    read_scale(&r);
    if (hf) {
        read_hf(&r);
    } else {
        read_openclip(&r);
    }
    check_left_over(&r);
    if (r.ok) {
        const NnStored *matrix = nn_safetensors_find(m->weights, hf ? "vision_model.embeddings.patch_embedding.weight"
                                                                    : "visual.conv1.weight");
        m->info.storage = nn_dtype_name(matrix->dtype);
    }
    free(r.seen);
    return r.ok;
}
