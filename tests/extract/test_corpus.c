// SPDX-License-Identifier: MIT
// Hostile and odd JPEG and PNG files, made here: every one ends with the cause it should, in little time and memory,
// and what is accepted looks as it was made.
#include "tests/extract/corpus_expect.h"

#include <zlib.h>

// --- JPEG

// Positions of all markers, those inside a segment's data left out, those between entropy-coded data (RST) included.
static size_t jpeg_markers(const VcStr *s, size_t *at, size_t most)
{
    const uint8_t *p = (const uint8_t *)s->data;
    size_t count = 0;
    bool coded = false;
    for (size_t i = 0; i + 1 < s->len && count < most;) {
        if (p[i] != 0xFF || p[i + 1] == 0 || p[i + 1] == 0xFF) {
            i++;
            continue;
        }
        at[count++] = i;
        const uint8_t m = p[i + 1];
        const bool bare = m == 0xD8 || m == 0xD9 || (m >= 0xD0 && m <= 0xD7);
        coded = coded || m == 0xDA;
        i += bare || i + 4 > s->len ? 2 : 2u + (size_t)(p[i + 2] << 8 | p[i + 3]);
    }
    return coded ? count : 0;
}

static size_t jpeg_segment(const VcStr *s, uint8_t marker)
{
    size_t at[4096];
    const size_t n = jpeg_markers(s, at, 4096);
    for (size_t i = 0; i < n; i++) {
        if ((uint8_t)s->data[at[i] + 1] == marker)
            return at[i];
    }
    return 0;
}

static void test_jpeg_kinds(void **state)
{
    (void)state;
    VcStr s = {0};
    char name[100];
    static const int sampling[][2] = {{1, 1}, {2, 1}, {2, 2}, {1, 2}, {4, 1}};
    for (size_t i = 0; i < 5 * 8; i++) {
        const CorpusJpeg k = {.w = 61,
                              .h = 47,
                              .space = 'Y',
                              .across = sampling[i % 5][0],
                              .down = sampling[i % 5][1],
                              .progressive = i / 5 & 1,
                              .arithmetic = i / 5 & 2,
                              .restart = i / 5 & 4 ? 1 : 0};
        snprintf(name, sizeof name, "JPEG %dx%d, progressive %d, arithmetic %d, restart %d", k.across, k.down,
                 k.progressive, k.arithmetic, k.restart);
        if (corpus_jpeg(&s, &k))
            expect_scene(name, &s, 61, 47, COLOUR);
    }
    for (const char *space = "GRCK"; *space; space++) {
        for (int progressive = 0; progressive < 2; progressive++) {
            const CorpusJpeg k = {.w = 64, .h = 48, .space = *space, .progressive = progressive};
            snprintf(name, sizeof name, "JPEG of space %c, progressive %d", *space, progressive);
            assert_true(corpus_jpeg(&s, &k));
            expect_scene(name, &s, 64, 48, *space == 'G' ? GREY : *space == 'R' ? COLOUR : INK);
        }
    }
    assert_true(corpus_jpeg(&s, &(CorpusJpeg){.w = 64, .h = 48, .space = 'Y', .separate = true}));
    expect_scene("JPEG with a scan for each component", &s, 64, 48, COLOUR);
    vc_str_finish(&s);
    end();
}

static void test_jpeg_luggage(void **state)
{
    (void)state;
    VcStr s = {0}, t = {0};
    assert_true(corpus_jpeg(&s, &(CorpusJpeg){.w = 64, .h = 48, .space = 'Y', .across = 2, .down = 2}));
    insert(&t, &s, s.len, "PK\3\4 a zip behind it", 20);
    expect_scene("JPEG with a zip behind it", &t, 64, 48, COLOUR);
    insert(&t, &s, s.len, s.data, s.len);
    expect_scene("JPEG with another behind it", &t, 64, 48, COLOUR);
    insert(&t, &s, 2, "\xFF\xFF\xFF\xFF", 4);
    expect_scene("JPEG with fill bytes", &t, 64, 48, COLOUR);
    const size_t dqt = jpeg_segment(&s, 0xDB);
    insert(&t, &s, dqt, "0123456789abcdef", 16);
    expect_scene("JPEG with 16 stray bytes", &t, 64, 48, COLOUR);
    insert(&t, &s, dqt, "\xFF\0\0\2", 4);
    expect_scene("JPEG with FF 00 between segments", &t, 64, 48, COLOUR);
    insert(&t, &s, dqt, "0123456789abcdef0", 17);
    expect("JPEG with 17 stray bytes", t.data, t.len, "corrupt");
    insert(&t, &s, dqt, "\xFF\xD8", 2);
    expect("JPEG with a second start", t.data, t.len, "corrupt");
    insert(&t, &s, 2, "\xFF\xFE\0\x35<script>/*</script><?php system($_GET['c']); ?>---", 55);
    expect_scene("JPEG that is a page and a program too", &t, 64, 48, COLOUR);
    VcStr comments = {0};
    for (int i = 0; i < 100; i++) {
        vc_str_putn(&comments, "\xFF\xE2\xFF\xFFICC_PROFILE\0", 16);
        vc_str_putc(&comments, (char)(i + 1));
        vc_str_putc(&comments, (char)200);
        for (int k = 0; k < 65535 - 16; k++)
            vc_str_putc(&comments, (char)k);
    }
    insert(&t, &s, 2, comments.data, comments.len);
    expect_scene("JPEG with 6 MB of half a profile", &t, 64, 48, COLOUR);
    vc_str_finish(&comments);
    for (int orientation = 0; orientation < 12; orientation++) {
        uint8_t exif[36] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i',  'f', 0, 0, 'M', 'M', 0, '*', 0,
                            0,    0,    8, 0,  1,   1,   0x12, 0,   3, 0, 0,   0,   1, 0,   (uint8_t)orientation};
        insert(&t, &s, 2, exif, sizeof exif);
        expect("JPEG with an orientation", t.data, t.len, "ok");
        exif[17] = (uint8_t)(orientation * 20); // the directory elsewhere
        insert(&t, &s, 2, exif, sizeof exif);
        expect("JPEG with a lying EXIF block", t.data, t.len, "ok");
    }
    vc_str_finish(&s);
    vc_str_finish(&t);
    end();
}

static void test_jpeg_cut(void **state)
{
    (void)state;
    VcStr s = {0}, t = {0};
    size_t at[4096];
    char name[100];
    for (int kind = 0; kind < 4; kind++) {
        const CorpusJpeg k = {.w = 72,
                              .h = 56,
                              .space = 'Y',
                              .across = 2,
                              .down = 2,
                              .progressive = kind == 1,
                              .restart = kind == 2 ? 1 : 0,
                              .separate = kind == 3};
        assert_true(corpus_jpeg(&s, &k));
        const size_t n = jpeg_markers(&s, at, 4096);
        assert_true(n > 8);
        for (size_t i = 1; i < n; i++) {
            for (int behind = 0; behind < 7; behind++) { // before the marker, inside it, inside its segment
                const size_t length = at[i] + (size_t)behind;
                if (length >= s.len)
                    continue;
                snprintf(name, sizeof name, "JPEG %d cut %d bytes after marker %zu", kind, behind, i);
                expect(name, s.data, length, "truncated");
                vc_str_clear(&t);
                vc_str_putn(&t, s.data, length);
                vc_str_put(&t, "\xFF\xD9");
                expect(name, t.data, t.len, i + 1 < n ? "truncated corrupt" : "ok"); // closed again
            }
        }
        const size_t first = jpeg_segment(&s, 0xDA);
        for (size_t length = first + 20; length + 2 < s.len; length += 23) { // inside the data, closed again
            vc_str_clear(&t);
            vc_str_putn(&t, s.data, length);
            if (t.data[length - 1] == '\xFF')
                continue;
            vc_str_put(&t, "\xFF\xD9");
            snprintf(name, sizeof name, "JPEG %d cut in its data at %zu of %zu", kind, length, s.len);
            expect(name, t.data, t.len, "truncated corrupt");
        }
    }
    vc_str_finish(&s);
    vc_str_finish(&t);
    end();
}

static void test_jpeg_lies(void **state)
{
    (void)state;
    VcStr s = {0}, t = {0};
    assert_true(corpus_jpeg(&s, &(CorpusJpeg){.w = 72, .h = 56, .space = 'Y', .across = 2, .down = 2, .restart = 1}));
    const size_t sof = jpeg_segment(&s, 0xC0), sos = jpeg_segment(&s, 0xDA), dht = jpeg_segment(&s, 0xC4);
    const size_t dqt = jpeg_segment(&s, 0xDB);
    for (int m = 0xC0; m <= 0xCF; m++) {
        if (m == 0xC0 || m == 0xC1 || m == 0xC4 || m == 0xC8 || m == 0xCC)
            continue;
        // Its data read as another process's is noise; what we do not read is named.
        const bool read = m == 0xC2 || m == 0xC9 || m == 0xCA;
        with_byte("JPEG of another process", &s, sof + 1, m, read ? "truncated corrupt" : "unsupported");
    }
    for (int bits = 0; bits < 17; bits++) {
        if (bits != 8)
            with_byte("JPEG with other than 8 bits", &s, sof + 4, bits, "unsupported");
    }
    with_byte("JPEG of 8 more rows", &s, sof + 6, 64 + 8, "truncated corrupt");
    with_byte("JPEG of 200 rows more", &s, sof + 5, 1, "truncated corrupt");
    with_byte("JPEG of 65,000 columns", &s, sof + 7, 0xFE, "aspect truncated corrupt");
    with_byte("JPEG without rows", &s, sof + 6, 0, "corrupt");
    with_byte("JPEG without columns", &s, sof + 8, 0, "corrupt");
    with_byte("JPEG of two components", &s, sof + 9, 2, "unsupported");
    with_byte("JPEG of nine components", &s, sof + 9, 9, "unsupported");
    with_byte("JPEG with sampling 0", &s, sof + 11, 0, "corrupt");
    with_byte("JPEG with sampling 15", &s, sof + 11, 0xFF, "corrupt");
    with_byte("JPEG with a table that is not there", &s, sof + 12, 3, "corrupt");
    with_byte("JPEG scan with a Huffman table that is not there", &s, sos + 6, 0x33, "corrupt");
    with_byte("JPEG scan of a component that is not there", &s, sos + 5, 9, "corrupt");
    with_byte("JPEG scan of no components", &s, sos + 4, 0, "corrupt");
    with_byte("JPEG with a Huffman table of too many codes", &s, dht + 5, 255, "corrupt truncated");
    with_byte("JPEG with a Huffman table number 9", &s, dht + 4, 9, "corrupt");
    with_byte("JPEG with a quantization table number 9", &s, dqt + 4, 9, "corrupt");
    static const uint8_t cut[] = {0xDB, 0xC4, 0xC0, 0xDD};
    for (size_t i = 0; i < sizeof cut; i++) { // all segments of this kind left out
        vc_str_clear(&t);
        vc_str_putn(&t, s.data, s.len);
        for (size_t at; (at = jpeg_segment(&t, cut[i])) != 0;) {
            const size_t n = 2u + (size_t)((uint8_t)t.data[at + 2] << 8 | (uint8_t)t.data[at + 3]);
            memmove(t.data + at, t.data + at + n, t.len - at - n);
            t.len -= n;
        }
        // Without Huffman tables libjpeg-turbo takes the usual ones, as films of JPEGs do; these are the usual ones.
        expect("JPEG without a kind of segment", t.data, t.len,
               cut[i] == 0xC4 ? "corrupt truncated ok" : "corrupt truncated");
    }
    const size_t n = 2u + (size_t)((uint8_t)s.data[sof + 2] << 8 | (uint8_t)s.data[sof + 3]);
    VcStr again = {0};
    vc_str_putn(&again, s.data + sof, n);
    insert(&t, &s, sof, again.data, again.len);
    expect("JPEG with two frame headers", t.data, t.len, "corrupt");
    vc_str_clear(&again);
    for (int i = 0; i < 1000; i++)
        vc_str_putn(&again, s.data + sos, 14);
    insert(&t, &s, sos, again.data, again.len);
    expect("JPEG with a thousand scans", t.data, t.len, "too_large");
    vc_str_finish(&again);
    // Restart markers: one left out, one twice, one for another
    size_t at[4096], first = 0;
    const size_t count = jpeg_markers(&s, at, 4096);
    for (size_t i = 0; i < count && !first; i++)
        first = (uint8_t)s.data[at[i] + 1] == 0xD1 ? at[i] : 0;
    assert_true(first > 0);
    with_byte("JPEG with a wrong restart marker", &s, first + 1, 0xD5, "corrupt truncated");
    insert(&t, &s, first, "\xFF\xD1", 2);
    expect("JPEG with a restart marker twice", t.data, t.len, "corrupt truncated");
    vc_str_clear(&t);
    vc_str_putn(&t, s.data, first);
    vc_str_putn(&t, s.data + first + 2, s.len - first - 2);
    expect("JPEG without a restart marker", t.data, t.len, "corrupt truncated");
    vc_str_clear(&t);
    vc_str_putn(&t, s.data, s.len);
    memset(t.data + sof + 5, 0xFF, 4);
    expect("JPEG of 4 gigapixels", t.data, t.len, "too_large");
    vc_str_finish(&s);
    vc_str_finish(&t);
    end();
}

static void test_jpeg_noise(void **state)
{
    (void)state;
    VcStr s = {0};
    static const CorpusJpeg kinds[] = {{.w = 40, .h = 24, .space = 'Y', .across = 2, .down = 2, .progressive = true},
                                       {.w = 40, .h = 24, .space = 'K'},
                                       {.w = 40, .h = 24, .space = 'Y', .arithmetic = true}};
    for (size_t i = 0; i < 3; i++) {
        if (corpus_jpeg(&s, &kinds[i]))
            every_byte("JPEG with a byte changed", &s, kinds[i].space == 'K' ? 7 : 1); // CMYK takes its time
    }
    vc_str_finish(&s);
    end();
}

// --- PNG

static void test_png_kinds(void **state)
{
    (void)state;
    static const uint8_t kinds[][2] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16},
                                       {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
    char name[100];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds * 12; i++) {
        const size_t which = i / 12;
        const CorpusPng k = {.w = 45,
                             .h = 38,
                             .type = kinds[which][0],
                             .depth = kinds[which][1],
                             .adam7 = i & 1,
                             .filter = (int)(i % 12 / 2)};
        snprintf(name, sizeof name, "PNG type %d, %d bits, adam7 %d, filter %d", k.type, k.depth, k.adam7, k.filter);
        VcStr s = corpus_png(&k);
        if (k.depth < 4 && k.type == 0)
            expect(name, s.data, s.len, "ok"); // too few levels to compare
        else
            expect_scene(name, &s, 45, 38, (k.type == 0 || k.type == 4 ? GREY : COLOUR) | (k.type >= 4 ? CLEAR : 0));
        vc_str_finish(&s);
    }
    end();
}

static void test_png_luggage(void **state)
{
    (void)state;
    const CorpusPng k = {.w = 45, .h = 38, .type = 2, .depth = 8, .filter = 5};
    VcStr s = corpus_png(&k), t = {0}, rows = corpus_png_rows(&k), extra = {0}, zeros = {0};
    enum { HEAD = 33, BOMB = 40 << 20 };
    insert(&t, &s, s.len, "PK\3\4 a zip behind it", 20);
    expect_scene("PNG with a zip behind it", &t, 45, 38, COLOUR);
    uint8_t *bomb = vc_calloc(BOMB, 1);
    uLongf packed = compressBound(BOMB);
    uint8_t *bytes = vc_alloc(packed, 1);
    assert_int_equal(compress(bytes, &packed, bomb, BOMB), Z_OK);
    static const char *const luggage[][2] = {{"zTXt", "a\0\0"}, {"iTXt", "a\0\1\0\0\0"}, {"iCCP", "a\0\0"}};
    for (size_t i = 0; i < 3; i++) {
        vc_str_clear(&extra);
        VcStr body = {0};
        vc_str_putn(&body, luggage[i][1], i == 1 ? 6 : 3);
        vc_str_putn(&body, bytes, packed);
        corpus_png_chunk(&extra, luggage[i][0], body.data, body.len);
        insert(&t, &s, HEAD, extra.data, extra.len);
        expect_scene("PNG with a bomb in its luggage", &t, 45, 38, COLOUR);
        vc_str_finish(&body);
    }
    vc_str_clear(&t);
    corpus_png_begin(&t, 45, 38, 8, 2, 0);
    corpus_png_chunk(&t, "IDAT", bytes, packed);
    corpus_png_chunk(&t, "IEND", "", 0);
    expect("PNG whose rows are a bomb", t.data, t.len, "corrupt");
    free(bomb);
    // Data in pieces
    packed = compressBound(rows.len);
    bytes = vc_realloc(bytes, packed, 1);
    assert_int_equal(compress(bytes, &packed, (const uint8_t *)rows.data, rows.len), Z_OK);
    vc_str_clear(&t);
    corpus_png_begin(&t, 45, 38, 8, 2, 0);
    for (size_t i = 0; i < packed; i++) {
        corpus_png_chunk(&t, "IDAT", bytes + i, 1);
        corpus_png_chunk(&t, "IDAT", "", 0);
    }
    corpus_png_chunk(&t, "IEND", "", 0);
    expect_scene("PNG in pieces of a byte", &t, 45, 38, COLOUR);
    vc_str_clear(&t);
    corpus_png_begin(&t, 45, 38, 8, 2, 0);
    corpus_png_chunk(&t, "acTL", "\0\0\0\2\0\0\0\0", 8);
    corpus_png_chunk(&t, "IDAT", bytes, packed);
    corpus_png_chunk(&t, "fdAT", bytes, packed);
    corpus_png_chunk(&t, "IEND", "", 0);
    expect_scene("PNG that moves", &t, 45, 38, COLOUR);
    corpus_png_chunk(&extra, "tEXt", "a\0b", 3);
    vc_str_clear(&t);
    corpus_png_begin(&t, 45, 38, 8, 2, 0);
    corpus_png_chunk(&t, "IDAT", bytes, packed / 2);
    vc_str_putn(&t, extra.data, extra.len);
    corpus_png_chunk(&t, "IDAT", bytes + packed / 2, packed - packed / 2);
    corpus_png_chunk(&t, "IEND", "", 0);
    expect("PNG with a text inside its data", t.data, t.len, "corrupt");
    // The colour of the top left quadrant is the transparent one.
    VcStr key = {0};
    for (int c = 0; c < 3; c++) {
        vc_str_putc(&key, 0);
        vc_str_putc(&key, (char)corpus_colours[0][c]);
    }
    vc_str_clear(&extra);
    corpus_png_chunk(&extra, "tRNS", key.data, key.len);
    insert(&t, &s, HEAD, extra.data, extra.len);
    expect_scene("PNG with a colour that is transparent", &t, 45, 38, CLEAR);
    free(bytes);
    VcStr *const all[] = {&s, &t, &rows, &extra, &zeros, &key};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        vc_str_finish(all[i]);
    end();
}

static void test_png_damage(void **state)
{
    (void)state;
    const CorpusPng k = {.w = 45, .h = 38, .type = 2, .depth = 8, .filter = 5};
    VcStr s = corpus_png(&k), t = {0}, rows = corpus_png_rows(&k);
    char name[100];
    enum { HEAD = 33 };
    for (size_t n = 8; n < s.len; n++) {
        snprintf(name, sizeof name, "PNG cut at %zu of %zu", n, s.len);
        expect(name, s.data, n, "truncated");
    }
    // Each byte of the packed data, with the chunk's checksum wrong, and with one that fits again
    const size_t data = HEAD + 8, length = s.len - 12 - 4 - data;
    uint8_t *again = vc_alloc(rows.len, 1);
    size_t changed = 0;
    for (size_t i = 0; i < length; i++) {
        snprintf(name, sizeof name, "PNG with byte %zu of its data changed", i);
        with_byte(name, &s, data + i, (uint8_t)s.data[data + i] ^ (1 << i % 8), "corrupt");
        vc_str_clear(&t);
        vc_str_putn(&t, s.data, HEAD);
        s.data[data + i] ^= (char)(1 << i % 8);
        corpus_png_chunk(&t, "IDAT", s.data + data, length);
        s.data[data + i] ^= (char)(1 << i % 8);
        corpus_png_chunk(&t, "IEND", "", 0);
        // A bit of padding changes nothing, and a copy from elsewhere may be the same.
        uLongf got = rows.len;
        s.data[data + i] ^= (char)(1 << i % 8);
        const bool same = uncompress(again, &got, (const uint8_t *)s.data + data, length) == Z_OK && got == rows.len &&
                          memcmp(again, rows.data, got) == 0;
        s.data[data + i] ^= (char)(1 << i % 8);
        changed += !same;
        expect(name, t.data, t.len, same ? "ok" : "corrupt");
    }
    free(again);
    assert_true(changed > length * 9 / 10);
    for (size_t i = 8; i < HEAD; i++) {
        snprintf(name, sizeof name, "PNG with byte %zu of its header changed", i);
        with_byte(name, &s, i, (uint8_t)s.data[i] ^ 0x40, "corrupt truncated too_large aspect");
    }
    for (size_t i = 0; i < 8; i++) // no PNG any more
        with_byte("PNG with a damaged signature", &s, i, (uint8_t)s.data[i] ^ 0x80, "not_image");
    for (int type = 0; type < 8; type++) {
        for (int depth = 0; depth < 18; depth++) {
            const bool grey = type == 0 && (depth == 1 || depth == 2 || depth == 4);
            const bool palette = type == 3 && (depth == 1 || depth == 2 || depth == 4 || depth == 8);
            const bool can = grey || palette || (type != 3 && (depth == 8 || depth == 16));
            if (can && type != 1 && type != 5 && type != 7)
                continue;
            vc_str_clear(&t);
            corpus_png_begin(&t, 45, 38, (uint8_t)depth, (uint8_t)type, 0);
            corpus_png_pack(&t, rows.data, rows.len);
            corpus_png_chunk(&t, "IEND", "", 0);
            expect("PNG of a type and depth that cannot be", t.data, t.len, "corrupt");
        }
    }
    static const struct {
        uint32_t w, h;
        uint8_t depth, type, adam7;
        const char *causes;
    } lies[] = {
        {0, 38, 8, 2, 0, "corrupt"},          {45, 0, 8, 2, 0, "corrupt"},
        {0x80000000, 38, 8, 2, 0, "corrupt"}, {45, 39, 8, 2, 0, "corrupt"},
        {45, 37, 8, 2, 0, "corrupt"},         {46, 38, 8, 2, 0, "corrupt"},
        {45, 38, 8, 2, 1, "corrupt"},         {45, 38, 8, 2, 2, "corrupt"},
        {65000, 65000, 8, 2, 0, "too_large"}, {0x7FFFFFFF, 0x7FFFFFFF, 16, 6, 1, "too_large"},
        {9999, 9999, 16, 6, 1, "too_large"},  {65000, 3, 8, 2, 0, "aspect"},
        {1, 1, 8, 2, 0, "too_small corrupt"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        vc_str_clear(&t);
        corpus_png_begin(&t, lies[i].w, lies[i].h, lies[i].depth, lies[i].type, lies[i].adam7);
        corpus_png_pack(&t, rows.data, rows.len);
        corpus_png_chunk(&t, "IEND", "", 0);
        snprintf(name, sizeof name, "PNG that says %u x %u", lies[i].w, lies[i].h);
        expect(name, t.data, t.len, lies[i].causes);
    }
    VcStr bad = corpus_png(&(CorpusPng){.w = 45, .h = 38, .type = 2, .depth = 8, .filter = 6});
    expect("PNG with a filter that is not there", bad.data, bad.len, "corrupt");
    vc_str_finish(&bad);
    static const struct {
        const char *type;
        size_t n;
        const char *causes;
    } odd[] = {{"IHDR", 13, "corrupt"}, {"PLTE", 5, "corrupt"}, {"PLTE", 0, "corrupt"}, {"PLTE", 771, "corrupt"},
               {"CgBI", 4, "corrupt"},  {"ABCD", 9, "corrupt"}, {"abCd", 9, "ok"},      {"pHYs", 1, "ok"},
               {"gAMA", 4, "ok"},       {"tIME", 7, "ok"},      {"IEND", 0, "corrupt"}, {"eXIf", 40, "ok"}};
    static const uint8_t zeros[800];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        VcStr extra = {0};
        corpus_png_chunk(&extra, odd[i].type, zeros, odd[i].n);
        insert(&t, &s, HEAD, extra.data, extra.len);
        snprintf(name, sizeof name, "PNG with a chunk %s of %zu zeros", odd[i].type, odd[i].n);
        expect(name, t.data, t.len, odd[i].causes);
        vc_str_finish(&extra);
    }
    vc_str_finish(&s);
    vc_str_finish(&t);
    vc_str_finish(&rows);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg_kinds),  cmocka_unit_test(test_jpeg_luggage), cmocka_unit_test(test_jpeg_cut),
        cmocka_unit_test(test_jpeg_lies),   cmocka_unit_test(test_jpeg_noise),   cmocka_unit_test(test_png_kinds),
        cmocka_unit_test(test_png_luggage), cmocka_unit_test(test_png_damage),
    };
    return cmocka_run_group_tests(tests, corpus_start, corpus_summary);
}
