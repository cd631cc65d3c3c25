// SPDX-License-Identifier: MIT
// truth.jsonl in memory: what is in every picture, and which words mean the same kind of thing.
//
// Threads: any, once read.
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { DEMO_MAX_CLASSES = 256, DEMO_MAX_TRUE = 16 };

typedef struct {
    size_t cls;     // index of the class
    double area;    // share of the picture that the object's box covers
    double visible; // share of the object that shows
    bool plain;     // one even colour
    bool mentioned; // by a caption
} DemoTrueObject;

typedef struct {
    char *image; // as in captions.jsonl
    DemoTrueObject objects[DEMO_MAX_TRUE];
    size_t object_count;
    size_t classes[DEMO_MAX_TRUE]; // distinct, in order of first appearance
    size_t class_count;            // R
} DemoTrueImage;

typedef struct {
    char *word;
    size_t cls;
} DemoTrueWord;

typedef struct {
    char *classes[DEMO_MAX_CLASSES];   // names
    size_t pictures[DEMO_MAX_CLASSES]; // pictures that hold the class
    size_t class_count;
    DemoTrueWord *words; // sorted by word
    size_t word_count, word_cap;
    DemoTrueImage *images; // sorted by name
    size_t image_count, image_cap;
} DemoTruth;

// A word that two classes claim, an image that comes twice, an object without words: VC_ERR_FORMAT with the line.
bool demo_truth_read(DemoTruth *truth, const char *path, VcErr *err);
void demo_truth_finish(DemoTruth *truth); // a zeroed struct is allowed

// The picture whose name ends the path `key` ("/data/a/images/000007.jpg" finds "images/000007.jpg"), or NULL.
const DemoTrueImage *demo_truth_find(const DemoTruth *truth, const char *key);

// The class of a concept, or DEMO_MAX_CLASSES for one that names no object. The whole concept is looked up, then its
// last word alone: the last word of an English compound says what kind of thing it is ("tea cup" is a cup).
size_t demo_truth_fold(const DemoTruth *truth, const char *concept);
