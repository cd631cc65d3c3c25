// SPDX-License-Identifier: MIT
// The picture of a scene: background, soft shadows, textured objects, noise.
#include "base/err.h"
#include "base/mem.h"
#include "demo/scene.h"

#include <math.h>
#include <string.h>

static DemoRgb mix(DemoRgb a, DemoRgb b, float t)
{
    return (DemoRgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static float clamp01(float v)
{
    return fminf(fmaxf(v, 0), 1);
}

// A value in [0,1) that depends on the cell and the seed alone (SplitMix64's finaliser).
static float hash01(uint64_t seed, int x, int y)
{
    uint64_t h = seed + (uint64_t)(uint32_t)x * 0x9E3779B97F4A7C15u + (uint64_t)(uint32_t)y * 0xC2B2AE3D27D4EB4Fu;
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
    return (float)((h ^ (h >> 31)) >> 40) / 16777216.0f;
}

// Smooth noise in [0,1): hashed lattice values, cubic blend.
static float cloudy(uint64_t seed, float x, float y)
{
    int ix = (int)floorf(x), iy = (int)floorf(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    fx = fx * fx * (3 - 2 * fx);
    fy = fy * fy * (3 - 2 * fy);
    float top = hash01(seed, ix, iy) * (1 - fx) + hash01(seed, ix + 1, iy) * fx;
    float low = hash01(seed, ix, iy + 1) * (1 - fx) + hash01(seed, ix + 1, iy + 1) * fx;
    return top * (1 - fy) + low * fy;
}

static DemoRgb background_at(const DemoScene *s, int x, int y)
{
    const DemoRgb white = {255, 255, 255}, black = {0, 0, 0};
    float side = (float)s->side, u = ((float)x + 0.5f) / side, v = ((float)y + 0.5f) / side;
    uint64_t seed = s->paint_seed;
    switch (s->background) {
    case DEMO_GRADIENT: {
        float turn = 6.2831853f * hash01(seed, 1, 1), t = (u - 0.5f) * cosf(turn) + (v - 0.5f) * sinf(turn) + 0.5f;
        return mix(s->high, s->low, clamp01(t));
    }
    case DEMO_GRAIN: {
        float n = 0.65f * cloudy(seed, 7 * u, 7 * v) + 0.35f * cloudy(seed + 1, 23 * u, 23 * v);
        return mix(mix(s->low, black, 0.1f), mix(s->low, white, 0.2f), n);
    }
    case DEMO_MEADOW: {
        float horizon = 0.5f + 0.2f * hash01(seed, 2, 2) + 0.05f * (cloudy(seed, 3 * u, 0) - 0.5f);
        float edge = clamp01((v - horizon) * side + 0.5f);
        DemoRgb sky = mix(s->high, white, 0.45f * clamp01(v / horizon));
        DemoRgb grass = mix(s->low, black, 0.14f * hash01(seed, x / 2, y / 3));
        return mix(sky, grass, edge);
    }
    case DEMO_GRID: {
        float pitch = side / (6 + floorf(5 * hash01(seed, 3, 3))), line = side * 0.006f;
        float dx = fabsf(fmodf((float)x + 0.5f, pitch) - pitch / 2),
              dy = fabsf(fmodf((float)y + 0.5f, pitch) - pitch / 2);
        float on = clamp01(line - fminf(dx, dy) + 0.5f);
        float grey = (s->low.r + s->low.g + s->low.b) / 3;
        return mix(s->low, grey > 128 ? black : white, 0.16f * on);
    }
    case DEMO_FLAT:
    case DEMO_BACKGROUNDS:
        break;
    }
    return s->low;
}

// Second colour of a pattern: light on dark, dark on light.
static DemoRgb partner(DemoRgb c)
{
    float grey = 0.3f * c.r + 0.59f * c.g + 0.11f * c.b;
    return grey < 150 ? mix(c, (DemoRgb){255, 255, 255}, 0.5f) : mix(c, (DemoRgb){20, 20, 30}, 0.5f);
}

// Colour of the body at (u, v) of the shape's own square.
static DemoRgb texture_at(const DemoGroup *g, float u, float v)
{
    DemoRgb c = g->rgb, other = partner(c);
    switch (g->texture) {
    case DEMO_STRIPES:
        return mix(c, other, clamp01(4 * (fabsf(fmodf(u + v + 4, 0.5f) - 0.25f) - 0.155f) / 0.1f));
    case DEMO_DOTS: {
        float a = fmodf(u + 4.2f, 0.44f) - 0.22f, b = fmodf(v + 4.2f, 0.44f) - 0.22f;
        return mix(c, other, clamp01((0.115f - hypotf(a, b)) / 0.05f));
    }
    case DEMO_CHECKS:
        return (((int)floorf(u / 0.33f + 100) + (int)floorf(v / 0.33f + 100)) & 1) ? mix(c, other, 0.75f) : c;
    case DEMO_SHADED:
        return mix(mix(c, (DemoRgb){255, 255, 255}, 0.35f), mix(c, (DemoRgb){0, 0, 0}, 0.4f),
                   clamp01((u + v) / 2 + 0.5f));
    case DEMO_PLAIN:
    case DEMO_OUTLINE:
    case DEMO_TEXTURES:
        break;
    }
    return c;
}

static DemoRgb detail_colour(const DemoShape *shape, DemoRgb c)
{
    switch (shape->detail_colour) {
    case DEMO_PART_LIGHT: {
        DemoRgb cream = {250, 240, 205};
        return c.r + c.g + c.b > 600 ? mix(c, (DemoRgb){90, 70, 30}, 0.7f) : mix(c, cream, 0.85f);
    }
    case DEMO_PART_BROWN:
        return (DemoRgb){108, 72, 44};
    case DEMO_PART_BLACK:
        return (DemoRgb){44, 44, 52};
    case DEMO_PART_DARK:
        break;
    }
    return c.r + c.g + c.b > 160 ? mix(c, (DemoRgb){0, 0, 0}, 0.5f) : mix(c, (DemoRgb){255, 255, 255}, 0.4f);
}

static void blend(float *pixel, DemoRgb c, float alpha)
{
    pixel[0] += (c.r - pixel[0]) * alpha;
    pixel[1] += (c.g - pixel[1]) * alpha;
    pixel[2] += (c.b - pixel[2]) * alpha;
}

// Where an object lies: its window in the picture, with a margin for the shadow, and its turn.
typedef struct {
    int x0, y0, width, height;
    float cosine, sine;
} Frame;

static Frame frame_of(const DemoObject *o, int side)
{
    float reach = 1.45f * o->r + 3, end = (float)side;
    Frame f = {.cosine = cosf(o->angle), .sine = sinf(o->angle)};
    f.x0 = (int)fmaxf(floorf(o->x - reach), 0);
    f.y0 = (int)fmaxf(floorf(o->y - reach), 0);
    f.width = (int)fminf(ceilf(o->x + reach), end) - f.x0;
    f.height = (int)fminf(ceilf(o->y + reach), end) - f.y0;
    return f;
}

// Position of a picture point in the shape's own square.
static void to_shape(const DemoObject *o, const Frame *f, float x, float y, float uv[2])
{
    float dx = (x - o->x) / o->r, dy = (y - o->y) / o->r, u = f->cosine * dx + f->sine * dy;
    uv[0] = o->flip ? -u : u;
    uv[1] = f->cosine * dy - f->sine * dx;
}

// Distances in pixels to the body and to the detail of an object, over its frame.
typedef struct {
    float body, detail;
} Reach;

static Reach reach_at(const DemoObject *o, const DemoShape *shape, const float uv[2])
{
    float far = 1.6f; // outside every shape: no need to ask
    if (uv[0] * uv[0] + uv[1] * uv[1] > far * far)
        return (Reach){o->r, o->r};
    return (Reach){shape->body(uv[0], uv[1]) * o->r, shape->detail ? shape->detail(uv[0], uv[1]) * o->r : o->r};
}

static float ink_of(const DemoGroup *g, float body, float stroke)
{
    return g->texture == DEMO_OUTLINE ? fmaxf(body, -(body + stroke)) : body;
}

static void paint_shadow(const DemoScene *s, const DemoObject *o, const Frame *f, const Reach *reach, float *canvas)
{
    const DemoGroup *g = &s->groups[o->group];
    float stroke = fmaxf(0.19f * o->r, 2.5f), blur = 0.1f * o->r + 1;
    int drop = (int)(0.07f * o->r + 1);
    for (int y = drop; y < f->height; y++) {
        for (int x = drop; x < f->width; x++) {
            const Reach *q = &reach[(y - drop) * f->width + x - drop];
            float d = fminf(ink_of(g, q->body, stroke), q->detail);
            float *pixel = canvas + 3 * ((size_t)(f->y0 + y) * (size_t)s->side + (size_t)(f->x0 + x));
            blend(pixel, (DemoRgb){0, 0, 0}, 0.22f * clamp01(0.5f - d / blur));
        }
    }
}

// Paints object `id` (1-based), notes its pixels in `owner` and fills box and the number of its pixels.
static size_t paint_object(const DemoScene *s, DemoObject *o, float *canvas, uint8_t *owner, uint8_t id)
{
    const DemoGroup *g = &s->groups[o->group];
    const DemoShape *shape = demo_shape(g->shape);
    DemoRgb accent = detail_colour(shape, g->rgb);
    float stroke = fmaxf(0.19f * o->r, 2.5f), contour = fmaxf(0.1f * o->r, 1.6f);
    Frame f = frame_of(o, s->side);
    Reach *reach = vc_alloc((size_t)f.width * (size_t)f.height, sizeof(*reach));
    int low[2] = {s->side, s->side}, high[2] = {-1, -1};
    size_t own = 0;
    for (int y = 0; y < f.height; y++) {
        for (int x = 0; x < f.width; x++) {
            float uv[2];
            to_shape(o, &f, (float)(f.x0 + x) + 0.5f, (float)(f.y0 + y) + 0.5f, uv);
            reach[y * f.width + x] = reach_at(o, shape, uv);
        }
    }
    paint_shadow(s, o, &f, reach, canvas);
    for (int y = 0; y < f.height; y++) {
        for (int x = 0; x < f.width; x++) {
            const Reach *q = &reach[y * f.width + x];
            if (q->body > contour + 1 && q->detail > contour + 1)
                continue;
            size_t at = (size_t)(f.y0 + y) * (size_t)s->side + (size_t)(f.x0 + x);
            float uv[2];
            to_shape(o, &f, (float)(f.x0 + x) + 0.5f, (float)(f.y0 + y) + 0.5f, uv);
            blend(canvas + 3 * at, texture_at(g, uv[0], uv[1]), clamp01(0.5f - ink_of(g, q->body, stroke)));
            blend(canvas + 3 * at, accent, clamp01(0.5f - q->detail));
            // A dark contour as in a picture book, most of it outside, so that thin shapes keep their colour.
            float whole = fminf(q->body, q->detail), edge = fmaxf(whole - 0.7f * contour, -(whole + 0.3f * contour));
            blend(canvas + 3 * at, (DemoRgb){24, 24, 30}, clamp01(0.5f - edge));
            if (whole >= 0)
                continue;
            owner[at] = id;
            own++;
            low[0] = f.x0 + x < low[0] ? f.x0 + x : low[0];
            low[1] = f.y0 + y < low[1] ? f.y0 + y : low[1];
            high[0] = f.x0 + x > high[0] ? f.x0 + x : high[0];
            high[1] = f.y0 + y > high[1] ? f.y0 + y : high[1];
        }
    }
    free(reach);
    VC_ASSERT(own > 0);
    o->box[0] = low[0];
    o->box[1] = low[1];
    o->box[2] = high[0] - low[0] + 1;
    o->box[3] = high[1] - low[1] + 1;
    return own;
}

float demo_scene_hidden(const DemoScene *scene)
{
    // Every other pixel of every other row is enough to judge a share.
    float worst = 0;
    for (size_t i = 0; i + 1 < scene->object_count; i++) {
        const DemoObject *o = &scene->objects[i];
        Frame f = frame_of(o, scene->side);
        size_t own = 0, lost = 0;
        for (int y = f.y0; y < f.y0 + f.height; y += 2) {
            for (int x = f.x0; x < f.x0 + f.width; x += 2) {
                float uv[2], at[2] = {(float)x + 0.5f, (float)y + 0.5f};
                to_shape(o, &f, at[0], at[1], uv);
                Reach q = reach_at(o, demo_shape(scene->groups[o->group].shape), uv);
                bool mine = fminf(q.body, q.detail) < 0, hidden = false;
                for (size_t j = i + 1; mine && !hidden && j < scene->object_count; j++) {
                    const DemoObject *p = &scene->objects[j];
                    if (hypotf(at[0] - p->x, at[1] - p->y) > 1.4f * p->r)
                        continue;
                    Frame above = frame_of(p, scene->side);
                    to_shape(p, &above, at[0], at[1], uv);
                    q = reach_at(p, demo_shape(scene->groups[p->group].shape), uv);
                    hidden = fminf(q.body, q.detail) < 0;
                }
                own += mine;
                lost += hidden;
            }
        }
        worst = own > 0 ? fmaxf(worst, (float)lost / (float)own) : 1;
    }
    return worst;
}

void demo_scene_paint(DemoScene *scene, uint8_t *pixels)
{
    size_t n = (size_t)scene->side * (size_t)scene->side;
    float *canvas = vc_alloc(3 * n, sizeof(*canvas));
    uint8_t *owner = vc_calloc(n, 1);
    size_t own[DEMO_MAX_OBJECTS] = {0}, seen[DEMO_MAX_OBJECTS] = {0};
    VcRng rng;
    vc_rng_seed(&rng, scene->paint_seed);
    for (int y = 0; y < scene->side; y++) {
        for (int x = 0; x < scene->side; x++) {
            DemoRgb c = background_at(scene, x, y);
            memcpy(canvas + 3 * ((size_t)y * (size_t)scene->side + (size_t)x), &c, sizeof(c));
        }
    }
    for (size_t i = 0; i < scene->object_count; i++)
        own[i] = paint_object(scene, &scene->objects[i], canvas, owner, (uint8_t)(i + 1));
    for (size_t i = 0; i < n; i++) {
        if (owner[i] > 0)
            seen[owner[i] - 1]++;
    }
    for (size_t i = 0; i < scene->object_count; i++)
        scene->objects[i].visible = (float)seen[i] / (float)own[i];
    for (size_t i = 0; i < n; i++) {
        // One normal deviate for lightness and three small ones for colour, as sensors have.
        float light = scene->noise * (float)vc_rng_normal(&rng);
        for (size_t c = 0; c < 3; c++) {
            float v = canvas[3 * i + c] + light + 0.4f * scene->noise * ((float)vc_rng_uniform(&rng) - 0.5f);
            pixels[3 * i + c] = (uint8_t)(fminf(fmaxf(v, 0), 255) + 0.5f);
        }
    }
    free(canvas);
    free(owner);
}
