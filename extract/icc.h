// SPDX-License-Identifier: MIT
// The ICC profiles of the web: sRGB under one of its many names, or another matrix and three curves (Adobe RGB, Display
// P3). For those the general engine costs more to set up than the picture costs to decode; all other profiles are
// libvips' (vips_rows.h). Threads: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// True for an RGB display profile (ICC.1) whose primaries and curves are those of sRGB, within what 8 bits show. False
// for everything else, also for what cannot be read.
bool extract_icc_is_srgb(const uint8_t *icc, size_t n);
// RGB pixels of a matrix profile (ICC.1 F.3: curves, then colorants relative to D50) to sRGB in place, colours outside
// clipped. False, and nothing changed, when the profile is of another kind.
bool extract_icc_to_srgb(uint8_t *rgb, size_t pixels, const uint8_t *icc, size_t n);
