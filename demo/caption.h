// SPDX-License-Identifier: MIT
// What a person might write under a scene: plurals, synonyms, things left out, relations, filler.
//
// Every statement is true of the scene; what is not said is not false. Threads: any.
#pragma once

#include "base/rng.h"
#include "base/str.h"
#include "demo/scene.h"

// Replaces *out with one caption and sets `mentioned` of the groups it names (never clears it).
void demo_caption(VcStr *out, DemoScene *scene, VcRng *rng);

// Calls each(ctx, word) for every lower-case word that a caption can hold; words come more than once.
void demo_caption_words(void (*each)(void *ctx, const char *word, size_t n), void *ctx);
