// SPDX-License-Identifier: MIT
// The things a scene is made of: 26 shapes, each with its outline, its words and its limits.
//
// An outline is a signed distance: negative inside, positive outside, in units of the shape's own square [-1,1]^2
// with y pointing down. Distances are exact near an edge and may be too small far from it, which is all that
// anti-aliasing, outlines and shadows need. Threads: any; everything here is constant.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Colour of the parts that do not take the object's own colour.
typedef enum { DEMO_PART_DARK, DEMO_PART_LIGHT, DEMO_PART_BROWN, DEMO_PART_BLACK } DemoDetail;

typedef struct {
    const char *one, *many; // singular and plural
} DemoWord;

enum { DEMO_MAX_WORDS = 4 };

typedef struct {
    const char *name;
    DemoWord words[DEMO_MAX_WORDS]; // words[0] is the usual one; unused rows have one == NULL
    float (*body)(float x, float y);
    float (*detail)(float x, float y); // drawn over the body, may reach beyond it; NULL: none
    DemoDetail detail_colour;
    float turn; // greatest rotation either way, degrees
} DemoShape;

enum { DEMO_SHAPES = 26 };
const DemoShape *demo_shape(size_t index);
size_t demo_shape_words(const DemoShape *shape);
