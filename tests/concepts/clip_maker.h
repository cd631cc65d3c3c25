// SPDX-License-Identifier: MIT
// A small CLIP model with random weights, written to a folder in either layout from the same numbers, so that the
// tests of the model need no reference data. Sizes that are no multiples of anything are chosen on purpose.
#pragma once

#include "base/file.h"
#include "base/rng.h"
#include "nn/nn.h"
#include "tests/support/test.h"

#include <string.h>

typedef struct {
    size_t image, patch, width, layers, heads, mlp, text_width, text_layers, text_heads, text_mlp, dim, context;
    bool openclip, quick_gelu;
    NnDtype dtype;
} MakeClip;

// head_width of the OpenCLIP layout is width / heads; mlp must be 4 x width there.
static const MakeClip make_default = {.image = 40,
                                      .patch = 8,
                                      .width = 52,
                                      .layers = 3,
                                      .heads = 4,
                                      .mlp = 208,
                                      .text_width = 36,
                                      .text_layers = 2,
                                      .text_heads = 3,
                                      .text_mlp = 144,
                                      .dim = 28,
                                      .context = 20,
                                      .dtype = NN_F32};

enum { MAKE_MERGES = 6, MAKE_VOCABULARY = 512 + MAKE_MERGES + 2, MAKE_TENSORS = 160 };

typedef struct {
    NnToStore items[MAKE_TENSORS];
    char names[MAKE_TENSORS][96];
    size_t count;
    NnDtype dtype;
} MakeFile;

// Numbers of the tensor called `key`, the same in every layout.
static float *make_numbers(const char *key, size_t n, float spread, float mean)
{
    VcRng rng;
    uint64_t seed = 1469598103934665603u;
    for (const char *p = key; *p; p++)
        seed = (seed ^ (unsigned char)*p) * 1099511628211u;
    vc_rng_seed(&rng, seed);
    float *v = vc_alloc(n, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = mean + spread * (float)vc_rng_normal(&rng);
    return v;
}

// Takes `values` over.
static void make_put(MakeFile *f, const char *name, NnShape shape, float *values)
{
    size_t n;
    assert_true(nn_shape_count(&shape, &n));
    assert_true(f->count < MAKE_TENSORS);
    snprintf(f->names[f->count], sizeof f->names[0], "%s", name);
    void *data = values;
    if (f->dtype != NN_F32) {
        data = vc_alloc(n, 2);
        if (f->dtype == NN_F16)
            nn_f32_to_f16_array(data, values, n);
        else
            nn_f32_to_bf16_array(data, values, n);
        free(values);
    }
    f->items[f->count] = (NnToStore){f->names[f->count], f->dtype, shape, data};
    f->count++;
}

static float *make_turned(float *v, size_t out, size_t in)
{
    float *t = vc_alloc(out * in, sizeof *t);
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            t[i * out + o] = v[o * in + i];
    free(v);
    return t;
}

static void make_layer(MakeFile *f, const MakeClip *c, const char *key, const char *hf, const char *oc, size_t i,
                       size_t w, size_t mlp)
{
    static const struct {
        const char *hf, *oc;
        int kind; // 0 norm, 1 w x w, 2 mlp x w, 3 w x mlp
    } parts[] = {{"layer_norm1", "ln_1", 0},    {"layer_norm2", "ln_2", 0},
                 {"self_attn.q_proj", NULL, 1}, {"self_attn.k_proj", NULL, 1},
                 {"self_attn.v_proj", NULL, 1}, {"self_attn.out_proj", "attn.out_proj", 1},
                 {"mlp.fc1", "mlp.c_fc", 2},    {"mlp.fc2", "mlp.c_proj", 3}};
    float *fused[2] = {vc_alloc(3 * w * w, sizeof(float)), vc_alloc(3 * w, sizeof(float))};
    size_t at = 0;
    for (size_t p = 0; p < 8; p++)
        for (int bias = 0; bias < 2; bias++) {
            char id[96], name[96];
            const size_t rows = parts[p].kind == 2 ? mlp : w, in = parts[p].kind == 3 ? mlp : w;
            const bool norm = parts[p].kind == 0, matrix = !norm && !bias;
            const size_t n = matrix ? rows * in : rows;
            snprintf(id, sizeof id, "%s.%zu.%s.%d", key, i, parts[p].hf, bias);
            float *v = make_numbers(id, n, matrix ? 1.3F / sqrtf((float)in) : 0.1F, norm && !bias ? 1.0F : 0.0F);
            if (c->openclip && parts[p].oc == NULL) {
                memcpy(fused[bias] + at * (bias ? w : w * w), v, n * sizeof *v);
                free(v);
                at += (size_t)bias;
                continue;
            }
            snprintf(name, sizeof name, "%s%zu.%s.%s", c->openclip ? oc : hf, i,
                     c->openclip ? parts[p].oc : parts[p].hf, bias ? "bias" : "weight");
            make_put(f, name, matrix ? NN_SHAPE(rows, in) : NN_SHAPE(rows), v);
        }
    if (c->openclip) {
        char name[96];
        snprintf(name, sizeof name, "%s%zu.attn.in_proj_weight", oc, i);
        make_put(f, name, NN_SHAPE(3 * w, w), fused[0]);
        snprintf(name, sizeof name, "%s%zu.attn.in_proj_bias", oc, i);
        make_put(f, name, NN_SHAPE(3 * w), fused[1]);
    } else {
        free(fused[0]);
        free(fused[1]);
    }
}

static void make_weights(const MakeClip *c, const char *path)
{
    static MakeFile file; // large; one test program, one thread
    MakeFile *f = &file;
    *f = (MakeFile){.dtype = c->dtype};
    const size_t w = c->width, tw = c->text_width, p = c->patch, g = c->image / p;
    const bool oc = c->openclip;
    make_put(f, "logit_scale", NN_SCALAR, make_numbers("scale", 1, 0, 4.6051702F));
    make_put(f, oc ? "visual.class_embedding" : "vision_model.embeddings.class_embedding", NN_SHAPE(w),
             make_numbers("cls", w, 0.3F, 0));
    make_put(f, oc ? "visual.conv1.weight" : "vision_model.embeddings.patch_embedding.weight", NN_SHAPE(w, 3, p, p),
             make_numbers("conv", w * 3 * p * p, 0.09F, 0));
    make_put(f, oc ? "visual.positional_embedding" : "vision_model.embeddings.position_embedding.weight",
             NN_SHAPE(g * g + 1, w), make_numbers("vpos", (g * g + 1) * w, 0.25F, 0));
    make_put(f, oc ? "token_embedding.weight" : "text_model.embeddings.token_embedding.weight",
             NN_SHAPE(MAKE_VOCABULARY, tw), make_numbers("tok", MAKE_VOCABULARY * tw, 0.7F, 0));
    make_put(f, oc ? "positional_embedding" : "text_model.embeddings.position_embedding.weight",
             NN_SHAPE(c->context, tw), make_numbers("tpos", c->context * tw, 0.2F, 0));
    static const char *const norms[3][2] = {{"visual.ln_pre", "vision_model.pre_layrnorm"},
                                            {"visual.ln_post", "vision_model.post_layernorm"},
                                            {"ln_final", "text_model.final_layer_norm"}};
    for (int i = 0; i < 3; i++)
        for (int bias = 0; bias < 2; bias++) {
            char name[96], id[32];
            const size_t n = i == 2 ? tw : w;
            snprintf(name, sizeof name, "%s.%s", norms[i][oc ? 0 : 1], bias ? "bias" : "weight");
            snprintf(id, sizeof id, "norm%d%d", i, bias);
            make_put(f, name, NN_SHAPE(n), make_numbers(id, n, 0.1F, bias ? 0 : 1));
        }
    float *vp = make_numbers("vproj", c->dim * w, 1.0F / sqrtf((float)w), 0);
    float *tp = make_numbers("tproj", c->dim * tw, 1.0F / sqrtf((float)tw), 0);
    if (oc) {
        make_put(f, "visual.proj", NN_SHAPE(w, c->dim), make_turned(vp, c->dim, w));
        make_put(f, "text_projection", NN_SHAPE(tw, c->dim), make_turned(tp, c->dim, tw));
    } else {
        make_put(f, "visual_projection.weight", NN_SHAPE(c->dim, w), vp);
        make_put(f, "text_projection.weight", NN_SHAPE(c->dim, tw), tp);
    }
    for (size_t i = 0; i < c->layers; i++)
        make_layer(f, c, "v", "vision_model.encoder.layers.", "visual.transformer.resblocks.", i, w, c->mlp);
    for (size_t i = 0; i < c->text_layers; i++)
        make_layer(f, c, "t", "text_model.encoder.layers.", "transformer.resblocks.", i, tw, c->text_mlp);
    assert_ok(nn_safetensors_write(path, f->items, f->count, NULL, 0, NN_STORE_SORTED, err));
    for (size_t i = 0; i < f->count; i++) {
        union { // ours: made by make_put
            const void *in;
            void *out;
        } data = {f->items[i].data};
        free(data.out);
    }
}

static void make_write(const char *dir, const char *name, const VcStr *text)
{
    char *path = vc_path_join(dir, name);
    assert_ok(vc_write_file(path, text->data, text->len, err));
    free(path);
}

// The 512 byte tokens, a few merges, start and end.
static void make_tokenizer(const char *dir)
{
    static const char *const merges[MAKE_MERGES][2] = {{"c", "a"},      {"ca", "t</w>"}, {"d", "o"},
                                                       {"do", "g</w>"}, {"r", "e"},      {"re", "d</w>"}};
    VcStr vocabulary = {0}, lines = {0};
    uint32_t next = 256;
    int id = 0;
    vc_str_put(&lines, "#version: 0.2\n");
    vc_str_putc(&vocabulary, '{');
    for (int end = 0; end < 2; end++) {
        next = 256;
        for (uint32_t b = 0; b < 256; b++) {
            const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
            char token[16];
            size_t n = vc_utf8_encode(printable ? b : next++, token);
            if (end) {
                memcpy(token + n, "</w>", 4);
                n += 4;
            }
            vc_str_put_json(&vocabulary, token, n, false);
            vc_str_putf(&vocabulary, ":%d,", id++);
        }
    }
    for (int i = 0; i < MAKE_MERGES; i++) {
        vc_str_putf(&vocabulary, "\"%s%s\":%d,", merges[i][0], merges[i][1], id++);
        vc_str_putf(&lines, "%s %s\n", merges[i][0], merges[i][1]);
    }
    vc_str_putf(&vocabulary, "\"<|startoftext|>\":%d,\"<|endoftext|>\":%d}", id, id + 1);
    make_write(dir, "vocab.json", &vocabulary);
    make_write(dir, "merges.txt", &lines);
    vc_str_finish(&vocabulary);
    vc_str_finish(&lines);
}

static void make_config(const MakeClip *c, const char *dir)
{
    VcStr s = {0};
    const char *act = c->quick_gelu ? "quick_gelu" : "gelu";
    if (c->openclip)
        vc_str_putf(&s,
                    "{\"model_cfg\":{\"embed_dim\":%zu,\"quick_gelu\":%s,\"vision_cfg\":{\"image_size\":%zu,\"layers\":"
                    "%zu,\"width\":%zu,"
                    "\"patch_size\":%zu,\"head_width\":%zu},\"text_cfg\":{\"context_length\":%zu,\"vocab_size\":%d,"
                    "\"width\":%zu,"
                    "\"heads\":%zu,\"layers\":%zu}}}",
                    c->dim, c->quick_gelu ? "true" : "false", c->image, c->layers, c->width, c->patch,
                    c->width / c->heads, c->context, MAKE_VOCABULARY, c->text_width, c->text_heads, c->text_layers);
    else
        vc_str_putf(
            &s,
            "{\"model_type\":\"clip\",\"projection_dim\":%zu,\"vision_config\":{\"hidden_act\":\"%s\",\"hidden_size\":%"
            "zu,"
            "\"intermediate_size\":%zu,\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,\"image_size\":%zu,"
            "\"patch_size\":%zu},\"text_config\":{\"hidden_act\":\"%s\",\"hidden_size\":%zu,\"intermediate_size\":%zu,"
            "\"num_hidden_layers\":%zu,\"num_attention_heads\":%zu,\"max_position_embeddings\":%zu,\"vocab_size\":%d,"
            "\"eos_token_id\":%d}}",
            c->dim, act, c->width, c->mlp, c->layers, c->heads, c->image, c->patch, act, c->text_width, c->text_mlp,
            c->text_layers, c->text_heads, c->context, MAKE_VOCABULARY, MAKE_VOCABULARY - 1);
    make_write(dir, c->openclip ? "open_clip_config.json" : "config.json", &s);
    vc_str_finish(&s);
}

// A fresh folder with the whole model; removed by test_temp_remove.
static char *make_clip(const MakeClip *c)
{
    char *dir = test_temp_folder();
    char *weights = vc_path_join(dir, c->openclip ? "open_clip_model.safetensors" : "model.safetensors");
    make_weights(c, weights);
    make_tokenizer(dir);
    make_config(c, dir);
    free(weights);
    return dir;
}
