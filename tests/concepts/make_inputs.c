// SPDX-License-Identifier: MIT
// make_inputs FOLDER COUNT: COUNT small JPEG pictures and captions.jsonl, the same on every machine, for shell tests.
#include "base/file.h"
#include "base/rng.h"
#include "base/str.h"
#include "extract/extract.h"

static const char *const captions[] = {
    "A dog runs on the beach .",
    "Two dogs and a cat sit on a red sofa .",
    "a man holding a surfboard near the water",
    "a group of people in front of a building",
    "A woman rides a bike past a dog .",
    "A cat sleeps on the sofa beside a lamp .",
    "a bowl of soup on a wooden table \xF0\x9F\x8D\xB2",
    "<b>a man</b> \\\"quoted\\\" & a dog's ball; DROP TABLE image; --",
    "a beach with \\u001b[31mred\\u001b[0m umbrellas and people\\u0007",
    "\xE7\x8C\xAB a caf\xC3\xA9 table",
};

// Smooth colour waves: no two alike.
static void paint(ExtractImage *image, uint64_t seed)
{
    VcRng rng;
    vc_rng_seed(&rng, seed);
    int step[3][2], base[3];
    for (int c = 0; c < 3; c++) {
        base[c] = (int)vc_rng_below(&rng, 256);
        step[c][0] = (int)vc_rng_below(&rng, 9);
        step[c][1] = (int)vc_rng_below(&rng, 9);
    }
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            for (int c = 0; c < 3; c++) {
                int v = (base[c] + x * step[c][0] + y * step[c][1]) % 510;
                image->pixels[(y * image->width + x) * 3 + c] = (uint8_t)(v < 256 ? v : 510 - v);
            }
}

static bool make(const char *folder, int64_t count, VcErr *err)
{
    static uint8_t pixels[64 * 48 * 3];
    ExtractImage image = {.width = 64, .height = 48, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
    image.pixels = pixels;
    VcStr lines = {0};
    bool ok = vc_make_dirs(folder, err) && extract_image_init(err);
    for (int64_t i = 0; ok && i < count; i++) {
        char name[32];
        uint8_t *bytes = NULL;
        size_t n;
        snprintf(name, sizeof name, "%05lld.jpg", (long long)i);
        char *path = vc_path_join(folder, name);
        paint(&image, (uint64_t)i);
        ok = extract_image_encode_jpeg(&image, 92, &bytes, &n, err) && vc_write_file(path, bytes, n, err);
        vc_str_putf(&lines, "{\"image\": \"%s\", \"caption\": \"%s\"}\n", name,
                    captions[(size_t)i % (sizeof captions / sizeof *captions)]);
        free(bytes);
        free(path);
    }
    char *path = vc_path_join(folder, "captions.jsonl");
    ok = ok && vc_write_file(path, lines.data, lines.len, err);
    free(path);
    vc_str_finish(&lines);
    return ok;
}

int main(int argc, char **argv)
{
    int64_t count;
    VcErr err = {0};
    if (argc != 3 || !vc_parse_i64(argv[2], &count)) {
        fprintf(stderr, "usage: make_inputs FOLDER COUNT\n");
        return 2;
    }
    if (!make(argv[1], count, &err)) {
        fprintf(stderr, "make_inputs: %s\n", err.text);
        return 1;
    }
    return 0;
}
