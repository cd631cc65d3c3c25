// SPDX-License-Identifier: MIT
// The least that a photograph costs with libjpeg-turbo: decode with DCT scaling, average areas, encode. No checks, no
// hashes, no measures, one thread. What `vicha bench extract` says above it is the price of the rest.
//
//   bench_floor FOLDER [SIZE] [QUALITY]    prints one JSON object: CPU milliseconds an image, best of three rounds
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { MOST = 1000, ROUNDS = 3 };

typedef struct {
    char *bytes[MOST];
    size_t n[MOST], count;
} Files;

typedef struct {
    double decode, shrink, encode, sha256; // seconds
} Times;

// Every sample belongs to one result: rows are summed first, which vectors do, then columns.
static void average_areas(const uint8_t *in, int w, int h, uint8_t *out, int to_w, int to_h)
{
    const size_t n = (size_t)w * 3;
    uint32_t *sum = vc_alloc(n, sizeof *sum);
    for (int y = 0; y < to_h; y++) {
        const int y0 = (int)((int64_t)y * h / to_h), y1 = (int)((int64_t)(y + 1) * h / to_h);
        memset(sum, 0, n * sizeof *sum);
        for (int sy = y0; sy < y1; sy++) {
            const uint8_t *row = in + (size_t)sy * n;
            for (size_t i = 0; i < n; i++)
                sum[i] += row[i];
        }
        for (int x = 0; x < to_w; x++) {
            const int x0 = (int)((int64_t)x * w / to_w), x1 = (int)((int64_t)(x + 1) * w / to_w);
            uint32_t rgb[3] = {0};
            for (int sx = x0; sx < x1; sx++) {
                for (int c = 0; c < 3; c++)
                    rgb[c] += sum[sx * 3 + c];
            }
            const uint32_t area = (uint32_t)((x1 - x0) * (y1 - y0));
            for (int c = 0; c < 3; c++)
                *out++ = (uint8_t)((rgb[c] + area / 2) / area);
        }
    }
    free(sum);
}

static uint8_t *decode(const char *bytes, size_t n, int size, int *w, int *h, int *to_w, int *to_h)
{
    struct jpeg_decompress_struct d = {0};
    struct jpeg_error_mgr e;
    d.err = jpeg_std_error(&e);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, (const unsigned char *)bytes, (unsigned long)n);
    jpeg_read_header(&d, TRUE);
    const int lesser = (int)(d.image_width < d.image_height ? d.image_width : d.image_height);
    const double scale = lesser > size ? (double)size / lesser : 1;
    *to_w = (int)(d.image_width * scale + 0.5);
    *to_h = (int)(d.image_height * scale + 0.5);
    d.scale_denom = 8;
    d.scale_num = 8;
    // Halves only: the steps between have no vector code in libjpeg-turbo and cost more than they save.
    while (d.scale_num > 1 && (int)d.image_width * (int)(d.scale_num / 2) >= *to_w * 8 &&
           (int)d.image_height * (int)(d.scale_num / 2) >= *to_h * 8)
        d.scale_num /= 2;
    d.out_color_space = JCS_RGB;
    jpeg_start_decompress(&d);
    *w = (int)d.output_width;
    *h = (int)d.output_height;
    uint8_t *rgb = vc_alloc((size_t)*w * (size_t)*h, 3);
    while (d.output_scanline < d.output_height) {
        JSAMPROW row = rgb + (size_t)d.output_scanline * (size_t)*w * 3;
        jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_finish_decompress(&d);
    jpeg_destroy_decompress(&d);
    return rgb;
}

static void encode(uint8_t *rgb, int w, int h, int quality)
{
    struct jpeg_compress_struct c = {0};
    struct jpeg_error_mgr e;
    unsigned char *bytes = NULL;
    unsigned long n = 0;
    c.err = jpeg_std_error(&e);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &bytes, &n);
    c.image_width = (JDIMENSION)w;
    c.image_height = (JDIMENSION)h;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, quality, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        JSAMPROW row = rgb + (size_t)c.next_scanline * (size_t)w * 3;
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(bytes);
}

static Times once(const Files *f, int size, int quality)
{
    Times t = {0};
    for (size_t i = 0; i < f->count; i++) {
        int w, h, to_w, to_h;
        uint8_t digest[32];
        const double a = vc_thread_time();
        uint8_t *rgb = decode(f->bytes[i], f->n[i], size, &w, &h, &to_w, &to_h);
        const double b = vc_thread_time();
        uint8_t *small = vc_alloc((size_t)to_w * (size_t)to_h, 3);
        average_areas(rgb, w, h, small, to_w, to_h);
        const double c = vc_thread_time();
        encode(small, to_w, to_h, quality);
        const double d = vc_thread_time();
        vc_sha256(f->bytes[i], f->n[i], digest);
        t.decode += b - a;
        t.shrink += c - b;
        t.encode += d - c;
        t.sha256 += vc_thread_time() - d;
        free(rgb);
        free(small);
    }
    return t;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_floor FOLDER [SIZE] [QUALITY]\n");
        return 2;
    }
    int64_t size = 256, quality = 95;
    if ((argc > 2 && !vc_parse_i64(argv[2], &size)) || (argc > 3 && !vc_parse_i64(argv[3], &quality)))
        return 2;
    static Files f;
    struct dirent **names;
    const int count = scandir(argv[1], &names, NULL, alphasort);
    for (int i = 0; i < count && f.count < MOST; i++) {
        char *path = vc_path_join(argv[1], names[i]->d_name);
        if (strstr(names[i]->d_name, ".jpg") && vc_read_file(&f.bytes[f.count], &f.n[f.count], path, 32 << 20, NULL))
            f.count++;
        free(path);
        free(names[i]);
    }
    if (f.count == 0) {
        fprintf(stderr, "no .jpg in '%s'\n", argv[1]);
        return 1;
    }
    Times best = {1e9, 1e9, 1e9, 1e9};
    for (int round = 0; round < ROUNDS; round++) {
        const Times t = once(&f, (int)size, (int)quality);
        best.decode = t.decode < best.decode ? t.decode : best.decode;
        best.shrink = t.shrink < best.shrink ? t.shrink : best.shrink;
        best.encode = t.encode < best.encode ? t.encode : best.encode;
        best.sha256 = t.sha256 < best.sha256 ? t.sha256 : best.sha256;
    }
    const double ms = 1000 / (double)f.count;
    printf("{\"bench\": \"floor\", \"images\": %zu, \"decode_ms\": %.3f, \"shrink_ms\": %.3f, \"encode_ms\": %.3f, "
           "\"floor_ms\": %.3f, \"sha256_ms\": %.3f}\n",
           f.count, best.decode * ms, best.shrink * ms, best.encode * ms,
           (best.decode + best.shrink + best.encode) * ms, best.sha256 * ms);
    return 0;
}
