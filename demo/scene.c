// SPDX-License-Identifier: MIT
#include "demo/scene.h"

#include "base/err.h"

#include <math.h>
#include <string.h>

static const DemoColour colours[DEMO_COLOURS] = {
    {"red", NULL, {212, 38, 40}},     {"orange", NULL, {248, 130, 22}},  {"yellow", NULL, {250, 214, 45}},
    {"green", NULL, {46, 150, 66}},   {"blue", NULL, {36, 86, 208}},     {"purple", "violet", {126, 58, 170}},
    {"pink", NULL, {246, 128, 182}},  {"brown", NULL, {124, 78, 42}},    {"black", NULL, {28, 28, 32}},
    {"white", NULL, {247, 247, 244}}, {"gray", "grey", {138, 140, 146}}, {"turquoise", "teal", {36, 188, 190}},
};

const DemoColour *demo_colour(size_t index)
{
    VC_ASSERT(index < DEMO_COLOURS);
    return &colours[index];
}

static float uniform(VcRng *rng, float low, float high)
{
    return low + (high - low) * (float)vc_rng_uniform(rng);
}

// An index drawn with the given weights.
static size_t draw(VcRng *rng, const float *weights, size_t n)
{
    float total = 0, u;
    for (size_t i = 0; i < n; i++)
        total += weights[i];
    u = uniform(rng, 0, total);
    for (size_t i = 0; i + 1 < n; i++) {
        if (u < weights[i])
            return i;
        u -= weights[i];
    }
    return n - 1;
}

static DemoRgb mix(DemoRgb a, DemoRgb b, float t)
{
    return (DemoRgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static float clamp255(float v)
{
    return fminf(fmaxf(v, 0), 255);
}

static DemoRgb jitter(VcRng *rng, DemoRgb c, float by)
{
    float light = uniform(rng, -by, by), r = uniform(rng, -by, by), g = uniform(rng, -by, by),
          b = uniform(rng, -by, by);
    return (DemoRgb){clamp255(c.r + light + r / 2), clamp255(c.g + light + g / 2), clamp255(c.b + light + b / 2)};
}

// "Redmean" distance of two colours (Riemersma): near what an eye sees, 0..765.
static float distance(DemoRgb a, DemoRgb b)
{
    float mean = (a.r + b.r) / 2, r = a.r - b.r, g = a.g - b.g, bl = a.b - b.b;
    return sqrtf((2 + mean / 256) * r * r + 4 * g * g + (2 + (255 - mean) / 256) * bl * bl);
}

// Mostly light, as paper and sky are; now and then dark.
static void sample_background(DemoScene *s, VcRng *rng)
{
    static const float kinds[DEMO_BACKGROUNDS] = {30, 22, 18, 16, 14};
    const DemoRgb white = {255, 255, 255}, black = {10, 10, 14};
    s->background = (DemoBackground)draw(rng, kinds, DEMO_BACKGROUNDS);
    if (s->background == DEMO_MEADOW) {
        s->high = jitter(rng, (DemoRgb){172, 214, 246}, 12);
        s->low = jitter(rng, (DemoRgb){168, 212, 132}, 12);
        s->background_colour = DEMO_COLOURS;
        s->dark = s->pale = false;
        return;
    }
    s->dark = vc_rng_uniform(rng) < 0.03;
    do {
        s->background_colour = (size_t)vc_rng_below(rng, DEMO_COLOURS);
    } while (s->background_colour == (s->dark ? DEMO_WHITE : DEMO_BLACK));
    bool neutral = s->background_colour == DEMO_WHITE || s->background_colour == DEMO_BLACK;
    DemoRgb c = jitter(rng, colours[s->background_colour].rgb, 8);
    if (!neutral)
        c = s->dark ? mix(c, black, uniform(rng, 0.55f, 0.7f)) : mix(c, white, uniform(rng, 0.68f, 0.82f));
    s->pale = !s->dark && !neutral;
    s->low = s->high = c;
    if (s->background == DEMO_GRADIENT) {
        s->high = mix(c, white, 0.3f);
        s->low = mix(c, black, 0.1f);
    }
}

// A colour that stands out: light on dark, and on light ground one that at least one channel sees as dark.
static size_t sample_colour(const DemoScene *s, VcRng *rng)
{
    for (;;) {
        size_t c = (size_t)vc_rng_below(rng, DEMO_COLOURS);
        DemoRgb rgb = colours[c].rgb;
        bool light = rgb.r + rgb.g + rgb.b > 380;
        if (s->dark ? light : c != DEMO_WHITE && fminf(distance(rgb, s->low), distance(rgb, s->high)) > 170)
            return c;
    }
}

static void sample_groups(DemoScene *s, VcRng *rng)
{
    static const float group_weights[DEMO_MAX_GROUPS] = {66, 25, 7, 2};
    static const float textures[DEMO_TEXTURES] = {66, 7, 7, 4, 12, 4};
    s->group_count = 1 + draw(rng, group_weights, DEMO_MAX_GROUPS);
    s->object_count = 0;
    for (size_t i = 0; i < s->group_count; i++) {
        DemoGroup *g = &s->groups[i];
        bool taken;
        memset(g, 0, sizeof(*g));
        do {
            taken = false;
            g->shape = (size_t)vc_rng_below(rng, DEMO_SHAPES);
            for (size_t j = 0; j < i; j++)
                taken = taken || s->groups[j].shape == g->shape;
        } while (taken);
        g->colour = sample_colour(s, rng);
        g->rgb = jitter(rng, colours[g->colour].rgb, 12);
        g->texture = (DemoTexture)draw(rng, textures, DEMO_TEXTURES);
        g->count = 1;
        size_t room = 4 - (s->object_count + s->group_count - i); // objects that may still be added
        if (room > 0 && vc_rng_uniform(rng) < 0.3)
            g->count += 1 + (room > 1 && vc_rng_uniform(rng) < 0.35);
        s->object_count += g->count;
    }
}

// Where objects stand, by their number, as shares of the side: near these places, the whole turned by quarters.
// Pictures that people make are composed; and a model that sees few of them learns more from order than from scatter.
static const float places[5][4][2] = {{{0, 0}},
                                      {{0, 0}},
                                      {{-0.22f, 0}, {0.22f, 0}},
                                      {{-0.22f, -0.22f}, {0.22f, -0.22f}, {0, 0.22f}},
                                      {{-0.22f, -0.22f}, {0.22f, -0.22f}, {-0.22f, 0.22f}, {0.22f, 0.22f}}};

static void place_one(DemoScene *s, VcRng *rng, DemoObject *o, const float place[2], float wander, uint64_t quarters)
{
    float x = place[0], y = place[1], side = (float)s->side, low = 0.85f * o->r;
    for (uint64_t k = 0; k < quarters; k++) {
        float t = x;
        x = -y;
        y = t;
    }
    x = side * (0.5f + x + uniform(rng, -wander, wander));
    y = side * (0.5f + y + uniform(rng, -wander, wander));
    o->x = fminf(fmaxf(x, low), side - low);
    o->y = fminf(fmaxf(y, low), side - low);
}

static void place(DemoScene *s, VcRng *rng)
{
    static const float least[5] = {0, 0.29f, 0.24f, 0.21f, 0.2f}, most[5] = {0, 0.42f, 0.31f, 0.27f, 0.25f};
    static const float wander[5] = {0, 0.1f, 0.06f, 0.05f, 0.05f};
    size_t n = 0, total = s->object_count, order[4] = {0, 1, 2, 3};
    vc_rng_shuffle(rng, order, total, sizeof(order[0]));
    uint64_t quarters = vc_rng_below(rng, 4);
    bool free = vc_rng_uniform(rng) < 0.1; // anywhere
    for (size_t g = 0; g < s->group_count; g++) {
        DemoGroup *group = &s->groups[g];
        float r = (float)s->side * uniform(rng, least[total], most[total]), turn = demo_shape(group->shape)->turn;
        for (size_t c = 0; c < group->count; c++, n++) {
            DemoObject *o = &s->objects[n];
            o->group = g;
            o->r = r * uniform(rng, 0.93f, 1.07f);
            o->angle = uniform(rng, -1, 1) * turn * 3.14159265f / 180;
            o->flip = vc_rng_uniform(rng) < 0.5;
            place_one(s, rng, o, free ? places[1][0] : places[total][order[n]], free ? 0.5f : wander[total], quarters);
        }
    }
}

void demo_scene_sample(DemoScene *scene, VcRng *rng, int side)
{
    VC_ASSERT(side >= DEMO_MIN_SIDE && side <= DEMO_MAX_SIDE);
    memset(scene, 0, sizeof(*scene));
    scene->side = side;
    sample_background(scene, rng);
    sample_groups(scene, rng);
    scene->noise = vc_rng_uniform(rng) < 0.5 ? uniform(rng, 0, 3) : uniform(rng, 3, 12);
    scene->quality = 50 + (int)vc_rng_below(rng, 46);
    scene->paint_seed = vc_rng_u64(rng);
    for (int attempt = 0; attempt < 50; attempt++) {
        place(scene, rng);
        if (demo_scene_hidden(scene) <= 1 - DEMO_VISIBLE)
            break;
    }
    for (size_t i = 0; i < scene->object_count; i++) {
        DemoGroup *g = &scene->groups[scene->objects[i].group];
        g->x += scene->objects[i].x / (float)g->count;
        g->y += scene->objects[i].y / (float)g->count;
        g->r += scene->objects[i].r / (float)g->count;
    }
}
