// SPDX-License-Identifier: MIT
// Pictures for the extract tests: make_images FOLDER COUNT SIDE writes 00000.jpg ... (every eleventh with the bytes of
// an earlier one), with five captions each in captions.jsonl, one an entry, and list.tsv without a header.
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "extract/extract.h"

static void draw(ExtractImage *image, uint64_t seed)
{
    VcRng rng;
    vc_rng_seed(&rng, seed);
    const int w = image->width, h = image->height;
    uint8_t colours[5][3];
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            colours[i][k] = (uint8_t)vc_rng_below(&rng, 256);
    const int cx = (int)vc_rng_below(&rng, (uint64_t)w), cy = (int)vc_rng_below(&rng, (uint64_t)h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const int part = (x > cx) + 2 * (y > cy);
            const bool disc = (x - w / 2) * (x - w / 2) + (y - h / 2) * (y - h / 2) < w * h / 16;
            for (int k = 0; k < 3; k++)
                image->pixels[(y * w + x) * 3 + k] =
                    (uint8_t)(colours[disc ? 4 : part][k] / 2 + (x * 64 / w) + (y * 64 / h));
        }
}

static bool write_one(const char *folder, int number, int side, VcErr *err)
{
    const int same_as = number % 11 == 10 ? number - 7 : number;
    const int w = side + same_as % 17, h = side - same_as % 13;
    ExtractImage image = {.width = w, .height = h, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
    image.pixels = vc_alloc((size_t)w * (size_t)h, 3);
    draw(&image, (uint64_t)same_as);
    uint8_t *bytes;
    size_t n;
    char path[4096];
    snprintf(path, sizeof path, "%s/%05d.jpg", folder, number);
    bool ok = extract_image_encode_jpeg(&image, 85, &bytes, &n, err);
    if (ok) {
        ok = vc_write_file(path, bytes, n, err);
        free(bytes);
    }
    free(image.pixels);
    return ok;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: make_images FOLDER COUNT SIDE\n");
        return 2;
    }
    int64_t count, side;
    VcErr err = {0};
    bool ok = vc_parse_i64(argv[2], &count) && vc_parse_i64(argv[3], &side) && side > 16 &&
              vc_make_dirs(argv[1], &err) && extract_image_init(&err);
    VcStr lines = {0}, table = {0};
    for (int i = 0; ok && i < count; i++) {
        ok = write_one(argv[1], i, (int)side, &err);
        for (int k = 0; k < 5; k++)
            vc_str_putf(&lines, "{\"image\": \"%05d.jpg\", \"caption\": \"caption %d of picture %d\"}\n", i, k, i);
        vc_str_putf(&table, "picture %d\t%05d.jpg\n", i, i);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/captions.jsonl", argv[1]);
    ok = ok && vc_write_file(path, lines.data, lines.len, &err);
    snprintf(path, sizeof path, "%s/list.tsv", argv[1]);
    ok = ok && vc_write_file(path, table.data, table.len, &err);
    vc_str_finish(&lines);
    vc_str_finish(&table);
    if (!ok)
        fprintf(stderr, "make_images: %s\n", err.text);
    return ok ? 0 : 1;
}
