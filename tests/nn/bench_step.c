// SPDX-License-Identifier: MIT
// Time of one training step of a small two-tower model on the tape: forward, backward, AdamW; random pictures and
// words. `bench_step [THREADS [STEPS]]`; a benchmark, not a test: `meson test --benchmark step`.
#include "nn/nn.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { B = 64, S = 64, P = 8, C = 128, HEADS = 4, DEPTH = 4, T = 24, V = 1000, E = 64, N = S / P * (S / P) };

typedef struct {
    size_t norm1[2], qkv[2], proj[2], norm2[2], up[2], down[2];
} Block;

typedef struct {
    NnParams params;
    Block image[DEPTH], text[DEPTH];
    size_t conv, cls, image_pos, word, text_pos, image_out, text_out, logit_scale, image_norm[2], text_norm[2];
} Model;

static size_t add(Model *m, const char *tower, int block, const char *name, NnShape shape)
{
    VcStr full = {0};
    vc_str_putf(&full, "%s.%d.%s", tower, block, name);
    const size_t i = nn_params_add(&m->params, full.data, shape, shape.rank > 1 ? NN_PARAM_DECAY : 0);
    vc_str_finish(&full);
    return i;
}

static void add_pair(Model *m, size_t out[2], const char *tower, int block, const char *name, NnShape shape)
{
    VcStr bias = {0};
    vc_str_putf(&bias, "%s.bias", name);
    out[0] = add(m, tower, block, name, shape);
    out[1] = add(m, tower, block, bias.data, NN_SHAPE(shape.dim[0]));
    vc_str_finish(&bias);
}

static void add_blocks(Model *m, Block *blocks, const char *tower)
{
    for (int i = 0; i < DEPTH; i++) {
        add_pair(m, blocks[i].norm1, tower, i, "norm1", NN_SHAPE(C));
        add_pair(m, blocks[i].qkv, tower, i, "qkv", NN_SHAPE(3 * C, C));
        add_pair(m, blocks[i].proj, tower, i, "proj", NN_SHAPE(C, C));
        add_pair(m, blocks[i].norm2, tower, i, "norm2", NN_SHAPE(C));
        add_pair(m, blocks[i].up, tower, i, "up", NN_SHAPE(4 * C, C));
        add_pair(m, blocks[i].down, tower, i, "down", NN_SHAPE(C, 4 * C));
    }
}

static void init_model(Model *m)
{
    nn_params_init(&m->params);
    m->conv = add(m, "image", -1, "conv", NN_SHAPE(C, 3, P, P));
    m->cls = add(m, "image", -1, "cls", NN_SHAPE(1, 1, C));
    m->image_pos = add(m, "image", -1, "pos", NN_SHAPE(N + 1, C));
    m->word = add(m, "text", -1, "word", NN_SHAPE(V, C));
    m->text_pos = add(m, "text", -1, "pos", NN_SHAPE(T, C));
    m->image_out = add(m, "image", -1, "out", NN_SHAPE(E, C));
    m->text_out = add(m, "text", -1, "out", NN_SHAPE(E, C));
    m->logit_scale = add(m, "both", -1, "logit_scale", NN_SCALAR);
    add_pair(m, m->image_norm, "image", -1, "norm", NN_SHAPE(C));
    add_pair(m, m->text_norm, "text", -1, "norm", NN_SHAPE(C));
    add_blocks(m, m->image, "image");
    add_blocks(m, m->text, "text");
    nn_params_allocate(&m->params, true);
    VcRng rng;
    vc_rng_seed(&rng, 1);
    for (size_t i = 0; i < m->params.count; i++) {
        const NnParamInfo *p = &m->params.items[i];
        const bool gain = p->shape.rank == 1 && vc_has_suffix(p->name, "norm1");
        for (size_t j = 0; j < p->size; j++)
            m->params.value[p->offset + j] = gain ? 1 : (nn_real)(0.05 * vc_rng_normal(&rng));
    }
    m->params.value[m->params.items[m->logit_scale].offset] = (nn_real)log(1 / 0.07);
}

static NnVar *pair_linear(NnTape *t, NnParams *p, NnVar *x, const size_t pair[2])
{
    return nn_linear(t, x, nn_param(t, p, pair[0]), nn_param(t, p, pair[1]));
}

static NnVar *pair_norm(NnTape *t, NnParams *p, NnVar *x, const size_t pair[2])
{
    return nn_layer_norm(t, x, nn_param(t, p, pair[0]), nn_param(t, p, pair[1]), 1e-5);
}

static NnVar *run_blocks(NnTape *t, NnParams *p, NnVar *x, const Block *blocks, bool causal)
{
    for (int i = 0; i < DEPTH; i++) {
        const Block *b = &blocks[i];
        NnVar *h = pair_linear(t, p, pair_norm(t, p, x, b->norm1), b->qkv);
        x = nn_add(t, x, pair_linear(t, p, nn_attention_qkv(t, h, HEADS, NULL, causal), b->proj));
        h = nn_quick_gelu(t, pair_linear(t, p, pair_norm(t, p, x, b->norm2), b->up));
        x = nn_add(t, x, pair_linear(t, p, h, b->down));
    }
    return x;
}

static NnVar *loss_of(NnTape *t, Model *m, const nn_real *pixels, const int32_t *ids)
{
    NnParams *p = &m->params;
    NnVar *x = nn_patch_embed(t, nn_input(t, pixels, NN_SHAPE(B, 3, S, S)), nn_param(t, p, m->conv), NULL, P);
    x = nn_concat(t, (NnVar *[]){nn_param(t, p, m->cls), x}, 2);
    x = nn_add(t, x, nn_param(t, p, m->image_pos));
    x = nn_token(t, run_blocks(t, p, x, m->image, false), 0);
    NnVar *image =
        nn_l2_normalize(t, nn_linear(t, pair_norm(t, p, x, m->image_norm), nn_param(t, p, m->image_out), NULL));
    NnVar *y = nn_add(t, nn_embedding(t, nn_param(t, p, m->word), ids, B, T, -1), nn_param(t, p, m->text_pos));
    y = nn_token(t, run_blocks(t, p, y, m->text, true), T - 1);
    NnVar *text = nn_l2_normalize(t, nn_linear(t, pair_norm(t, p, y, m->text_norm), nn_param(t, p, m->text_out), NULL));
    NnVar *logits = nn_scale_by(t, nn_matmul_nt(t, image, text), nn_param(t, p, m->logit_scale), NN_SCALE_EXP);
    int32_t *labels = nn_tape_alloc_ids(t, B);
    for (int32_t i = 0; i < B; i++)
        labels[i] = i;
    NnVar *parts[] = {nn_cross_entropy(t, logits, labels), nn_cross_entropy(t, nn_transpose(t, logits), labels)};
    return nn_weighted_sum(t, parts, (const double[]){0.5, 0.5}, 2);
}

static size_t argument(int argc, char **argv, int i, int64_t otherwise)
{
    int64_t n = otherwise;
    if (argc > i && (!vc_parse_i64(argv[i], &n) || n < 1))
        n = otherwise;
    return (size_t)n;
}

int main(int argc, char **argv)
{
    const size_t threads = argument(argc, argv, 1, (int64_t)vc_cpu_count()), steps = argument(argc, argv, 2, 20);
    VcPool *pool = vc_pool_create(threads);
    NnContext ctx;
    nn_context_init(&ctx, pool);
    NnTape *t = nn_tape_create(&ctx);
    Model m = {0};
    init_model(&m);
    VcRng rng;
    vc_rng_seed(&rng, 2);
    nn_real *pixels = vc_alloc((size_t)B * 3 * S * S, sizeof *pixels);
    int32_t *ids = vc_alloc((size_t)B * T, sizeof *ids);
    for (size_t i = 0; i < (size_t)B * 3 * S * S; i++)
        pixels[i] = (nn_real)vc_rng_normal(&rng);
    for (size_t i = 0; i < (size_t)B * T; i++)
        ids[i] = (int32_t)vc_rng_below(&rng, V);
    const NnAdamw adamw = nn_adamw_default();
    double spent[3] = {0}, best = 1e9, loss = 0;
    for (size_t step = 1; step <= steps; step++) {
        const double begin = vc_now();
        nn_tape_reset(t);
        NnVar *y = loss_of(t, &m, pixels, ids);
        const double forward = vc_now();
        nn_params_zero_grad(&m.params);
        nn_backward(t, y);
        const double backward = vc_now();
        nn_adamw_step(&ctx, &m.params, &adamw, 1e-3, step, 1);
        const double end = vc_now();
        loss = (double)y->value[0];
        spent[0] += forward - begin;
        spent[1] += backward - forward;
        spent[2] += end - backward;
        best = end - begin < best ? end - begin : best;
    }
    const double n = (double)steps;
    printf(
        "%zu threads, kernels %s, %zu parameters: step %.1f ms (best %.1f): forward %.1f, backward %.1f, adamw %.1f; "
        "tape %.1f MiB, loss %.6f\n",
        threads, ctx.kernels->name, nn_params_count_trainable(&m.params), 1e3 * (spent[0] + spent[1] + spent[2]) / n,
        1e3 * best, 1e3 * spent[0] / n, 1e3 * spent[1] / n, 1e3 * spent[2] / n, (double)nn_tape_peak(t) / 1048576,
        loss);
    free(pixels);
    free(ids);
    nn_params_finish(&m.params);
    nn_tape_destroy(&t);
    nn_context_finish(&ctx);
    vc_pool_destroy(&pool);
    return 0;
}
