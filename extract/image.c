// SPDX-License-Identifier: MIT
#include "extract/image.h"

#include "base/log.h"
#include "base/mem.h"
#include "extract/versions.h"

#include <pthread.h>
#include <vips/vips.h>

// ---- libvips, once ----

static void drop_log(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer data)
{
    (void)level;
    (void)data;
    vc_debug("%s: %s", domain ? domain : "glib", message); // what stops a decode is an error of its own
}

static const char *const allowed_loaders[] = {"VipsForeignLoadJpeg", "VipsForeignLoadPng",  "VipsForeignLoadNsgif",
                                              "VipsForeignLoadWebp", "VipsForeignLoadTiff", "VipsForeignLoadHeif"};

static pthread_once_t vips_once = PTHREAD_ONCE_INIT;
static bool vips_ready;

static void start_vips(void)
{
    static const char *const domains[] = {"VIPS", "GLib", "GLib-GObject"};
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        g_log_set_handler(domains[i], G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_INFO, drop_log, NULL);
    if (VIPS_INIT("vicha") != 0)
        return;
    vips_operation_block_set("VipsForeignLoad", TRUE);
    for (size_t i = 0; i < sizeof allowed_loaders / sizeof allowed_loaders[0]; i++)
        vips_operation_block_set(allowed_loaders[i], FALSE);
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    vips_ready = true;
}

// libvips keeps one error text for the process: it is taken and cleared in one step.
static bool vips_failure(VcErr *err, const char *what)
{
    char *text = vips_error_buffer_copy();
    for (size_t n = strlen(text); n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '); n--)
        text[n - 1] = '\0';
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\n')
            *p = ';';
    }
    vc_fail(err, VC_ERR_FORMAT, "%s: %s", what, text[0] != '\0' ? text : "no reason was given");
    g_free(text);
    return false;
}

bool extract_image_init(VcErr *err)
{
    pthread_once(&vips_once, start_vips);
    return vips_ready ? true : vips_failure(err, "libvips does not start");
}

void extract_image_thread_end(void)
{
    vips_thread_shutdown();
}

// ---- what the bytes are ----

static bool starts_with(const uint8_t *bytes, size_t n, size_t at, const char *magic, size_t length)
{
    return n >= at + length && memcmp(bytes + at, magic, length) == 0;
}

const char *extract_image_sniff(const uint8_t *bytes, size_t n)
{
    static const char *const heif[] = {"heic", "heix", "hevc", "mif1", "msf1", "avif", "avis"};
    if (starts_with(bytes, n, 0, "\xFF\xD8\xFF", 3))
        return "jpeg";
    if (starts_with(bytes, n, 0, "\x89PNG\r\n\x1A\n", 8))
        return "png";
    if (starts_with(bytes, n, 0, "GIF87a", 6) || starts_with(bytes, n, 0, "GIF89a", 6))
        return "gif";
    if (starts_with(bytes, n, 0, "RIFF", 4) && starts_with(bytes, n, 8, "WEBP", 4))
        return "webp";
    if (starts_with(bytes, n, 0, "II*\0", 4) || starts_with(bytes, n, 0, "MM\0*", 4))
        return "tiff";
    if (starts_with(bytes, n, 4, "ftyp", 4)) {
        for (size_t i = 0; i < sizeof heif / sizeof heif[0]; i++) {
            if (starts_with(bytes, n, 8, heif[i], 4))
                return "heif";
        }
    }
    return NULL;
}

// What decides Pillow's mode and libvips does not tell.
typedef struct {
    int depth, colour; // PNG: IHDR
    bool has_key;      // PNG: tRNS of a grey or RGB image
    uint16_t key[3];
    bool adobe;     // JPEG: an Adobe marker, where libvips inverts CMYK; Pillow always does
    bool gray_ramp; // GIF: the palette is 0, 1, 2, ...: Pillow's mode is then L
} Hints;

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint16_t big16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void read_png_hints(Hints *h, const uint8_t *bytes, size_t n)
{
    for (size_t at = 8; n - at >= 12 && at <= n;) {
        const size_t length = big32(bytes + at);
        const uint8_t *name = bytes + at + 4, *data = bytes + at + 8;
        if (length > n - at - 12 || memcmp(name, "IDAT", 4) == 0)
            return;
        if (memcmp(name, "IHDR", 4) == 0 && length >= 13) {
            h->depth = data[8];
            h->colour = data[9];
        }
        if (memcmp(name, "tRNS", 4) == 0 && ((h->colour == 0 && length >= 2) || (h->colour == 2 && length >= 6))) {
            h->has_key = true;
            for (int i = 0; i < (h->colour == 0 ? 1 : 3); i++)
                h->key[i] = h->depth == 1 ? (uint16_t)(big16(data) != 0 ? 255 : 0) : big16(data + 2 * i);
        }
        at += length + 12;
    }
}

static void read_jpeg_hints(Hints *h, const uint8_t *bytes, size_t n)
{
    for (size_t at = 2; at + 4 <= n && bytes[at] == 0xFF;) {
        const uint8_t marker = bytes[at + 1];
        if (marker == 0xFF) { // fill byte
            at++;
            continue;
        }
        if (marker == 0xDA || marker == 0xD9)
            return;
        if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
            at += 2;
            continue;
        }
        const size_t length = big16(bytes + at + 2);
        if (marker == 0xEE && length >= 14 && starts_with(bytes, n, at + 4, "Adobe", 5))
            h->adobe = true;
        at += 2 + length;
    }
}

// Walks to the first picture: its own colour table, else the global one.
static void read_gif_hints(Hints *h, const uint8_t *bytes, size_t n)
{
    if (n < 13)
        return;
    const uint8_t *table = bytes[10] & 0x80 ? bytes + 13 : NULL;
    size_t entries = (size_t)2 << (bytes[10] & 7), at = 13 + (table != NULL ? 3 * entries : 0);
    while (at + 10 < n && bytes[at] == 0x21) { // extensions
        for (at += 2; at < n && bytes[at] != 0;)
            at += bytes[at] + (size_t)1;
        at++;
    }
    if (at + 10 < n && bytes[at] == 0x2C && (bytes[at + 9] & 0x80) != 0) {
        table = bytes + at + 10;
        entries = (size_t)2 << (bytes[at + 9] & 7);
    }
    if (table == NULL || (size_t)(table - bytes) + 3 * entries > n)
        return;
    for (size_t i = 0; i < entries; i++) {
        if (table[3 * i] != i || table[3 * i + 1] != i || table[3 * i + 2] != i)
            return;
    }
    h->gray_ramp = true;
}

// ---- decoding ----

static VipsImage *load(const char *kind, const uint8_t *bytes, size_t n)
{
    union { // libvips reads only, but asks for a plain pointer
        const uint8_t *in;
        void *out;
    } p = {bytes};
    VipsImage *image = NULL;
    if (strcmp(kind, "jpeg") == 0) {
        vips_jpegload_buffer(p.out, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    } else if (strcmp(kind, "png") == 0) {
        vips_pngload_buffer(p.out, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    } else if (strcmp(kind, "gif") == 0) {
        vips_gifload_buffer(p.out, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    } else if (strcmp(kind, "webp") == 0) {
        vips_webpload_buffer(p.out, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    } else if (strcmp(kind, "tiff") == 0) {
        vips_tiffload_buffer(p.out, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    } else {
        vips_heifload_buffer(p.out, n, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_ERROR, NULL);
    }
    return image;
}

// Pillow's mode of an image that libvips gives with `bands` bands of 8 or 16 bits; channels is what we keep.
static ExtractMode choose_mode(const char *kind, const Hints *h, int bands, bool wide)
{
    if (strcmp(kind, "png") == 0) {
        if (h->colour == 3)
            return EXTRACT_PALETTE;
        if (h->colour == 0)
            return h->depth == 1 ? EXTRACT_BILEVEL : h->depth == 16 ? EXTRACT_GRAY16 : EXTRACT_GRAY;
        if (h->colour == 4)
            return h->depth == 16 ? EXTRACT_RGBA : EXTRACT_GRAY_ALPHA; // Pillow has no 16-bit LA
        return h->colour == 2 ? EXTRACT_RGB : EXTRACT_RGBA;
    }
    if (strcmp(kind, "gif") == 0)
        return h->gray_ramp ? EXTRACT_GRAY : EXTRACT_PALETTE;
    if (strcmp(kind, "jpeg") == 0 && bands == 4)
        return EXTRACT_CMYK;
    static const ExtractMode by_bands[] = {EXTRACT_GRAY, EXTRACT_GRAY_ALPHA, EXTRACT_RGB, EXTRACT_RGBA};
    return wide && bands == 1 ? EXTRACT_GRAY16 : by_bands[bands - 1];
}

static int channels_of(ExtractMode mode)
{
    static const int channels[] = {
        [EXTRACT_GRAY] = 1, [EXTRACT_GRAY_ALPHA] = 2, [EXTRACT_RGB] = 3,     [EXTRACT_RGBA] = 4,
        [EXTRACT_CMYK] = 4, [EXTRACT_PALETTE] = 4,    [EXTRACT_BILEVEL] = 1, [EXTRACT_GRAY16] = 1};
    return channels[mode];
}

static size_t pixel_bytes(const ExtractImage *im)
{
    return im->mode == EXTRACT_GRAY16 ? 2 : (size_t)im->channels;
}

static uint8_t *new_pixels(int width, int height, size_t bytes)
{
    return vc_alloc((size_t)width * (size_t)height, bytes); // counted against EXTRACT_MAX_PIXELS before
}

// One source sample as 8 bits: the high byte of 16.
static uint8_t sample(const void *row, size_t at, bool wide)
{
    return wide ? (uint8_t)(((const uint16_t *)row)[at] >> 8) : ((const uint8_t *)row)[at];
}

// bands bands of 8 or 16 bits to the channels of out->mode.
static void convert(ExtractImage *out, const void *data, int bands, bool wide, bool invert)
{
    const size_t n = (size_t)out->width * (size_t)out->height, from = (size_t)bands, to = (size_t)out->channels;
    if (out->mode == EXTRACT_GRAY16) {
        uint16_t *p = (uint16_t *)(void *)out->pixels;
        for (size_t i = 0; i < n; i++)
            p[i] = wide ? ((const uint16_t *)data)[i * from] : ((const uint8_t *)data)[i * from];
        return;
    }
    if (!wide && from == to && !invert) {
        memcpy(out->pixels, data, n * to);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < to; c++) {
            // Grey feeds all colours; what has no alpha is opaque.
            const bool alpha = c == 3 || (to == 2 && c == 1);
            size_t source = alpha ? from - 1 : (from <= 2 ? 0 : c);
            const bool opaque = alpha && (from == 1 || from == 3);
            const uint8_t v = opaque ? 255 : sample(data, i * from + source, wide);
            out->pixels[i * to + c] = invert ? (uint8_t)(255 - v) : v;
        }
    }
}

bool extract_image_decode(ExtractImage *out, const uint8_t *bytes, size_t n, VcErr *err)
{
    const char *kind = extract_image_sniff(bytes, n);
    if (kind == NULL) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "not an image: the first bytes are none of JPEG, PNG, GIF, WebP, TIFF or HEIF");
    }
    Hints hints = {0};
    if (strcmp(kind, "png") == 0) {
        read_png_hints(&hints, bytes, n);
    } else if (strcmp(kind, "jpeg") == 0) {
        read_jpeg_hints(&hints, bytes, n);
    } else if (strcmp(kind, "gif") == 0) {
        read_gif_hints(&hints, bytes, n);
    }
    VipsImage *image = load(kind, bytes, n);
    char what[32];
    snprintf(what, sizeof what, "cannot decode %s", kind);
    if (image == NULL)
        return vips_failure(err, what);
    const int width = vips_image_get_width(image), height = vips_image_get_height(image),
              bands = vips_image_get_bands(image);
    const VipsBandFormat format = vips_image_get_format(image);
    const bool wide = format == VIPS_FORMAT_USHORT;
    void *data = NULL;
    size_t size = 0;
    bool ok = true;
    if (width > EXTRACT_MAX_SIDE || height > EXTRACT_MAX_SIDE || (int64_t)width * height > EXTRACT_MAX_PIXELS) {
        ok = vc_fail(err, VC_ERR_LIMIT, "%s: %d x %d pixels are more than the limit of %d", what, width, height,
                     EXTRACT_MAX_PIXELS);
    } else if (bands < 1 || bands > 4 || (!wide && format != VIPS_FORMAT_UCHAR)) {
        ok = vc_fail(err, VC_ERR_FORMAT, "%s: %d bands of %s samples are not supported", what, bands,
                     vips_enum_nick(VIPS_TYPE_BAND_FORMAT, format));
    } else if ((data = vips_image_write_to_memory(image, &size)) == NULL) {
        ok = vips_failure(err, what);
    }
    if (ok) {
        const ExtractMode mode = choose_mode(kind, &hints, bands, wide);
        *out = (ExtractImage){.width = width,
                              .height = height,
                              .mode = mode,
                              .channels = channels_of(mode),
                              .orientation = vips_image_get_orientation(image),
                              .has_key = hints.has_key};
        memcpy(out->key, hints.key, sizeof out->key);
        out->pixels = new_pixels(width, height, pixel_bytes(out));
        convert(out, data, bands, wide, mode == EXTRACT_CMYK && !hints.adobe);
    }
    g_free(data);
    g_object_unref(image);
    return ok;
}

void extract_image_finish(ExtractImage *image)
{
    free(image->pixels);
    *image = (ExtractImage){0};
}

// ---- conversions ----

static uint8_t divide_255(uint32_t v) // v / 255, rounded, for v <= 255 * 255
{
    v += 128;
    return (uint8_t)((v + (v >> 8)) >> 8);
}

// RGB of pixel i by Pillow's convert("RGB").
static void plain_rgb(const ExtractImage *in, size_t i, uint8_t rgb[3])
{
    const uint8_t *p = in->pixels + i * (size_t)in->channels;
    switch (in->mode) {
    case EXTRACT_GRAY:
    case EXTRACT_BILEVEL:
    case EXTRACT_GRAY_ALPHA:
        rgb[0] = rgb[1] = rgb[2] = p[0];
        return;
    case EXTRACT_GRAY16: { // clamped, not shifted
        const uint16_t v = ((const uint16_t *)(const void *)in->pixels)[i];
        rgb[0] = rgb[1] = rgb[2] = (uint8_t)(v > 255 ? 255 : v);
        return;
    }
    case EXTRACT_CMYK: {
        const uint32_t white = 255u - p[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(white - divide_255(p[c] * white));
        return;
    }
    case EXTRACT_RGB:
    case EXTRACT_RGBA:
    case EXTRACT_PALETTE:
        rgb[0] = p[0], rgb[1] = p[1], rgb[2] = p[2];
        return;
    }
}

static void start_rgb(ExtractImage *out, const ExtractImage *in)
{
    *out = (ExtractImage){
        .width = in->width, .height = in->height, .mode = EXTRACT_RGB, .channels = 3, .orientation = in->orientation};
    out->pixels = new_pixels(in->width, in->height, 3);
}

void extract_image_drop(ExtractImage *out, const ExtractImage *in)
{
    start_rgb(out, in);
    const size_t n = (size_t)in->width * (size_t)in->height;
    if (in->mode == EXTRACT_RGB) {
        memcpy(out->pixels, in->pixels, 3 * n);
    } else {
        for (size_t i = 0; i < n; i++)
            plain_rgb(in, i, out->pixels + 3 * i);
    }
}

// Alpha of pixel i, whose colour is rgb. A key colour is compared by its low byte, as Pillow does.
static uint8_t alpha_of(const ExtractImage *in, size_t i, const uint8_t rgb[3])
{
    if (in->has_key) {
        const bool gray = in->mode != EXTRACT_RGB;
        for (int c = 0; c < 3; c++) {
            if (rgb[c] != (in->key[gray ? 0 : c] & 0xFF))
                return 255;
        }
        return 0;
    }
    const uint8_t *p = in->pixels + i * (size_t)in->channels;
    if (in->mode == EXTRACT_RGBA || in->mode == EXTRACT_PALETTE)
        return p[3];
    return in->mode == EXTRACT_GRAY_ALPHA ? p[1] : 255;
}

void extract_image_flatten(ExtractImage *out, const ExtractImage *in)
{
    extract_image_drop(out, in);
    const bool clear =
        in->has_key || in->mode == EXTRACT_RGBA || in->mode == EXTRACT_PALETTE || in->mode == EXTRACT_GRAY_ALPHA;
    if (!clear)
        return;
    const size_t n = (size_t)in->width * (size_t)in->height;
    for (size_t i = 0; i < n; i++) {
        uint8_t *p = out->pixels + 3 * i;
        const uint32_t a = alpha_of(in, i, p);
        for (int c = 0; c < 3 && a < 255; c++) {
            // Pillow's alpha_composite on opaque white: 7 extra bits, then division by 255 with rounding.
            const uint32_t v = (p[c] * (a << 7)) + 255 * ((255 - a) << 7) + (0x80 << 7);
            p[c] = a == 0 ? 255 : (uint8_t)(((v + (v >> 8)) >> 8) >> 7);
        }
    }
}

void extract_image_upright(ExtractImage *im)
{
    const int o = im->orientation;
    im->orientation = 1;
    if (o < 2 || o > 8)
        return;
    const size_t bytes = pixel_bytes(im);
    const int w = o >= 5 ? im->height : im->width, h = o >= 5 ? im->width : im->height;
    uint8_t *turned = new_pixels(w, h, bytes);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            // Where the pixel at (x, y) of the upright picture lies in the stored one.
            const int across = o == 2 || o == 3 || o == 7 || o == 8, down = o == 3 || o == 4 || o == 6 || o == 7;
            int sx = o >= 5 ? y : x, sy = o >= 5 ? x : y;
            if (across)
                sx = im->width - 1 - sx;
            if (down)
                sy = im->height - 1 - sy;
            memcpy(turned + ((size_t)y * (size_t)w + (size_t)x) * bytes,
                   im->pixels + ((size_t)sy * (size_t)im->width + (size_t)sx) * bytes, bytes);
        }
    }
    free(im->pixels);
    im->pixels = turned;
    im->width = w;
    im->height = h;
}

bool extract_image_encode_jpeg(const ExtractImage *image, int quality, uint8_t **bytes, size_t *n, VcErr *err)
{
    VC_ASSERT(image->mode == EXTRACT_RGB || image->mode == EXTRACT_GRAY);
    VipsImage *plain = vips_image_new_from_memory(
        image->pixels, (size_t)image->width * (size_t)image->height * (size_t)image->channels, image->width,
        image->height, image->channels, VIPS_FORMAT_UCHAR);
    VipsImage *tagged = NULL;
    void *data = NULL;
    size_t size = 0;
    bool ok = plain != NULL &&
              vips_copy(plain, &tagged, "interpretation",
                        image->channels == 1 ? VIPS_INTERPRETATION_B_W : VIPS_INTERPRETATION_sRGB, NULL) == 0 &&
              vips_jpegsave_buffer(tagged, &data, &size, "Q", quality, "strip", TRUE, NULL) == 0;
    if (ok) {
        *bytes = vc_alloc(size, 1);
        memcpy(*bytes, data, size);
        *n = size;
    } else {
        vips_failure(err, "cannot encode jpeg");
    }
    g_free(data);
    if (tagged != NULL)
        g_object_unref(tagged);
    if (plain != NULL)
        g_object_unref(plain);
    return ok;
}

bool extract_svg_to_png(const char *svg, size_t svg_n, double scale, uint8_t **bytes, size_t *n, VcErr *err)
{
    static const char loader[] = "VipsForeignLoadSvg";
    if (!extract_image_init(err))
        return false;
    VipsBlob *source = vips_blob_copy(svg, svg_n); // the loader takes no const
    VipsImage *image = NULL;
    void *data = NULL;
    size_t size = 0;
    vips_operation_block_set(loader, FALSE);
    bool ok = vips_svgload_buffer(VIPS_AREA(source)->data, svg_n, &image, "scale", scale, NULL) == 0 &&
              vips_pngsave_buffer(image, &data, &size, "compression", 9, NULL) == 0;
    vips_operation_block_set(loader, TRUE);
    if (ok) {
        *bytes = vc_alloc(size, 1);
        memcpy(*bytes, data, size);
        *n = size;
    } else {
        vips_failure(err, "cannot draw PNG (libvips needs librsvg for it; SVG always works)");
    }
    g_free(data);
    if (image != NULL)
        g_object_unref(image);
    vips_area_unref(VIPS_AREA(source));
    return ok;
}

const char *extract_vips_version(void)
{
    return vips_version_string();
}
