// SPDX-License-Identifier: MIT
// The grammar is data: sentences with slots, and tables of words for the slots.
//   {L} list of all that is named   {T} the same as bare words   {A} {B} first and second of them   {C} the third
//   {V} is or are, after the first  {R} where the first lies, seen from the second   {S} {U} where A (B) lies in the
//   picture {G} background as a phrase      {K} colour of the background
#include "demo/caption.h"

#include "base/err.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

typedef struct {
    const char *text;
    float weight;
    size_t least, most; // number of groups it can name
} Sentence;

static const Sentence sentences[] = {
    {"{L}", 30, 1, 4},
    {"{L} {G}", 5, 1, 4},
    {"{T}", 12, 1, 4},
    {"a picture of {L}", 7, 1, 4},
    {"a picture of {L} {G}", 3, 1, 4},
    {"a picture with {L}", 4, 1, 4},
    {"a drawing of {L}", 5, 1, 4},
    {"a drawing with {L} {G}", 2, 1, 4},
    {"an image of {L}", 4, 1, 4},
    {"an illustration of {L}", 3, 1, 4},
    {"a scene with {L}", 3, 1, 4},
    {"this picture shows {L}", 4, 1, 4},
    {"this is {L}", 2, 1, 1},
    {"there {V} {L}", 5, 1, 4},
    {"there {V} {L} in the picture", 3, 1, 4},
    {"here we can see {L}", 3, 1, 4},
    {"{L} can be seen {G}", 2, 1, 4},
    {"someone drew {L}", 2, 1, 4},
    {"look at {L}", 1, 1, 4},
    {"one can see {L}", 2, 1, 4},
    {"{A} {S}", 12, 1, 1},
    {"{A} {S} of the picture {G}", 3, 1, 1},
    {"{A} {R} {B}", 26, 2, 2},
    {"{A} {R} {B} {G}", 3, 2, 2},
    {"{A} {V} {R} {B}", 7, 2, 2},
    {"{A} {S} and {B} {U}", 8, 2, 2},
    {"{A} {S} , {B} {U}", 3, 2, 2},
    {"{A} {R} {B} , and {C}", 14, 3, 3},
    {"{A} {R} {B} with {C} nearby", 6, 3, 3},
    {"{C} and {A} {R} {B}", 8, 3, 3},
};

static const char *const flat_phrases[] = {"on a {K} background", "with a {K} background", "in front of a {K} wall"};
static const char *const grain_phrases[] = {"on a grainy {K} background", "on {K} paper", "on a rough {K} surface"};
static const char *const grid_phrases[] = {"on grid paper", "on a grid", "on a {K} grid"};
static const char *const meadow_phrases[] = {"on the grass", "outdoors", "in a green meadow",
                                             "with the sky in the background", "under a blue sky"};
static const char *const left_phrases[] = {"left of", "to the left of", "on the left of"};
static const char *const right_phrases[] = {"right of", "to the right of", "on the right of"};
static const char *const above_phrases[] = {"above", "over", "higher than"};
static const char *const below_phrases[] = {"below", "under", "beneath"};
static const char *const near_phrases[] = {"next to", "beside", "near", "close to", "by"};
static const char *const side_phrases[5][2] = {{"in the middle", "in the center"},
                                               {"on the left", "on the left side"},
                                               {"on the right", "on the right side"},
                                               {"at the top", "in the upper part"},
                                               {"at the bottom", "in the lower part"}};
static const char *const small_words[] = {"small", "little", "tiny"};
static const char *const large_words[] = {"big", "large", "huge"};
static const char *const many_words[5][4] = {{NULL},
                                             {NULL},
                                             {"two", "two", "a pair of", "a couple of"},
                                             {"three", "three", "several", "a few"},
                                             {"four", "four", "several", "some"}};
static const char *const texture_words[DEMO_TEXTURES][3] = {
    {"plain", NULL, NULL},          {"striped", "stripy", "striped"}, {"dotted", "spotted", "dotted"},
    {"checkered", "checked", NULL}, {"shaded", "shiny", NULL},        {"hollow", "outlined", NULL}};
static const char *const other_words[] = {"a", "an", "the", "one", "is", "are", "and", "with", "light", "dark"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool chance(VcRng *rng, double p)
{
    return vc_rng_uniform(rng) < p;
}

static const char *pick(VcRng *rng, const char *const *items, size_t n)
{
    return items[vc_rng_below(rng, n)];
}

static const char *colour_word(VcRng *rng, size_t colour)
{
    const DemoColour *c = demo_colour(colour);
    return c->other && chance(rng, 0.35) ? c->other : c->name;
}

// One word for the shape, in the number that fits.
static const char *shape_word(VcRng *rng, const DemoGroup *g)
{
    const DemoShape *shape = demo_shape(g->shape);
    size_t n = demo_shape_words(shape), w = n > 1 && chance(rng, 0.28) ? 1 + (size_t)vc_rng_below(rng, n - 1) : 0;
    return g->count > 1 ? shape->words[w].many : shape->words[w].one;
}

// "a", "small", "red", "striped" and the like go before the noun in the order an English speaker puts them.
static void noun_phrase(VcStr *out, VcRng *rng, const DemoScene *s, const DemoGroup *g)
{
    VcStr words = {0};
    float share = g->r / (float)s->side;
    if (share < 0.16f && chance(rng, 0.3)) {
        vc_str_putf(&words, "%s ", pick(rng, small_words, COUNT(small_words)));
    } else if (share > 0.3f && chance(rng, 0.3)) {
        vc_str_putf(&words, "%s ", pick(rng, large_words, COUNT(large_words)));
    }
    if (g->texture == DEMO_PLAIN ? chance(rng, 0.02) : chance(rng, 0.3)) {
        const char *const *t = texture_words[g->texture];
        vc_str_putf(&words, "%s ", pick(rng, t, t[1] == NULL ? 1 : t[2] == NULL ? 2 : 3));
    }
    if (chance(rng, 0.3))
        vc_str_putf(&words, "%s ", colour_word(rng, g->colour));
    vc_str_put(&words, shape_word(rng, g));
    const char *text = vc_str_get(&words);
    if (g->count > 1) {
        if (chance(rng, 0.85))
            vc_str_putf(out, "%s ", pick(rng, many_words[g->count], 4));
    } else if (chance(rng, 0.08)) {
        vc_str_put(out, chance(rng, 0.5) ? "one " : "the ");
    } else {
        vc_str_put(out, strchr("aeiou", text[0]) ? "an " : "a ");
    }
    vc_str_put(out, text);
    vc_str_finish(&words);
}

static void put_list(VcStr *out, VcRng *rng, const DemoScene *s, DemoGroup *const *named, size_t n, bool bare)
{
    bool last_and = chance(rng, bare ? 0.4 : 0.85);
    const char *joint = n == 2 && !bare && chance(rng, 0.15) ? " with " : last_and ? " and " : ", ";
    for (size_t i = 0; i < n; i++) {
        vc_str_put(out, i == 0 ? "" : i + 1 == n ? joint : ", ");
        if (bare) {
            vc_str_put(out, shape_word(rng, named[i]));
        } else {
            noun_phrase(out, rng, s, named[i]);
        }
    }
}

// Which of the five places of a picture a group is in.
static const char *side_phrase(VcRng *rng, const DemoScene *s, const DemoGroup *g)
{
    float dx = g->x / (float)s->side - 0.5f, dy = g->y / (float)s->side - 0.5f;
    size_t where = 0;
    if (fmaxf(fabsf(dx), fabsf(dy)) > 0.1f)
        where = fabsf(dx) > fabsf(dy) ? (dx < 0 ? 1 : 2) : (dy < 0 ? 3 : 4);
    return side_phrases[where][vc_rng_below(rng, 2)];
}

static const char *relation_phrase(VcRng *rng, const DemoScene *s, const DemoGroup *a, const DemoGroup *b)
{
    float dx = a->x - b->x, dy = a->y - b->y;
    bool close = hypotf(dx, dy) < 0.45f * (float)s->side;
    if ((close && chance(rng, 0.35)) || fmaxf(fabsf(dx), fabsf(dy)) < 0.08f * (float)s->side)
        return pick(rng, near_phrases, COUNT(near_phrases));
    if (fabsf(dx) > fabsf(dy))
        return dx < 0 ? pick(rng, left_phrases, COUNT(left_phrases)) : pick(rng, right_phrases, COUNT(right_phrases));
    return dy < 0 ? pick(rng, above_phrases, COUNT(above_phrases)) : pick(rng, below_phrases, COUNT(below_phrases));
}

static void put_background_colour(VcStr *out, VcRng *rng, const DemoScene *s)
{
    if (s->pale || (s->dark && s->background_colour != DEMO_BLACK))
        vc_str_put(out, s->pale ? "light " : "dark ");
    vc_str_put(out, colour_word(rng, s->background_colour));
}

static void put_background(VcStr *out, VcRng *rng, const DemoScene *s)
{
    const char *phrase = NULL;
    switch (s->background) {
    case DEMO_MEADOW:
        phrase = pick(rng, meadow_phrases, COUNT(meadow_phrases));
        break;
    case DEMO_GRAIN:
        phrase = pick(rng, grain_phrases, COUNT(grain_phrases));
        break;
    case DEMO_GRID:
        phrase = pick(rng, grid_phrases, COUNT(grid_phrases));
        break;
    case DEMO_FLAT:
    case DEMO_GRADIENT:
    case DEMO_BACKGROUNDS:
        phrase = pick(rng, flat_phrases, COUNT(flat_phrases));
        break;
    }
    const char *slot = strstr(phrase, "{K}");
    if (!slot) {
        vc_str_put(out, phrase);
        return;
    }
    vc_str_putn(out, phrase, (size_t)(slot - phrase));
    put_background_colour(out, rng, s);
    vc_str_put(out, slot + 3);
}

static void put_slot(VcStr *out, VcRng *rng, const DemoScene *s, DemoGroup *const *named, size_t n, char slot)
{
    switch (slot) {
    case 'L':
    case 'T':
        put_list(out, rng, s, named, n, slot == 'T');
        break;
    case 'A':
    case 'B':
    case 'C':
        noun_phrase(out, rng, s, named[slot - 'A']);
        break;
    case 'V':
        vc_str_put(out, named[0]->count > 1 ? "are" : "is");
        break;
    case 'R':
        vc_str_put(out, relation_phrase(rng, s, named[0], named[1]));
        break;
    case 'S':
    case 'U':
        vc_str_put(out, side_phrase(rng, s, named[slot == 'S' ? 0 : 1]));
        break;
    default:
        VC_ASSERT(slot == 'G');
        put_background(out, rng, s);
    }
}

// Rarely does a person name everything: of several groups often the one that caught the eye, sometimes all but one.
static size_t choose_named(DemoScene *s, VcRng *rng, DemoGroup *named[DEMO_MAX_GROUPS])
{
    size_t n = s->group_count;
    for (size_t i = 0; i < n; i++)
        named[i] = &s->groups[i];
    vc_rng_shuffle(rng, named, n, sizeof *named); // NOLINT(bugprone-sizeof-expression): pointers move
    if (n > 1) {
        double u = vc_rng_uniform(rng);
        n = u < 0.06 ? 1 : u < 0.16 ? n - 1 : n;
    }
    for (size_t i = 0; i < n; i++)
        named[i]->mentioned = true;
    return n;
}

static const char *choose_sentence(VcRng *rng, size_t n)
{
    float total = 0;
    for (size_t i = 0; i < COUNT(sentences); i++)
        total += n >= sentences[i].least && n <= sentences[i].most ? sentences[i].weight : 0;
    float u = total * (float)vc_rng_uniform(rng);
    const char *text = sentences[0].text;
    for (size_t i = 0; i < COUNT(sentences) && u >= 0; i++) {
        if (n >= sentences[i].least && n <= sentences[i].most) {
            text = sentences[i].text;
            u -= sentences[i].weight;
        }
    }
    return text;
}

void demo_caption(VcStr *out, DemoScene *scene, VcRng *rng)
{
    DemoGroup *named[DEMO_MAX_GROUPS];
    size_t n = choose_named(scene, rng, named);
    vc_str_clear(out);
    for (const char *p = choose_sentence(rng, n); *p; p++) {
        if (*p != '{') {
            if (*p == ' ' && p[1] == ',') // a comma stands by itself in the table, not in the caption
                continue;
            vc_str_putc(out, *p);
            continue;
        }
        put_slot(out, rng, scene, named, n, p[1]);
        p += 2;
    }
    if (chance(rng, 0.45))
        out->data[0] = (char)toupper((unsigned char)out->data[0]);
    if (chance(rng, 0.35))
        vc_str_putc(out, '.');
}

static void each_word(const char *text, void (*each)(void *ctx, const char *word, size_t n), void *ctx)
{
    while (*text) {
        size_t n = strcspn(text, " ");
        if (n > 0 && text[0] != '{' && text[0] != ',')
            each(ctx, text, n);
        text += n + (text[n] == ' ');
    }
}

#define EACH_WORD(table, each, ctx)                  \
    do {                                             \
        for (size_t i_ = 0; i_ < COUNT(table); i_++) \
            each_word((table)[i_], each, ctx);       \
    } while (0)

void demo_caption_words(void (*each)(void *ctx, const char *word, size_t n), void *ctx)
{
    for (size_t i = 0; i < DEMO_SHAPES; i++) {
        for (size_t w = 0; w < demo_shape_words(demo_shape(i)); w++) {
            each_word(demo_shape(i)->words[w].one, each, ctx);
            each_word(demo_shape(i)->words[w].many, each, ctx);
        }
    }
    for (size_t i = 0; i < DEMO_COLOURS; i++) {
        each_word(demo_colour(i)->name, each, ctx);
        each_word(demo_colour(i)->other ? demo_colour(i)->other : "", each, ctx);
    }
    for (size_t i = 0; i < COUNT(sentences); i++)
        each_word(sentences[i].text, each, ctx);
    EACH_WORD(flat_phrases, each, ctx);
    EACH_WORD(grain_phrases, each, ctx);
    EACH_WORD(grid_phrases, each, ctx);
    EACH_WORD(meadow_phrases, each, ctx);
    EACH_WORD(left_phrases, each, ctx);
    EACH_WORD(right_phrases, each, ctx);
    EACH_WORD(above_phrases, each, ctx);
    EACH_WORD(below_phrases, each, ctx);
    EACH_WORD(near_phrases, each, ctx);
    for (size_t i = 0; i < COUNT(side_phrases); i++)
        EACH_WORD(side_phrases[i], each, ctx);
    EACH_WORD(small_words, each, ctx);
    EACH_WORD(large_words, each, ctx);
    for (size_t i = 2; i < COUNT(many_words); i++)
        EACH_WORD(many_words[i], each, ctx);
    for (size_t t = 0; t < DEMO_TEXTURES; t++) {
        for (size_t i = 0; i < 3 && texture_words[t][i]; i++)
            each_word(texture_words[t][i], each, ctx);
    }
    EACH_WORD(other_words, each, ctx);
}
