// SPDX-License-Identifier: MIT
// RandAugment on 8-bit RGB pictures, ten operations, with the bytes of the reference (ALBEF's and ViCHA's, which
// compute with OpenCV 4 and NumPy). Pictures are height rows of width pixels of 3 bytes without padding. Letters: v a
// byte.
//
//   Identity
//   AutoContrast  each channel: lo..hi to 0..255, v -> (v - lo) * 255 / (hi - lo) rounded down
//   Equalize      each channel: flattens its histogram
//   Brightness    v -> factor * v, cut at 255
//   Sharpness     blur + factor * (v - blur), blur = the 3x3 mean with the middle five times; the rim stays
//   ShearX/Y      x + factor * y (y + factor * x)
//   TranslateX/Y  by -offset pixels
//   Rotate        by degrees about the middle, counter-clockwise
//
// The affine ones sample the source bilinearly as cv2.warpAffine does in OpenCV 4: coordinates in 1/1024 rounded to
// 1/32 of a pixel, weights in 1/1024, grey 128 outside. (OpenCV 5 computes them in floats and differs by a few units.)
// Threads: any.
#pragma once

#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    TRAIN_IDENTITY,
    TRAIN_AUTO_CONTRAST,
    TRAIN_EQUALIZE,
    TRAIN_BRIGHTNESS,
    TRAIN_SHARPNESS,
    TRAIN_SHEAR_X,
    TRAIN_SHEAR_Y,
    TRAIN_TRANSLATE_X,
    TRAIN_TRANSLATE_Y,
    TRAIN_ROTATE,
    TRAIN_AUGMENTS,
} TrainAugmentOp;
enum { TRAIN_AUGMENT_MOST = 8 }; // that a recipe draws for a picture

// An operation and its parameter: a factor, an offset in pixels or degrees.
typedef struct {
    TrainAugmentOp op;
    double value;
} TrainAugment;

const char *train_augment_name(TrainAugmentOp op); // "AutoContrast"
// The parameter of `op` at `level` of 10: factors 0.1 + 1.8 level/10, shears 0.3 level/10, shifts 10 level/10 pixels,
// angles 30 level/10 degrees; `negative` turns the last three round.
TrainAugment train_augment_at(TrainAugmentOp op, double level, bool negative);

// Draws `n` operations, uniformly and with replacement; each is kept with probability 1/2 and its sign is drawn. The
// same number of draws whatever comes out. Returns how many were kept, in their order.
size_t train_augment_draw(VcRng *rng, size_t n, double level, TrainAugment *out);

// Applies one to `pixels`; `scratch` is as large. `original` computes AutoContrast and Sharpness as the released code
// does, whose bytes wrap around: a picture without black comes out of AutoContrast white, and overshoots of Sharpness
// come out at the other end of the scale.
void train_augment_apply(TrainAugment augment, uint8_t *pixels, uint8_t *scratch, int width, int height, bool original);
