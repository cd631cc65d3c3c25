// SPDX-License-Identifier: MIT
// Every layer and helper of golden/train/components (written by PyTorch running the original model's code), built on
// the tape, within the limits of its README. Prints the worst error of each. Skipped (77) where the data is absent.
#include "base/json.h"
#include "nn/nn.h"

#include "tests/support/test.h"

#include <stdlib.h>

static char *folder;

// ---- one component: its file, a tape, and the worst error in parts of the limit

typedef struct {
    const char *name;
    NnSafetensors *st;
    NnContext ctx;
    NnTape *t;
    VcArena *arena;
    double worst, limit; // worst error in units of the tensor's (or row's) largest value, of those held to `limit`
    const char *worst_at;
} Component;

static void open_component(Component *c, const char *name)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s.safetensors", folder, name);
    *c = (Component){.name = name, .limit = 1e-5, .worst_at = ""};
    assert_ok(nn_safetensors_open(&c->st, path.data, err));
    vc_str_finish(&path);
    nn_context_init(&c->ctx, NULL);
    c->t = nn_tape_create(&c->ctx);
    c->arena = vc_arena_create("component");
}

static void close_component(Component *c)
{
    printf("# %-22s worst %.2e of %.0e  %s\n", c->name, c->worst, c->limit, c->worst_at);
    nn_tape_destroy(&c->t);
    nn_context_finish(&c->ctx);
    vc_arena_destroy(&c->arena);
    nn_safetensors_close(&c->st);
}

static const NnStored *stored(Component *c, const char *name)
{
    const NnStored *s = nn_safetensors_find(c->st, name);
    if (!s)
        fail_msg("%s has no tensor '%s'", c->name, name);
    return s;
}

static float *floats(Component *c, const char *name)
{
    const NnStored *s = stored(c, name);
    float *out = vc_arena_alloc(c->arena, s->count, sizeof *out);
    assert_ok(nn_safetensors_load_f32(c->st, name, s->shape, out, err));
    return out;
}

static int32_t *ints(Component *c, const char *name)
{
    const NnStored *s = stored(c, name);
    int32_t *out = vc_arena_alloc(c->arena, s->count, sizeof *out);
    assert_ok(nn_safetensors_load_i32(c->st, name, s->shape, out, err));
    return out;
}

// A variable whose gradient is kept.
static NnVar *leaf(Component *c, const char *name)
{
    const NnStored *s = stored(c, name);
    return nn_leaf(c->t, floats(c, name), vc_arena_zalloc(c->arena, s->count, sizeof(float)), s->shape);
}

static NnVar *param(Component *c, const char *layer, const char *what)
{
    VcStr name = {0};
    vc_str_putf(&name, "param.%s%s%s", layer, *layer ? "." : "", what);
    NnVar *v = leaf(c, name.data);
    vc_str_finish(&name);
    return v;
}

// Holds got[n] to the stored tensor: |difference| <= limit x the largest value of each row.
static void check_rows(Component *c, const float *got, const char *name, size_t rows, double limit)
{
    const NnStored *s = stored(c, name);
    const float *want = floats(c, name);
    const size_t width = s->count / rows;
    for (size_t r = 0; r < rows; r++) {
        double largest = 0, worst = 0;
        for (size_t i = r * width; i < (r + 1) * width; i++) {
            largest = fmax(largest, fabs((double)want[i]));
            worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
            if (!isfinite(got[i]))
                worst = INFINITY;
        }
        const double error = worst > 0 ? worst / largest : 0;
        if (limit == c->limit && error > c->worst) {
            c->worst = error;
            c->worst_at = s->name;
        }
        if (!(error <= limit))
            fail_msg("%s: '%s' row %zu is off by %.3g of its largest value, limit %.3g", c->name, name, r, error,
                     limit);
    }
}

static void check(Component *c, const float *got, const char *name)
{
    check_rows(c, got, name, 1, c->limit);
}

static void check_param(Component *c, const NnVar *v, const char *layer, const char *what)
{
    VcStr name = {0};
    vc_str_putf(&name, "grad.%s%s%s", layer, *layer ? "." : "", what);
    check(c, v->grad, name.data);
    vc_str_finish(&name);
}

// A gradient that is zero but for rounding.
static void check_noise(Component *c, const float *grad, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(grad[i]) < 1e-6f))
            fail_msg("%s: a key bias has gradient %.3g; it must be zero but for noise", c->name, (double)grad[i]);
}

// ---- layers with their parameters, as the models build them

typedef struct {
    const char *name;
    NnVar *weight, *bias;
} Layer;

static Layer layer(Component *c, const char *name)
{
    return (Layer){name, param(c, name, "weight"), param(c, name, "bias")};
}

static void check_layer(Component *c, const Layer *l)
{
    check_param(c, l->weight, l->name, "weight");
    check_param(c, l->bias, l->name, "bias");
}

static NnVar *dense(Component *c, const Layer *l, NnVar *x)
{
    return nn_linear(c->t, x, l->weight, l->bias);
}

static NnVar *norm(Component *c, const Layer *l, NnVar *x, double eps)
{
    return nn_layer_norm(c->t, x, l->weight, l->bias, eps);
}

static void vit_block(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "vit_block");
    NnTape *t = c.t;
    const Layer norm1 = layer(&c, "norm1"), qkv = layer(&c, "attn.qkv"), proj = layer(&c, "attn.proj");
    const Layer norm2 = layer(&c, "norm2"), fc1 = layer(&c, "mlp.fc1"), fc2 = layer(&c, "mlp.fc2");
    NnVar *x = leaf(&c, "in.x");
    NnVar *h = nn_attention_qkv(t, dense(&c, &qkv, norm(&c, &norm1, x, 1e-6)), 3, NULL, false);
    NnVar *y = nn_add(t, x, dense(&c, &proj, h));
    h = nn_gelu(t, dense(&c, &fc1, norm(&c, &norm2, y, 1e-6)));
    y = nn_add(t, y, dense(&c, &fc2, h));
    check(&c, y->value, "out.y");
    nn_backward_from(t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_x");
    const Layer *const all[] = {&norm1, &proj, &norm2, &fc1, &fc2};
    for (size_t i = 0; i < 5; i++)
        check_layer(&c, all[i]);
    check_param(&c, qkv.weight, "attn.qkv", "weight");
    const size_t C = qkv.bias->size / 3;
    check_noise(&c, qkv.bias->grad + C, C);
    memcpy(qkv.bias->grad + C, floats(&c, "grad.attn.qkv.bias") + C, C * sizeof(float));
    check_param(&c, qkv.bias, "attn.qkv", "bias");
    close_component(&c);
}

static void patch_embed(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "patch_embed");
    NnVar *x = leaf(&c, "in.x"), *w = param(&c, "proj", "weight"), *b = param(&c, "proj", "bias");
    NnVar *y = nn_patch_embed(c.t, x, w, b, w->shape.dim[2]);
    check(&c, y->value, "out.y");
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_x");
    check_param(&c, w, "proj", "weight");
    check_param(&c, b, "proj", "bias");
    close_component(&c);
}

// x attends to `over`: dense, residual and norm after it. The four layers' gradients are checked by check_attention.
typedef struct {
    Layer query, key, value, dense, norm;
} Attention;

static Attention bert_attention(Component *c, const char *const names[5])
{
    return (Attention){layer(c, names[0]), layer(c, names[1]), layer(c, names[2]), layer(c, names[3]),
                       layer(c, names[4])};
}

static NnVar *attend(Component *c, const Attention *a, NnVar *x, NnVar *over, const float *mask)
{
    NnVar *h =
        nn_attention(c->t, dense(c, &a->query, x), dense(c, &a->key, over), dense(c, &a->value, over), 4, mask, false);
    return norm(c, &a->norm, nn_add(c->t, dense(c, &a->dense, h), x), 1e-12);
}

static void check_attention(Component *c, const Attention *a)
{
    check_layer(c, &a->query);
    check_param(c, a->key.weight, a->key.name, "weight");
    check_noise(c, a->key.bias->grad, a->key.bias->size);
    check_layer(c, &a->value);
    check_layer(c, &a->dense);
    check_layer(c, &a->norm);
}

static void bert_layer(const char *name, bool cross)
{
    Component c;
    open_component(&c, name);
    static const char *const self_names[5] = {"attention.self.query", "attention.self.key", "attention.self.value",
                                              "attention.output.dense", "attention.output.LayerNorm"};
    static const char *const cross_names[5] = {"crossattention.self.query", "crossattention.self.key",
                                               "crossattention.self.value", "crossattention.output.dense",
                                               "crossattention.output.LayerNorm"};
    const Attention self = bert_attention(&c, self_names);
    const Attention other = cross ? bert_attention(&c, cross_names) : (Attention){0};
    const Layer up = layer(&c, "intermediate.dense"), down = layer(&c, "output.dense");
    const Layer last = layer(&c, "output.LayerNorm");
    const size_t keys = stored(&c, "in.mask")->count;
    const int32_t *seen = ints(&c, "in.mask");
    float *mask = vc_arena_alloc(c.arena, keys, sizeof *mask);
    for (size_t i = 0; i < keys; i++)
        mask[i] = (float)(1 - seen[i]) * -10000;
    NnVar *x = leaf(&c, "in.x"), *enc = cross ? leaf(&c, "in.enc") : NULL;
    NnVar *y = attend(&c, &self, x, x, mask);
    if (cross)
        y = attend(&c, &other, y, enc, NULL);
    NnVar *h = dense(&c, &down, nn_gelu(c.t, dense(&c, &up, y)));
    y = norm(&c, &last, nn_add(c.t, h, y), 1e-12);
    check(&c, y->value, "out.y");
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_x");
    check_attention(&c, &self);
    if (cross) {
        check(&c, enc->grad, "out.d_enc");
        check_attention(&c, &other);
    }
    check_layer(&c, &up);
    check_layer(&c, &down);
    check_layer(&c, &last);
    close_component(&c);
}

static void bert_layer_self(void **state)
{
    (void)state;
    bert_layer("bert_layer_self", false);
}

static void bert_layer_cross(void **state)
{
    (void)state;
    bert_layer("bert_layer_cross", true);
}

static void bert_embeddings(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "bert_embeddings");
    NnTape *t = c.t;
    const size_t B = stored(&c, "in.ids")->shape.dim[0], T = stored(&c, "in.ids")->shape.dim[1];
    NnVar *word = param(&c, "word_embeddings", "weight"), *position = param(&c, "position_embeddings", "weight");
    NnVar *type = param(&c, "token_type_embeddings", "weight");
    const Layer last = layer(&c, "LayerNorm");
    int32_t *first = nn_tape_alloc_ids(t, T), zero = 0;
    for (size_t i = 0; i < T; i++)
        first[i] = (int32_t)i;
    NnVar *x = nn_embedding(t, word, ints(&c, "in.ids"), B, T, 0);
    x = nn_add(t, x, nn_gather(t, position, first, T));
    x = nn_add(t, x, nn_gather(t, type, &zero, 1));
    NnVar *y = norm(&c, &last, x, 1e-12);
    check(&c, y->value, "out.y");
    nn_backward_from(t, y, floats(&c, "in.dy"));
    check_param(&c, word, "word_embeddings", "weight");
    check_param(&c, position, "position_embeddings", "weight");
    check_param(&c, type, "token_type_embeddings", "weight");
    check_layer(&c, &last);
    for (size_t i = 0; i < word->shape.dim[1]; i++)
        assert_true(word->grad[i] == 0); // the padding word, exactly
    close_component(&c);
}

static void layer_norm_of(const char *name, double eps)
{
    Component c;
    open_component(&c, name);
    NnVar *x = leaf(&c, "in.x"), *g = param(&c, "", "weight"), *b = param(&c, "", "bias");
    const size_t R = x->shape.dim[0], C = x->shape.dim[1];
    NnVar *y = nn_layer_norm(c.t, x, g, b, eps);
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    // The last row is nearly constant: its deviations cancel, and float's input rounding decides. Its own limit.
    float *want_y = floats(&c, "out.y"), *want_d = floats(&c, "out.d_x");
    const size_t at = (R - 1) * C;
    for (int which = 0; which < 2; which++) {
        const float *got = which ? x->grad + at : y->value + at, *want = which ? want_d + at : want_y + at;
        double largest = 0;
        for (size_t i = 0; i < C; i++)
            largest = fmax(largest, fabs((double)want[i]));
        for (size_t i = 0; i < C; i++)
            assert_close((double)got[i], (double)want[i], 2e-3 * largest);
    }
    memcpy(y->value + at, want_y + at, C * sizeof(float));
    memcpy(x->grad + at, want_d + at, C * sizeof(float));
    check_rows(&c, y->value, "out.y", R, c.limit);
    check_rows(&c, x->grad, "out.d_x", R, c.limit);
    check_rows(&c, g->grad, "grad.weight", 1, 1e-3);
    check(&c, b->grad, "grad.bias");
    close_component(&c);
}

static void layer_norm(void **state)
{
    (void)state;
    layer_norm_of("layer_norm_eps1e-05", 1e-5);
    layer_norm_of("layer_norm_eps1e-06", 1e-6);
    layer_norm_of("layer_norm_eps1e-12", 1e-12);
}

static void gelu(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "gelu");
    NnVar *x = leaf(&c, "in.x"), *y = nn_gelu(c.t, x);
    check(&c, y->value, "out.y");
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_x");
    close_component(&c);
}

static void l2_normalize(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "l2_normalize");
    NnVar *x = leaf(&c, "in.x"), *y = nn_l2_normalize(c.t, x);
    check_rows(&c, y->value, "out.y", x->shape.dim[0], c.limit);
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check_rows(&c, x->grad, "out.d_x", x->shape.dim[0], c.limit);
    close_component(&c);
}

static void losses(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "hard_ce");
    NnVar *x = leaf(&c, "in.logits"), *y = nn_cross_entropy(c.t, x, ints(&c, "in.labels"));
    check(&c, y->value, "out.y");
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_logits");
    close_component(&c);

    open_component(&c, "soft_target_ce");
    x = leaf(&c, "in.logits");
    y = nn_soft_cross_entropy(c.t, x, floats(&c, "in.targets"), NULL);
    check(&c, y->value, "out.y");
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_logits");
    close_component(&c);
}

static void mlm_blend_of(const char *name, double alpha)
{
    Component c;
    open_component(&c, name);
    NnVar *x = leaf(&c, "in.logits");
    const int32_t *labels = ints(&c, "in.labels");
    NnVar *rows = nn_reshape(c.t, x, NN_SHAPE(x->shape.dim[0] * x->shape.dim[1], x->shape.dim[2]));
    NnVar *parts[] = {nn_cross_entropy(c.t, rows, labels),
                      nn_soft_cross_entropy(c.t, rows, floats(&c, "in.teacher_probs"), labels)};
    NnVar *y = nn_weighted_sum(c.t, parts, (const double[]){1 - alpha, alpha}, 2);
    check(&c, y->value, "out.y");
    nn_backward_from(c.t, y, floats(&c, "in.dy"));
    check(&c, x->grad, "out.d_logits");
    close_component(&c);
}

static void mlm_blend(void **state)
{
    (void)state;
    mlm_blend_of("mlm_blend_alpha0", 0);
    mlm_blend_of("mlm_blend_alpha0.4", 0.4);
}

static void check_absolute(Component *c, const char *what, int step, const float *got, const char *name)
{
    VcStr full = {0};
    vc_str_putf(&full, "%s%d.%s", what, step, name);
    const float *want = floats(c, full.data);
    for (size_t i = 0; i < stored(c, full.data)->count; i++) {
        const double error = fabs((double)got[i] - (double)want[i]);
        if (error > c->worst) {
            c->worst = error;
            c->worst_at = what;
        }
        assert_true(error <= c->limit);
    }
    vc_str_finish(&full);
}

static void adamw(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "adamw");
    c.limit = 2e-7;
    static const char *const names[] = {"b", "temp", "w"};
    static const double rates[] = {0.001, 0.0004, 0.002};
    NnParams params;
    nn_params_init(&params);
    nn_params_add(&params, "b", NN_SHAPE(4), 0);
    nn_params_add(&params, "temp", NN_SCALAR, NN_PARAM_DECAY);
    nn_params_add(&params, "w", NN_SHAPE(3, 4), NN_PARAM_DECAY);
    nn_params_allocate(&params, true);
    const NnAdamw settings = nn_adamw_default();
    for (int step = 0; step <= 3; step++) {
        for (size_t i = 0; i < 3; i++) {
            VcStr name = {0};
            vc_str_putf(&name, "%s%d.%s", step ? "g" : "p", step, names[i]);
            float *to = (step ? params.grad : params.value) + params.items[i].offset;
            memcpy(to, floats(&c, name.data), params.items[i].size * sizeof *to);
            vc_str_finish(&name);
        }
        if (!step)
            continue;
        nn_adamw_step(&c.ctx, &params, &settings, rates[step - 1], (uint64_t)step, 1);
        for (size_t i = 0; i < 3; i++) {
            check_absolute(&c, "p", step, params.value + params.items[i].offset, names[i]);
            check_absolute(&c, "m", step, params.m + params.items[i].offset, names[i]);
            check_absolute(&c, "v", step, params.v + params.items[i].offset, names[i]);
        }
    }
    nn_params_finish(&params);
    close_component(&c);
}

static void mae_masking(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "mae_masking");
    const NnShape image = stored(&c, "in.image")->shape, target = stored(&c, "out.target")->shape;
    const size_t B = image.dim[0], S = image.dim[2], N = target.dim[1], C = target.dim[2], P = 4;
    int32_t *shuffle = vc_arena_alloc(c.arena, B * N, sizeof *shuffle);
    int32_t *restore = vc_arena_alloc(c.arena, B * N, sizeof *restore);
    float *mask = vc_arena_alloc(c.arena, B * N, sizeof *mask);
    float *patches = vc_arena_alloc(c.arena, B * N * C, sizeof *patches);
    nn_masking(shuffle, restore, mask, floats(&c, "in.noise"), (size_t)((double)N * 0.25), B, N);
    assert_memory_equal(shuffle, ints(&c, "out.ids_shuffle"), B * N * sizeof *shuffle);
    assert_memory_equal(restore, ints(&c, "out.ids_restore"), B * N * sizeof *restore);
    assert_memory_equal(mask, floats(&c, "out.mask"), B * N * sizeof *mask);
    nn_patchify(patches, floats(&c, "in.image"), B, image.dim[1], S, P);
    assert_memory_equal(patches, floats(&c, "out.patches"), B * N * C * sizeof *patches);
    nn_standardize_rows(patches, patches, B * N, C);
    check_rows(&c, patches, "out.target", B * N, c.limit);
    close_component(&c);
}

static void positions(void **state)
{
    (void)state;
    Component c;
    open_component(&c, "pos_embed_interp");
    c.limit = 1e-7;
    const float *in = floats(&c, "in.pos14");
    const size_t C = stored(&c, "in.pos14")->shape.dim[2];
    float *out = vc_arena_alloc(c.arena, 257 * C, sizeof *out);
    static const size_t grids[] = {16, 9};
    for (size_t i = 0; i < 2; i++) {
        const char *name = i ? "out.pos9" : "out.pos16";
        const float *want = floats(&c, name);
        nn_interpolate_positions(out, in, 1, 14, grids[i], C);
        for (size_t j = 0; j < (grids[i] * grids[i] + 1) * C; j++) {
            c.worst = fmax(c.worst, fabs((double)out[j] - (double)want[j]));
            assert_close((double)out[j], (double)want[j], c.limit);
        }
    }
    close_component(&c);

    open_component(&c, "sincos2d");
    c.limit = 1e-6;
    static const struct {
        const char *name;
        size_t C, G;
    } tables[] = {{"out.d12_g3", 12, 3}, {"out.d8_g4", 8, 4}, {"out.d768_g2", 768, 2}};
    for (size_t i = 0; i < 3; i++) {
        const size_t n = (1 + tables[i].G * tables[i].G) * tables[i].C;
        assert_int_equal(stored(&c, tables[i].name)->count, n);
        float *table = vc_arena_alloc(c.arena, n, sizeof *table);
        nn_sincos_positions(table, tables[i].G, tables[i].C);
        check(&c, table, tables[i].name);
    }
    close_component(&c);
}

// ---- scheduler.json

static double worst_of_events(const NnVichaSchedule *s, const VcJson *run, double worst)
{
    const VcJson *events = vc_json_member(run, "events");
    const size_t n = vc_json_length(events);
    assert_true(n > 2);
    for (size_t i = 0; i < n; i++) {
        const VcJson *event = vc_json_item(events, i);
        const double lr = vc_json_number(vc_json_item(event, 4), -1);
        const uint64_t epoch = (uint64_t)vc_json_int(vc_json_item(event, 1), -1);
        const uint64_t t = (uint64_t)vc_json_int(vc_json_item(event, 3), -1);
        worst = fmax(worst, fabs(nn_vicha_lr(s, t) - lr));
        // "iter": in force from the iteration after it; "epoch": from the first one on.
        const int64_t iteration = vc_json_int(vc_json_item(event, 2), -1);
        worst = fmax(worst, fabs(nn_vicha_lr_at(s, epoch, (uint64_t)(iteration + 1)) - lr));
        if (iteration > 0)
            worst = fmax(worst, fabs(nn_vicha_lr_at(s, epoch, (uint64_t)iteration + 100) - lr));
    }
    return worst;
}

static void scheduler(void **state)
{
    (void)state;
    VcStr path = {0};
    vc_str_putf(&path, "%s/scheduler.json", folder);
    VcJson *json = NULL;
    assert_ok(vc_json_read_file(&json, path.data, 1 << 20, err));
    static const char *const names[] = {"paper_1m_11_epochs", "paper_4m_30_epochs"};
    for (size_t i = 0; i < 2; i++) {
        const VcJson *setting = vc_json_member(json, names[i]);
        const NnVichaSchedule s = {.start = vc_json_number(vc_json_member(setting, "initial_lr"), 0),
                                   .peak = 1e-4,
                                   .min = 1e-5,
                                   .warmup = 20,
                                   .epochs = (uint64_t)vc_json_int(vc_json_member(setting, "num_epochs"), 0)};
        const VcJson *table = vc_json_member(setting, "lr_of_t"), *runs = vc_json_member(setting, "training_run");
        assert_int_equal(vc_json_length(table), 61);
        double worst = 0;
        for (size_t t = 0; t <= 60; t++)
            worst = fmax(worst, fabs(nn_vicha_lr(&s, t) - vc_json_number(vc_json_item(table, t), -1)));
        assert_true(vc_json_length(runs) > 0);
        for (size_t r = 0; r < vc_json_length(runs); r++)
            worst = worst_of_events(&s, vc_json_item(runs, r), worst);
        printf("# %-22s worst %.2e of 1e-12\n", names[i], worst);
        assert_true(worst <= 1e-12);
        assert_true(nn_vicha_lr_at(&s, 0, 0) == s.start);
    }
    vc_json_destroy(&json);
    vc_str_finish(&path);
}

int main(void)
{
    folder = test_shared("golden/train/components");
    if (!folder)
        return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vit_block),
        cmocka_unit_test(patch_embed),
        cmocka_unit_test(bert_layer_self),
        cmocka_unit_test(bert_layer_cross),
        cmocka_unit_test(bert_embeddings),
        cmocka_unit_test(layer_norm),
        cmocka_unit_test(gelu),
        cmocka_unit_test(l2_normalize),
        cmocka_unit_test(losses),
        cmocka_unit_test(mlm_blend),
        cmocka_unit_test(adamw),
        cmocka_unit_test(mae_masking),
        cmocka_unit_test(positions),
        cmocka_unit_test(scheduler),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(folder);
    return failed;
}
