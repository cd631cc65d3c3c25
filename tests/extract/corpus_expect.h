// SPDX-License-Identifier: MIT
// What tests of made pictures share: the verdict of extract on a file beside the one it should have.
//
// `causes` are names with a space between; "ok": accepted; "any": it must only end. Differences are printed and
// counted; corpus_end fails the test if there were any.
#pragma once

#include "tests/extract/corpus.h"

#include "base/clock.h"
#include "extract/extract.h"
#include "tests/support/test.h"

static unsigned tried, wrong;

static inline const char *judge(ExtractThumbnail *t, const void *bytes, size_t n, char *words, size_t room)
{
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    o.fit = EXTRACT_FIT_KEEP;
    VcErr err = {0};
    uint8_t *copy = vc_alloc(n ? n : 1, 1); // of exactly this size: a read too far is seen by the sanitizer
    memcpy(copy, bytes, n);
    const double begun = vc_thread_time();
    const ExtractCause cause = extract_thumbnail(t, copy, n, &o, &err);
    const double seconds = vc_thread_time() - begun;
    free(copy);
    snprintf(words, room, "%s", err.text);
    tried++;
    return seconds > 5 ? "more than 5 s" : cause == EXTRACT_OK ? "ok" : extract_cause_name(cause);
}

static inline bool among(const char *causes, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = strstr(causes, name); at; at = strstr(at + 1, name)) {
        if ((at == causes || at[-1] == ' ') && (at[n] == 0 || at[n] == ' '))
            return true;
    }
    return strcmp(causes, "any") == 0;
}

static inline void expect(const char *name, const void *bytes, size_t n, const char *causes)
{
    ExtractThumbnail t;
    char words[200];
    const char *found = judge(&t, bytes, n, words, sizeof words);
    free(t.jpeg);
    if (!among(causes, found)) {
        print_message("# %s: %s (%s), expected %s\n", name, found, words, causes);
        wrong++;
    }
}

enum { COLOUR = 0, GREY = 1, CLEAR = 2, INK = 4 }; // CLEAR: the top left is white; INK: CMYK, whose colours are others'

// Accepted, of this size, with the scene's four colours in their places.
static inline void expect_scene(const char *name, const VcStr *file, int w, int h, unsigned looks)
{
    ExtractThumbnail t;
    char words[200];
    ExtractImage image = {0};
    const char *found = judge(&t, file->data, file->len, words, sizeof words);
    bool right = strcmp(found, "ok") == 0;
    if (right) {
        assert_ok(extract_image_decode(&image, t.jpeg, t.bytes, err));
        right = image.width == w && image.height == h && t.original_width == w;
    }
    int worst = 0;
    for (int q = 0; right && q < 4; q++) {
        const int x = q & 1 ? w * 3 / 4 : w / 4, y = q & 2 ? h * 3 / 4 : h / 4;
        for (int c = 0; c < 3; c++) {
            int wanted = corpus_sample(w, h, x, y, looks & GREY ? 4 : c);
            wanted = looks & CLEAR && q == 0 ? 255 : wanted;
            const int got = image.pixels[((size_t)y * (size_t)w + (size_t)x) * 3 + (size_t)c];
            worst = abs(got - wanted) > worst ? abs(got - wanted) : worst;
        }
    }
    if (!right || worst > (looks & INK ? 110 : 24)) {
        print_message("# %s: %s (%s), %d x %d, off by %d\n", name, found, words, image.width, image.height, worst);
        wrong++;
    }
    if (right)
        extract_image_finish(&image);
    free(t.jpeg);
}

static inline void insert(VcStr *out, const VcStr *file, size_t at, const void *bytes, size_t n)
{
    vc_str_clear(out);
    vc_str_putn(out, file->data, at);
    vc_str_putn(out, bytes, n);
    vc_str_putn(out, file->data + at, file->len - at);
}

static inline void with_byte(const char *name, const VcStr *file, size_t at, int value, const char *causes)
{
    VcStr t = {0};
    vc_str_putn(&t, file->data, file->len);
    t.data[at] = (char)value;
    expect(name, t.data, t.len, causes);
    vc_str_finish(&t);
}

// Every `step`-th byte changed: some answer.
static inline void every_byte(const char *name, const VcStr *file, size_t step)
{
    VcStr t = {0};
    vc_str_putn(&t, file->data, file->len);
    for (size_t i = 0; i < file->len; i += step) {
        t.data[i] ^= (char)(i % 3 == 0 ? 0xFF : i % 3 == 1 ? 0x01 : 0x80);
        expect(name, t.data, t.len, "any");
        t.data[i] = file->data[i];
    }
    vc_str_finish(&t);
}

static inline void end(void)
{
    const unsigned bad = wrong;
    wrong = 0;
    assert_int_equal(bad, 0);
}

// Of the whole program: what the pictures here may need at most, and how many they were. Sanitizers have their own
// sums.
static inline int corpus_summary(void **state)
{
    (void)state;
    print_message("# %u files, peak memory %.0f MiB\n", tried, (double)vc_peak_rss() / (1 << 20));
#if defined(__SANITIZE_ADDRESS__)
    return 0;
#else
    return vc_peak_rss() > 150u << 20;
#endif
}

static inline int corpus_start(void **state)
{
    (void)state;
    return extract_image_init(NULL) ? 0 : 1;
}
