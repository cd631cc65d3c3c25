// SPDX-License-Identifier: MIT
#include "demo/shapes.h"

#include "base/err.h"

#include <math.h>

// Building blocks. Distances after Quilez, "2D distance functions" (2020).

static float disc(float x, float y, float cx, float cy, float r)
{
    return hypotf(x - cx, y - cy) - r;
}

static float box(float x, float y, float cx, float cy, float hx, float hy)
{
    float dx = fabsf(x - cx) - hx, dy = fabsf(y - cy) - hy;
    return hypotf(fmaxf(dx, 0), fmaxf(dy, 0)) + fminf(fmaxf(dx, dy), 0);
}

static float round_box(float x, float y, float cx, float cy, float hx, float hy, float r)
{
    return box(x, y, cx, cy, hx - r, hy - r) - r;
}

static float ellipse(float x, float y, float cx, float cy, float rx, float ry)
{
    float px = x - cx, py = y - cy;
    float k0 = hypotf(px / rx, py / ry), k1 = hypotf(px / (rx * rx), py / (ry * ry));
    return k1 < 1e-6f ? -fminf(rx, ry) : k0 * (k0 - 1) / k1;
}

// An ellipse turned by `angle` radians.
static float leaf(float x, float y, float cx, float cy, float rx, float ry, float angle)
{
    float c = cosf(angle), s = sinf(angle), px = x - cx, py = y - cy;
    return ellipse(c * px + s * py, c * py - s * px, 0, 0, rx, ry);
}

static float line(float x, float y, float ax, float ay, float bx, float by, float r)
{
    float px = x - ax, py = y - ay, vx = bx - ax, vy = by - ay;
    float h = fminf(fmaxf((px * vx + py * vy) / (vx * vx + vy * vy), 0), 1);
    return hypotf(px - vx * h, py - vy * h) - r;
}

typedef struct {
    float x, y;
} Point;

static float polygon(float x, float y, const Point *v, size_t n)
{
    float d = INFINITY, sign = 1;
    for (size_t i = 0, j = n - 1; i < n; j = i, i++) {
        float ex = v[j].x - v[i].x, ey = v[j].y - v[i].y, wx = x - v[i].x, wy = y - v[i].y;
        float h = fminf(fmaxf((wx * ex + wy * ey) / (ex * ex + ey * ey), 0), 1);
        float bx = wx - ex * h, by = wy - ey * h;
        d = fminf(d, bx * bx + by * by);
        bool a = y >= v[i].y, b = y<v[j].y, c = ex * wy> ey * wx;
        if ((a && b && c) || (!a && !b && !c))
            sign = -sign;
    }
    return sign * sqrtf(d);
}

#define POLYGON(x, y, points) polygon(x, y, points, sizeof(points) / sizeof(points)[0])

static float join(float a, float b)
{
    return fminf(a, b);
}

static float join3(float a, float b, float c)
{
    return fminf(a, fminf(b, c));
}

static float cut(float a, float b)
{
    return fmaxf(a, -b);
}

// Plain figures.

static float circle_body(float x, float y)
{
    return disc(x, y, 0, 0, 0.92f);
}

static float square_body(float x, float y)
{
    return box(x, y, 0, 0, 0.82f, 0.82f);
}

static float triangle_body(float x, float y)
{
    static const Point v[] = {{0, -0.95f}, {0.98f, 0.78f}, {-0.98f, 0.78f}};
    return POLYGON(x, y, v);
}

static float star_body(float x, float y)
{
    static const Point v[] = {{0, -1},    {0.25f, -0.34f}, {0.95f, -0.31f}, {0.4f, 0.13f},    {0.59f, 0.81f},
                              {0, 0.42f}, {-0.59f, 0.81f}, {-0.4f, 0.13f},  {-0.95f, -0.31f}, {-0.25f, -0.34f}};
    return POLYGON(x, y, v);
}

static float heart_body(float x, float y)
{
    static const Point tip[] = {{0, -0.2f}, {0.87f, 0.02f}, {0, 0.95f}, {-0.87f, 0.02f}};
    float lobes = join(disc(x, y, -0.46f, -0.3f, 0.52f), disc(x, y, 0.46f, -0.3f, 0.52f));
    return join(lobes, POLYGON(x, y, tip));
}

static float cross_body(float x, float y)
{
    return join(box(x, y, 0, 0, 0.92f, 0.3f), box(x, y, 0, 0, 0.3f, 0.92f));
}

static float arrow_body(float x, float y)
{
    static const Point v[] = {{-0.95f, -0.22f}, {0.15f, -0.22f}, {0.15f, -0.68f}, {0.98f, 0},
                              {0.15f, 0.68f},   {0.15f, 0.22f},  {-0.95f, 0.22f}};
    return POLYGON(x, y, v);
}

static float moon_body(float x, float y)
{
    return cut(disc(x, y, 0, 0, 0.95f), disc(x, y, 0.48f, -0.16f, 0.8f));
}

static float ring_body(float x, float y)
{
    return fabsf(disc(x, y, 0, 0, 0.72f)) - 0.22f;
}

static float bolt_body(float x, float y)
{
    static const Point v[] = {{0.3f, -1},      {-0.6f, 0.15f}, {-0.08f, 0.15f}, {-0.35f, 1},
                              {0.62f, -0.25f}, {0.1f, -0.25f}, {0.62f, -1}};
    return POLYGON(x, y, v);
}

// Things.

static float house_body(float x, float y)
{
    return box(x, y, 0, 0.4f, 0.7f, 0.52f);
}

static float house_detail(float x, float y)
{
    static const Point roof[] = {{0, -0.98f}, {0.98f, -0.08f}, {-0.98f, -0.08f}};
    return join(POLYGON(x, y, roof), box(x, y, 0.05f, 0.62f, 0.18f, 0.3f));
}

static float tree_body(float x, float y)
{
    static const Point top[] = {{0, -1}, {0.48f, -0.35f}, {-0.48f, -0.35f}};
    static const Point middle[] = {{0, -0.7f}, {0.64f, 0.12f}, {-0.64f, 0.12f}};
    static const Point low[] = {{0, -0.3f}, {0.8f, 0.6f}, {-0.8f, 0.6f}};
    return join3(POLYGON(x, y, top), POLYGON(x, y, middle), POLYGON(x, y, low));
}

static float tree_detail(float x, float y)
{
    return box(x, y, 0, 0.79f, 0.14f, 0.19f);
}

static float fish_body(float x, float y)
{
    static const Point tail[] = {{0.35f, 0}, {0.98f, -0.52f}, {0.84f, 0}, {0.98f, 0.52f}};
    static const Point fin[] = {{-0.25f, -0.35f}, {0.35f, -0.7f}, {0.3f, -0.2f}};
    return join3(ellipse(x, y, -0.25f, 0, 0.72f, 0.46f), POLYGON(x, y, tail), POLYGON(x, y, fin));
}

static float fish_detail(float x, float y)
{
    return join(disc(x, y, -0.6f, -0.1f, 0.1f), fabsf(disc(x, y, -0.75f, 0, 0.48f)) - 0.045f + (x > -0.4f ? 0 : 9));
}

static float key_body(float x, float y)
{
    float bow = cut(disc(x, y, -0.55f, 0, 0.42f), disc(x, y, -0.55f, 0, 0.19f));
    float teeth = join(box(x, y, 0.55f, 0.25f, 0.09f, 0.2f), box(x, y, 0.85f, 0.22f, 0.1f, 0.24f));
    return join3(bow, box(x, y, 0.4f, 0, 0.56f, 0.11f), teeth);
}

static float flower_body(float x, float y)
{
    float d = INFINITY;
    for (int i = 0; i < 6; i++) {
        float a = (float)i * 1.04719755f;
        d = join(d, disc(x, y, 0.6f * cosf(a), 0.6f * sinf(a), 0.36f));
    }
    return d;
}

static float flower_detail(float x, float y)
{
    return disc(x, y, 0, 0, 0.32f);
}

static float umbrella_body(float x, float y)
{
    float d = fmaxf(disc(x, y, 0, 0.05f, 0.98f), y - 0.12f);
    for (int i = -1; i <= 1; i++)
        d = cut(d, disc(x, y, 0.65f * (float)i, 0.2f, 0.29f));
    return d;
}

static float umbrella_detail(float x, float y)
{
    float hook = fmaxf(fabsf(disc(x, y, -0.19f, 0.72f, 0.19f)) - 0.07f, 0.72f - y);
    return join3(box(x, y, 0, 0.33f, 0.07f, 0.4f), hook, box(x, y, 0, -0.96f, 0.05f, 0.08f));
}

static float bottle_body(float x, float y)
{
    static const Point shoulder[] = {{-0.15f, -0.5f}, {0.15f, -0.5f}, {0.38f, -0.1f}, {-0.38f, -0.1f}};
    return join3(round_box(x, y, 0, 0.4f, 0.4f, 0.58f, 0.1f), box(x, y, 0, -0.65f, 0.15f, 0.25f),
                 POLYGON(x, y, shoulder));
}

static float bottle_detail(float x, float y)
{
    return join(box(x, y, 0, 0.38f, 0.4f, 0.2f), box(x, y, 0, -0.9f, 0.2f, 0.08f));
}

static float cup_body(float x, float y)
{
    static const Point mug[] = {{-0.8f, -0.65f}, {0.5f, -0.65f}, {0.38f, 0.8f}, {-0.68f, 0.8f}};
    float handle = fmaxf(fabsf(ellipse(x, y, 0.45f, 0.02f, 0.42f, 0.42f)) - 0.1f, 0.38f - x);
    return join(POLYGON(x, y, mug), handle);
}

static float cup_detail(float x, float y)
{
    return ellipse(x, y, -0.15f, -0.65f, 0.65f, 0.15f);
}

static float car_body(float x, float y)
{
    static const Point cabin[] = {{-0.58f, 0.05f}, {-0.35f, -0.48f}, {0.3f, -0.48f}, {0.6f, 0.05f}};
    return join(round_box(x, y, 0, 0.2f, 0.98f, 0.27f, 0.12f), POLYGON(x, y, cabin));
}

static float car_detail(float x, float y)
{
    static const Point rear[] = {{-0.42f, 0}, {-0.27f, -0.36f}, {-0.05f, -0.36f}, {-0.05f, 0}};
    static const Point front[] = {{0.05f, 0}, {0.05f, -0.36f}, {0.23f, -0.36f}, {0.43f, 0}};
    float wheels = join(disc(x, y, -0.52f, 0.45f, 0.23f), disc(x, y, 0.52f, 0.45f, 0.23f));
    return join3(wheels, POLYGON(x, y, rear), POLYGON(x, y, front));
}

static float boat_body(float x, float y)
{
    static const Point main_sail[] = {{0.08f, -0.98f}, {0.85f, 0.22f}, {0.08f, 0.22f}};
    static const Point jib[] = {{-0.08f, -0.75f}, {-0.08f, 0.22f}, {-0.7f, 0.22f}};
    return join(POLYGON(x, y, main_sail), POLYGON(x, y, jib));
}

static float boat_detail(float x, float y)
{
    static const Point hull[] = {{-0.98f, 0.38f}, {0.98f, 0.38f}, {0.6f, 0.85f}, {-0.6f, 0.85f}};
    return join(POLYGON(x, y, hull), box(x, y, 0, -0.3f, 0.05f, 0.7f));
}

static float cloud_body(float x, float y)
{
    float top =
        join3(disc(x, y, -0.55f, 0.12f, 0.36f), disc(x, y, -0.08f, -0.15f, 0.47f), disc(x, y, 0.45f, 0.02f, 0.38f));
    return join3(top, round_box(x, y, 0, 0.27f, 0.95f, 0.23f, 0.22f), disc(x, y, 0.7f, 0.22f, 0.26f));
}

static float lamp_body(float x, float y)
{
    static const Point shade[] = {{-0.36f, -0.95f}, {0.36f, -0.95f}, {0.72f, 0}, {-0.72f, 0}};
    return POLYGON(x, y, shade);
}

static float lamp_detail(float x, float y)
{
    return join(box(x, y, 0, 0.4f, 0.08f, 0.42f), round_box(x, y, 0, 0.85f, 0.46f, 0.1f, 0.06f));
}

static float mushroom_body(float x, float y)
{
    return fmaxf(ellipse(x, y, 0, 0.05f, 0.97f, 0.9f), y - 0.1f);
}

static float mushroom_detail(float x, float y)
{
    float dots =
        join3(disc(x, y, -0.45f, -0.22f, 0.14f), disc(x, y, 0.05f, -0.5f, 0.16f), disc(x, y, 0.5f, -0.18f, 0.13f));
    return join(round_box(x, y, 0, 0.5f, 0.26f, 0.46f, 0.12f), dots);
}

static float cactus_body(float x, float y)
{
    float left = join(line(x, y, 0, 0.2f, -0.55f, 0.2f, 0.14f), line(x, y, -0.55f, 0.2f, -0.55f, -0.3f, 0.14f));
    float right = join(line(x, y, 0, -0.05f, 0.55f, -0.05f, 0.14f), line(x, y, 0.55f, -0.05f, 0.55f, -0.55f, 0.14f));
    return join3(line(x, y, 0, -0.75f, 0, 0.6f, 0.22f), left, right);
}

static float cactus_detail(float x, float y)
{
    static const Point pot[] = {{-0.5f, 0.55f}, {0.5f, 0.55f}, {0.36f, 0.98f}, {-0.36f, 0.98f}};
    return POLYGON(x, y, pot);
}

static float ladder_body(float x, float y)
{
    float d = join(box(x, y, -0.42f, 0, 0.09f, 0.98f), box(x, y, 0.42f, 0, 0.09f, 0.98f));
    for (int i = -2; i <= 2; i++)
        d = join(d, box(x, y, 0, 0.38f * (float)i, 0.42f, 0.075f));
    return d;
}

static float butterfly_body(float x, float y)
{
    float ax = fabsf(x);
    return join(leaf(ax, y, 0.52f, -0.36f, 0.5f, 0.36f, -0.7f), leaf(ax, y, 0.42f, 0.42f, 0.4f, 0.3f, 0.8f));
}

static float butterfly_detail(float x, float y)
{
    return join(line(x, y, 0, -0.45f, 0, 0.55f, 0.09f), line(fabsf(x), y, 0, -0.45f, 0.22f, -0.88f, 0.035f));
}

static const DemoShape shapes[DEMO_SHAPES] = {
    {"circle", {{"circle", "circles"}, {"disc", "discs"}}, circle_body, NULL, DEMO_PART_DARK, 0},
    {"square", {{"square", "squares"}}, square_body, NULL, DEMO_PART_DARK, 14},
    {"triangle", {{"triangle", "triangles"}}, triangle_body, NULL, DEMO_PART_DARK, 14},
    {"star", {{"star", "stars"}}, star_body, NULL, DEMO_PART_DARK, 14},
    {"heart", {{"heart", "hearts"}}, heart_body, NULL, DEMO_PART_DARK, 14},
    {"cross", {{"cross", "crosses"}}, cross_body, NULL, DEMO_PART_DARK, 14},
    {"arrow", {{"arrow", "arrows"}}, arrow_body, NULL, DEMO_PART_DARK, 14},
    {"moon", {{"moon", "moons"}, {"crescent", "crescents"}}, moon_body, NULL, DEMO_PART_DARK, 14},
    {"ring", {{"ring", "rings"}, {"hoop", "hoops"}}, ring_body, NULL, DEMO_PART_DARK, 0},
    {"bolt", {{"bolt", "bolts"}, {"thunderbolt", "thunderbolts"}}, bolt_body, NULL, DEMO_PART_DARK, 14},
    {"house",
     {{"house", "houses"}, {"cottage", "cottages"}, {"hut", "huts"}},
     house_body,
     house_detail,
     DEMO_PART_DARK,
     8},
    {"tree", {{"tree", "trees"}, {"fir", "firs"}}, tree_body, tree_detail, DEMO_PART_BROWN, 10},
    {"fish", {{"fish", "fishes"}}, fish_body, fish_detail, DEMO_PART_DARK, 14},
    {"key", {{"key", "keys"}}, key_body, NULL, DEMO_PART_DARK, 14},
    {"flower", {{"flower", "flowers"}, {"blossom", "blossoms"}}, flower_body, flower_detail, DEMO_PART_LIGHT, 14},
    {"umbrella",
     {{"umbrella", "umbrellas"}, {"parasol", "parasols"}},
     umbrella_body,
     umbrella_detail,
     DEMO_PART_BLACK,
     14},
    {"bottle", {{"bottle", "bottles"}, {"flask", "flasks"}}, bottle_body, bottle_detail, DEMO_PART_LIGHT, 14},
    {"cup", {{"cup", "cups"}, {"mug", "mugs"}}, cup_body, cup_detail, DEMO_PART_DARK, 14},
    {"car", {{"car", "cars"}, {"automobile", "automobiles"}}, car_body, car_detail, DEMO_PART_BLACK, 12},
    {"boat", {{"boat", "boats"}, {"ship", "ships"}}, boat_body, boat_detail, DEMO_PART_BROWN, 12},
    {"cloud", {{"cloud", "clouds"}}, cloud_body, NULL, DEMO_PART_DARK, 8},
    {"lamp", {{"lamp", "lamps"}}, lamp_body, lamp_detail, DEMO_PART_BLACK, 12},
    {"mushroom",
     {{"mushroom", "mushrooms"}, {"toadstool", "toadstools"}},
     mushroom_body,
     mushroom_detail,
     DEMO_PART_LIGHT,
     14},
    {"cactus", {{"cactus", "cacti"}}, cactus_body, cactus_detail, DEMO_PART_BROWN, 10},
    {"ladder", {{"ladder", "ladders"}}, ladder_body, NULL, DEMO_PART_DARK, 14},
    {"butterfly", {{"butterfly", "butterflies"}}, butterfly_body, butterfly_detail, DEMO_PART_BLACK, 14},
};

const DemoShape *demo_shape(size_t index)
{
    VC_ASSERT(index < DEMO_SHAPES);
    return &shapes[index];
}

size_t demo_shape_words(const DemoShape *shape)
{
    size_t n = 0;
    while (n < DEMO_MAX_WORDS && shape->words[n].one)
        n++;
    return n;
}
