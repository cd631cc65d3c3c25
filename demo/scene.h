// SPDX-License-Identifier: MIT
// One scene: what is in it, drawn from a random stream, and its picture.
//
// Sizes and positions are in pixels of a square picture of `side` pixels, y down. Threads: any; a scene belongs to one.
#pragma once

#include "base/rng.h"
#include "demo/shapes.h"

#include <stdint.h>

typedef enum { DEMO_PLAIN, DEMO_STRIPES, DEMO_DOTS, DEMO_CHECKS, DEMO_SHADED, DEMO_OUTLINE, DEMO_TEXTURES } DemoTexture;
typedef enum { DEMO_FLAT, DEMO_GRADIENT, DEMO_GRAIN, DEMO_MEADOW, DEMO_GRID, DEMO_BACKGROUNDS } DemoBackground;

typedef struct {
    float r, g, b; // 0..255
} DemoRgb;

typedef struct {
    const char *name, *other; // other: a second word for it, or NULL
    DemoRgb rgb;
} DemoColour;

enum {
    DEMO_BLACK = 8,
    DEMO_WHITE = 9,
    DEMO_COLOURS = 12,
    DEMO_MAX_GROUPS = 4,
    DEMO_MAX_OBJECTS = 6,
    DEMO_MIN_SIDE = 48,
    DEMO_MAX_SIDE = 1024
};
const DemoColour *demo_colour(size_t index);

// Objects of one shape, colour and texture: one, or a few ("three red stars"). No two groups share a shape.
typedef struct {
    size_t shape, colour;
    DemoTexture texture;
    DemoRgb rgb; // the colour as painted: a little off the table's
    size_t count;
    float x, y, r;  // mean centre and mean radius, pixels
    bool mentioned; // by any caption of the scene; set by the caption writer
} DemoGroup;

typedef struct {
    size_t group;
    float x, y, r, angle; // centre and half width in pixels, turn in radians
    bool flip;            // mirrored left to right
    int box[4];           // left, top, width, height of what the object covers, hidden parts too
    float visible;        // share of its pixels that no later object hides
} DemoObject;

typedef struct {
    int side;
    DemoBackground background;
    size_t background_colour; // index of the named colour, DEMO_COLOURS for none worth naming
    bool pale, dark;          // a light, a dark tone of that colour
    DemoRgb low, high;        // bottom and top tone
    float noise;              // standard deviation of the sensor noise, grey levels
    int quality;              // JPEG
    uint64_t paint_seed;      // grain, dots and noise
    DemoGroup groups[DEMO_MAX_GROUPS];
    size_t group_count;
    DemoObject objects[DEMO_MAX_OBJECTS]; // in painting order: later ones lie on top
    size_t object_count;
} DemoScene;

// Draws one to four objects in one to four groups, such that at least about DEMO_VISIBLE of every object shows.
#define DEMO_VISIBLE 0.65f
void demo_scene_sample(DemoScene *scene, VcRng *rng, int side);

// The largest share of one object that later ones hide, judged on a quarter of the pixels.
float demo_scene_hidden(const DemoScene *scene);

// pixels: side * side * 3 bytes RGB. Fills box and visible of the objects. The same scene gives the same bytes.
void demo_scene_paint(DemoScene *scene, uint8_t *pixels);
