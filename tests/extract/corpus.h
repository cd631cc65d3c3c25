// SPDX-License-Identifier: MIT
// Pictures of every kind that extract accepts, made byte by byte: four quadrants of known colours, so that a test sees
// whether what comes out is what went in. Each maker returns the file's bytes, to be finished by the caller.
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

// Colours of top left, top right, bottom left, bottom right.
extern const uint8_t corpus_colours[4][3];
// Channel c (0..2) of the scene at (x, y); c = 3 is an alpha that is clear in the top left quadrant; c = 4: luma.
uint8_t corpus_sample(int w, int h, int x, int y, int c);

void corpus_be32(VcStr *s, uint32_t v);

typedef struct {
    int w, h;
    char space;                             // 'Y' YCbCr, 'G' grey, 'R' RGB as it is, 'C' CMYK, 'K' YCCK
    int across, down;                       // sampling factors of the first component
    bool progressive, arithmetic, separate; // separate: a scan for each component
    int restart;                            // rows of blocks between restart markers
} CorpusJpeg;
// False where libjpeg cannot make this kind.
bool corpus_jpeg(VcStr *out, const CorpusJpeg *kind);

typedef struct {
    int w, h;
    uint8_t type, depth;
    bool adam7;
    int filter; // 0..4 in all rows; 5: each in turn; 6: a filter that is not there, in one row
} CorpusPng;
VcStr corpus_png(const CorpusPng *kind);
void corpus_png_begin(VcStr *s, uint32_t w, uint32_t h, uint8_t depth, uint8_t type, uint8_t adam7);
void corpus_png_chunk(VcStr *s, const char *type, const void *data, size_t n);
void corpus_png_pack(VcStr *s, const void *data, size_t n); // an IDAT with this data, packed by zlib
// The rows of a picture of this kind, with their filter bytes, before packing.
VcStr corpus_png_rows(const CorpusPng *kind);

typedef struct {
    int w, h;                           // of the screen
    int x, y, fw, fh;                   // of the frame; fw 0: the screen
    bool interlaced, clear, local, old; // clear: the top left quadrant is transparent; old: GIF87a
    int frames;                         // the second and later ones are black
} CorpusGif;
VcStr corpus_gif(const CorpusGif *kind);

typedef struct {
    int w, h;
    bool big;                             // Motorola's order
    int bits, samples, photometric, rows; // rows of a strip
    bool planar, tiled;
    int compression; // 1, 8 (deflate), 32773 (PackBits)
    int orientation;
    int pages;
} CorpusTiff;
VcStr corpus_tiff(const CorpusTiff *kind);
// Where the value of the tag stands in the first directory; 0: there is none.
size_t corpus_tiff_value(const VcStr *tiff, int tag);
