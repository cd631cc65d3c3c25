// SPDX-License-Identifier: MIT
// check_train DIR: replays the recorded training steps of a folder (golden/train, or another of the same form with
// other sizes) and compares losses, intermediate values, gradients, parameters, teachers and queues with the recorded
// ones. The limits are those of the README that comes with the folder. Exit status 0: all hold; 1: not; 77: no folder
// with --shared NAME (below $VICHA_SHARED).
#include "base/mem.h"
#include "tests/train/compare.h"
#include "tests/train/fixture.h"
#include "tests/train/forward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    Fixture f;
    NnContext context;
    NnTape *tape;
    TrainTrace trace;
    bool ok;
    double lr_sum;
} Check;

static void report(Check *c, const Group *g)
{
    c->ok = group_report(g) && c->ok;
}

// ---- losses

static double noted(const Check *c, const char *name)
{
    const NnVar *x = train_noted(&c->trace, name);
    return x ? (double)x->value[0] : 0;
}

static void check_losses(Check *c, size_t k, const FixtureStep *step, const TrainLoss *loss)
{
    const VcJson *expected = vc_json_member(step->json, "loss_f64");
    const double itc = loss->parts[0].value;
    double part[TRAIN_MAX_LOSSES] = {0};
    static const char *const names[] = {"itc", "hitc", "itm", "mlm", "mim"};
    for (size_t i = 0; i < loss->count; i++) {
        for (size_t n = 0; n < 5; n++)
            part[n] = strcmp(loss->parts[i].name, names[n]) == 0 ? loss->parts[i].value : part[n];
    }
    const struct {
        const char *name;
        double value;
    } ours[] = {{"ita_i2t", noted(c, "ita_i2t")},
                {"ita_t2i", noted(c, "ita_t2i")},
                {"ita_global", itc},
                {"hitc_unweighted", part[1]},
                {"ita_total", part[0] + c->f.recipe.loss_hitc * part[1]},
                {"itm", part[2]},
                {"mlm", part[3]},
                {"mae", part[4]},
                {"total", (double)loss->total->value[0]}};
    char title[32];
    snprintf(title, sizeof title, "losses of step %zu", k);
    Group g = {.name = title};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        const VcJson *value = vc_json_member(expected, ours[i].name);
        if (value)
            group_add(&g, ours[i].name, fabs(ours[i].value - vc_json_number(value, NAN)), k == 1 ? 2e-5 : 5e-5);
    }
    const VcJson *levels = vc_json_member(c->f.json, "hitc_level_losses_step1_f64");
    for (size_t i = 0; k == 1 && i < vc_json_length(levels); i++) {
        char name[32];
        snprintf(name, sizeof name, "hitc.loss.%zu", i);
        group_add(&g, name, fabs(noted(c, name) - vc_json_number(vc_json_item(levels, i), NAN)), 2e-5);
    }
    report(c, &g);
}

// ---- recorded decisions: those that follow from other recorded numbers

static void check_draws(Check *c, size_t k, const FixtureStep *step)
{
    char title[40];
    snprintf(title, sizeof title, "masks and words of step %zu", k);
    Group g = {.name = title};
    forward_check_draws(&c->f, k, step, &g);
    if (g.compared > 0)
        report(c, &g);
}

// ---- gradients

// Elements whose gradient is zero by mathematics: key biases of attention.
static void noise_range(const Check *c, const char *name, size_t size, size_t *from, size_t *to)
{
    const VcJson *noise = vc_json_member(c->f.json, "grad_noise_only");
    static const char *const lists[] = {"whole_tensor", "middle_third"};
    *from = *to = 0;
    for (size_t k = 0; k < 2; k++) {
        const VcJson *list = vc_json_member(noise, lists[k]);
        for (size_t i = 0; i < vc_json_length(list); i++) {
            const char *entry = vc_json_string(vc_json_item(list, i), NULL);
            if (entry && strcmp(entry, name) == 0) {
                *from = k ? size / 3 : 0;
                *to = k ? 2 * size / 3 : size;
            }
        }
    }
}

static bool check_gradients(Check *c, size_t k, VcErr *err)
{
    NnSafetensors *st = NULL;
    char name[40];
    snprintf(name, sizeof name, "grads%zu", k);
    if (!fixture_file(&c->f, name, &st, err) || !st)
        return st == NULL && (!err || err->code == VC_OK);
    snprintf(name, sizeof name, "gradients of step %zu", k);
    Group g = {.name = name}, noise = {.name = "gradients that are zero"};
    const NnParams *p = &c->f.model->params;
    for (size_t i = 0; i < p->count; i++) {
        const NnParamInfo *info = &p->items[i];
        const NnStored *stored = nn_safetensors_find(st, info->name);
        if (!stored || !nn_shape_equal(&stored->shape, &info->shape)) {
            if (!(info->flags & NN_PARAM_FROZEN))
                group_add(&g, info->name, INFINITY, 0);
            continue;
        }
        const VcArenaMark mark = vc_arena_mark(c->f.arena);
        const double *expected = fixture_values(stored, c->f.arena);
        double *ours = forward_doubles(&c->f, p->grad + info->offset, info->size);
        size_t from, to;
        noise_range(c, info->name, info->size, &from, &to);
        if (to > from)
            group_add(&noise, info->name, largest_value(ours + from, to - from), 1e-6);
        for (size_t j = from; j < to; j++)
            ours[j] = expected[j];
        group_add(&g, info->name, largest_error(ours, expected, info->size),
                  5e-5 * largest_value(expected, info->size) + 1e-7);
        vc_arena_release(c->f.arena, mark);
    }
    nn_safetensors_close(&st);
    report(c, &g);
    report(c, &noise);
    return true;
}

// ---- states

static void add_queue(Check *c, const NnStored *t, Group *queues, double limit)
{
    const TrainQueue *q = &c->f.model->queue;
    const double *expected = fixture_values(t, c->f.arena);
    if (strcmp(t->name, "queue_ptr") == 0) {
        group_add(queues, t->name, fabs((double)q->next - expected[0]), 0);
        return;
    }
    const nn_real *rows = (t->name[0] == 'i' ? q->images : q->texts) + q->room * q->width;
    double worst = 0;
    for (size_t i = 0; i < q->length; i++) {
        for (size_t j = 0; j < q->width; j++)
            worst = fmax(worst, fabs((double)rows[i * q->width + j] - expected[j * q->length + i]));
    }
    group_add(queues, t->name, worst, limit);
}

// Of all trained numbers together, 99.95 % must be as near as `limit`, the rest within twice the rates so far.
typedef struct {
    size_t all, far;
    double worst_near, worst_far;
    char where[96];
} Spread;

static void add_trained(const Check *c, Spread *s, const NnStored *t, const nn_real *value, double limit)
{
    const double *expected = fixture_values(t, c->f.arena);
    size_t from, to;
    noise_range(c, t->name, t->count, &from, &to);
    for (size_t j = 0; j < t->count; j++) {
        if (j >= from && j < to)
            continue;
        const double error = fabs((double)value[j] - expected[j]);
        s->all++;
        if (error <= limit) {
            s->worst_near = fmax(s->worst_near, error);
            continue;
        }
        s->far++;
        if (!(error <= s->worst_far)) {
            s->worst_far = isnan(error) ? INFINITY : error;
            snprintf(s->where, sizeof s->where, "%s", t->name);
        }
    }
}

static void report_spread(Check *c, const Spread *s, size_t k, double limit)
{
    char name[40], far[48];
    snprintf(name, sizeof name, "parameters after step %zu", k);
    snprintf(far, sizeof far, "share further off after step %zu", k);
    Group rest = {.name = name}, share = {.name = far};
    group_add(&rest, s->far ? s->where : "all within the near limit", s->far ? s->worst_far : s->worst_near,
              s->far ? 2 * c->lr_sum : limit);
    group_add(&share, "of all trained numbers", s->all ? (double)s->far / (double)s->all : 1, 5e-4);
    report(c, &rest);
    report(c, &share);
}

// Teachers lag a step behind: what is noise in their students reaches them from the second step on.
static void add_teacher(const Check *c, Group *g, size_t k, const NnStored *t, const nn_real *value, double limit)
{
    const double *expected = fixture_values(t, c->f.arena);
    double *ours = forward_doubles(&c->f, value, t->count);
    VcStr student = {0};
    const char *mark = strstr(t->name, "_m.");
    vc_str_putf(&student, "%.*s%s", (int)(mark - t->name), t->name, mark + 2);
    size_t from, to;
    noise_range(c, student.data, t->count, &from, &to);
    vc_str_finish(&student);
    for (size_t j = from; k > 1 && j < to; j++)
        ours[j] = expected[j];
    group_add(g, t->name, largest_error(ours, expected, t->count), limit);
}

static bool check_state(Check *c, size_t k, const char *stem, VcErr *err)
{
    NnSafetensors *st = NULL;
    char file[32], teachers_name[40], queues_name[40];
    snprintf(file, sizeof file, "%s%zu", stem, k);
    if (!fixture_file(&c->f, file, &st, err))
        return false;
    if (!st)
        return true;
    snprintf(teachers_name, sizeof teachers_name, "momentum copies after step %zu", k);
    snprintf(queues_name, sizeof queues_name, "queues after step %zu", k);
    const double near = k == 1 ? 2e-6 : 5e-6, copy = k == 1 ? 1e-6 : 5e-6;
    Group teachers = {.name = teachers_name}, queues = {.name = queues_name};
    Spread spread = {0};
    for (size_t i = 0; i < nn_safetensors_count(st); i++) {
        const NnStored *t = nn_safetensors_at(st, i);
        const NnParamInfo *info;
        bool momentum;
        const VcArenaMark mark = vc_arena_mark(c->f.arena);
        const nn_real *value = fixture_param(&c->f, t->name, &info, &momentum);
        if (strstr(t->name, "queue")) {
            add_queue(c, t, &queues, copy);
        } else if (!value || !nn_shape_equal(&info->shape, &t->shape)) {
            group_add(&teachers, t->name, INFINITY, 0);
        } else if (momentum) {
            add_teacher(c, &teachers, k, t, value, copy);
        } else {
            add_trained(c, &spread, t, value, near);
        }
        vc_arena_release(c->f.arena, mark);
    }
    nn_safetensors_close(&st);
    if (spread.all > 0)
        report_spread(c, &spread, k, near);
    if (teachers.compared > 0)
        report(c, &teachers);
    report(c, &queues);
    return true;
}

// ---- the optimizer's groups

static bool is_listed(const VcJson *list, const char *name)
{
    for (size_t i = 0; i < vc_json_length(list); i++) {
        const char *entry = vc_json_string(vc_json_item(list, i), NULL);
        if (entry && strcmp(entry, name) == 0)
            return true;
    }
    return false;
}

static void check_decay(Check *c)
{
    const VcJson *optimizer = vc_json_member(c->f.json, "optimizer");
    const VcJson *decay = vc_json_member(optimizer, "decay"), *no_decay = vc_json_member(optimizer, "no_decay");
    const NnParams *p = &c->f.model->params;
    Group g = {.name = "weight decay groups"};
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i].flags & NN_PARAM_FROZEN)
            continue;
        const VcJson *list = p->items[i].flags & NN_PARAM_DECAY ? decay : no_decay;
        group_add(&g, p->items[i].name, is_listed(list, p->items[i].name) ? 0 : 1, 0);
    }
    group_add(&g, "number of trained tensors",
              fabs((double)(vc_json_length(decay) + vc_json_length(no_decay)) - (double)g.compared), 0);
    report(c, &g);
}

static NnAdamw adamw_of(const Fixture *f)
{
    const VcJson *o = vc_json_member(f->json, "optimizer"), *betas = vc_json_member(o, "betas");
    NnAdamw a = nn_adamw_default();
    a.beta1 = vc_json_number(vc_json_item(betas, 0), a.beta1);
    a.beta2 = vc_json_number(vc_json_item(betas, 1), a.beta2);
    a.eps = vc_json_number(vc_json_member(o, "eps"), a.eps);
    a.weight_decay = vc_json_number(vc_json_member(o, "weight_decay"), a.weight_decay);
    return a;
}

// ---- all steps

static bool replay_step(Check *c, size_t k, VcErr *err)
{
    FixtureStep step;
    TrainModel *model = c->f.model;
    if (!fixture_step(&c->f, k, &step, err))
        return false;
    c->trace.count = 0;
    const TrainStep how = {.alpha = step.alpha, .first = true, .seed = k, .draws = &step.draws, .trace = &c->trace};
    TrainLoss loss;
    nn_tape_reset(c->tape);
    train_model_clamp(model);
    nn_params_zero_grad(&model->params);
    train_model_loss(model, c->tape, &step.batch, &how, &loss);
    nn_backward(c->tape, loss.total);
    check_draws(c, k, &step);
    check_losses(c, k, &step, &loss);
    Group forward = {.name = "intermediate values"}, backward = {.name = "gradients of values"};
    if (!forward_check(&c->f, c->tape, &c->trace, k, &step, &forward, &backward, err))
        return false;
    if (forward.compared > 0) {
        report(c, &forward);
        report(c, &backward);
    }
    if (!check_gradients(c, k, err))
        return false;
    train_model_advance(model);
    const NnAdamw adamw = adamw_of(&c->f);
    nn_adamw_step(&c->context, &model->params, &adamw, step.lr, k, 1);
    c->lr_sum += step.lr;
    return check_state(c, k, "state", err) && check_state(c, k, "queues", err);
}

static bool replay(Check *c, const char *dir, VcErr *err)
{
    if (!fixture_open(&c->f, dir, err))
        return false;
    check_decay(c);
    for (size_t k = 1; k <= c->f.steps; k++) {
        if (!replay_step(c, k, err))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    VcStr dir = {0};
    VcErr err = {0};
    struct stat there;
    if (argc == 3 && strcmp(argv[1], "--shared") == 0) {
        const char *shared = getenv("VICHA_SHARED");
        vc_str_putf(&dir, "%s/%s", shared ? shared : "", argv[2]);
        if (stat(dir.data, &there) != 0) {
            printf("skipped: '%s' is not there\n", dir.data);
            vc_str_finish(&dir);
            return 77;
        }
    } else if (argc == 2) {
        vc_str_put(&dir, argv[1]);
    } else {
        fprintf(stderr, "usage: check_train DIR\n");
        return 2;
    }
    VcPool *pool = vc_pool_create(vc_cpu_count());
    Check *c = vc_calloc(1, sizeof *c);
    c->ok = true;
    nn_context_init(&c->context, pool);
    c->tape = nn_tape_create(&c->context);
    if (!replay(c, dir.data, &err)) {
        fprintf(stderr, "check_train: %s\n", err.text);
        c->ok = false;
    }
    const bool ok = c->ok;
    printf("%s\n", ok ? "all hold" : "FAILED");
    fixture_close(&c->f);
    nn_tape_destroy(&c->tape);
    nn_context_finish(&c->context);
    vc_pool_destroy(&pool);
    free(c);
    vc_str_finish(&dir);
    return ok ? 0 : 1;
}
