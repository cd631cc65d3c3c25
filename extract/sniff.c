// SPDX-License-Identifier: MIT
#include "extract/sniff.h"

#include "extract/sniff_impl.h"

// --- everything else: only named, never opened

static bool contains(Bytes b, const char *word)
{
    return memmem(b.p, b.n, word, strlen(word)) != NULL;
}

static ExtractCause name_text(Bytes b, VcErr *err)
{
    const Bytes head = {b.p, b.n < 1024 ? b.n : 1024};
    if (contains(head, "<svg") || contains(head, "<!DOCTYPE svg") || contains(head, "<!ENTITY"))
        return reject(EXTRACT_UNSUPPORTED, err, "an SVG drawing, not a photograph");
    size_t at = starts(b, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < head.n && (b.p[at] == ' ' || b.p[at] == '\t' || b.p[at] == '\r' || b.p[at] == '\n'))
        at++;
    if (at < head.n && b.p[at] == '<')
        return reject(EXTRACT_NOT_IMAGE, err, "an HTML or XML page instead of an image");
    if (starts(b, "\xFF\xFE<\0", 4) || starts(b, "\xFE\xFF\0<", 4))
        return reject(EXTRACT_NOT_IMAGE, err, "an HTML or XML page instead of an image");
    if (at < head.n && (b.p[at] == '{' || b.p[at] == '['))
        return reject(EXTRACT_NOT_IMAGE, err, "JSON instead of an image");
    return reject(EXTRACT_NOT_IMAGE, err, "not an image: no known format begins with these bytes");
}

static ExtractCause name_foreign(Bytes b, VcErr *err)
{
    static const struct {
        const char *magic;
        size_t at, n;
        const char *words;
    } known[] = {
        {"II+\0", 0, 4, "a BigTIFF file"},
        {"MM\0+", 0, 4, "a BigTIFF file"},
        {"BM", 0, 2, "a BMP file"},
        {"\0\0\1\0", 0, 4, "an icon"},
        {"%PDF", 0, 4, "a PDF document"},
        {"%!PS", 0, 4, "a PostScript document"},
        {"#?RADIANCE", 0, 10, "a Radiance picture"},
        {"\x08\xf2\xa6\xb6", 0, 4, "a VIPS file"},
        {"\xb6\xa6\xf2\x08", 0, 4, "a VIPS file"},
        {"MATLAB 5.0", 0, 10, "a MATLAB file"},
        {"SIMPLE  =", 0, 9, "a FITS file"},
        {"\xff\x0a", 0, 2, "a JPEG XL file"},
        {"\0\0\0\x0cJXL ", 0, 8, "a JPEG XL file"},
        {"\0\0\0\x0cjP  ", 0, 8, "a JPEG 2000 file"},
        {"\xff\x4f\xff\x51", 0, 4, "a JPEG 2000 file"},
        {"8BPS", 0, 4, "a Photoshop file"},
        {"\0\0\2\0", 0, 4, "a cursor"},
        {"icns", 0, 4, "an icon"},
        {"DDS ", 0, 4, "a DirectDraw surface"},
        {"\x01\xda", 0, 2, "an SGI picture"},
        {"\x59\xa6\x6a\x95", 0, 4, "a Sun raster file"},
        {"qoif", 0, 4, "a QOI file"},
        {"\x76\x2f\x31\x01", 0, 4, "an OpenEXR file"},
        {"gimp xcf", 0, 8, "a GIMP file"},
        {"FLIF", 0, 4, "a FLIF file"},
        {"BPG\xfb", 0, 4, "a BPG file"},
        {"AT&TFORM", 0, 8, "a DjVu document"},
        {"\x8aMNG\r\n\x1a\n", 0, 8, "an MNG film"},
        {"\x8bJNG\r\n\x1a\n", 0, 8, "a JNG file"},
        {"\xd7\xcd\xc6\x9a", 0, 4, "a Windows metafile"},
        {" EMF", 40, 4, "a Windows metafile"},
        {"/* XPM */", 0, 9, "an XPM picture"},
        {"DICM", 128, 4, "a DICOM file"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (b.n < known[i].at + known[i].n || memcmp(b.p + known[i].at, known[i].magic, known[i].n) != 0)
            continue;
        vc_fail(err, VC_ERR_FORMAT, "%s: only JPEG, PNG, GIF, WebP, TIFF, HEIF and AVIF are accepted", known[i].words);
        return EXTRACT_UNSUPPORTED;
    }
    if (b.n > 2 && b.p[0] == 'P' && b.p[1] >= '1' && b.p[1] <= '7' && (b.p[2] == '\n' || b.p[2] == ' ')) {
        return reject(EXTRACT_UNSUPPORTED, err,
                      "a PNM file: only JPEG, PNG, GIF, WebP, TIFF, HEIF and AVIF are accepted");
    }
    if (b.n > 11 && memcmp(b.p + 4, "ftyp", 4) == 0)
        return reject(EXTRACT_NOT_IMAGE, err, "a video file instead of an image");
    if (starts(b, "\x1f\x8b", 2))
        return reject(EXTRACT_NOT_IMAGE, err, "gzip-packed data instead of an image");
    if (starts(b, "PK\3\4", 4))
        return reject(EXTRACT_NOT_IMAGE, err, "a zip archive instead of an image");
    return name_text(b, err);
}

// --- dispatch

static const struct {
    const char *name, *mime;
    ExtractCause (*read)(ExtractHeader *, Bytes, VcErr *);
} formats[] = {
    [EXTRACT_FORMAT_NONE] = {"unknown", NULL, NULL},
    [EXTRACT_FORMAT_JPEG] = {"jpeg", "image/jpeg", extract_sniff_jpeg},
    [EXTRACT_FORMAT_PNG] = {"png", "image/png", extract_sniff_png},
    [EXTRACT_FORMAT_GIF] = {"gif", "image/gif", extract_sniff_gif},
    [EXTRACT_FORMAT_WEBP] = {"webp", "image/webp", extract_sniff_webp},
    [EXTRACT_FORMAT_TIFF] = {"tiff", "image/tiff", extract_sniff_tiff},
    [EXTRACT_FORMAT_HEIF] = {"heif", "image/heif", extract_sniff_heif},
    [EXTRACT_FORMAT_AVIF] = {"avif", "image/avif", extract_sniff_heif},
};

const char *extract_format_name(ExtractFormat format)
{
    return formats[format].name;
}

const char *extract_format_mime(const char *mime)
{
    for (size_t i = 1; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(formats[i].mime, mime) == 0)
            return formats[i].mime;
    }
    return NULL;
}

static ExtractFormat heif_brand(Bytes b)
{
    static const char brands[][5] = {"heic", "heix", "mif1"};
    if (b.n < 12 || memcmp(b.p + 4, "ftyp", 4) != 0)
        return EXTRACT_FORMAT_NONE;
    if (memcmp(b.p + 8, "avif", 4) == 0 || memcmp(b.p + 8, "avis", 4) == 0)
        return EXTRACT_FORMAT_AVIF;
    for (size_t i = 0; i < sizeof brands / sizeof *brands; i++) {
        if (memcmp(b.p + 8, brands[i], 4) == 0)
            return EXTRACT_FORMAT_HEIF;
    }
    return EXTRACT_FORMAT_NONE;
}

static ExtractFormat format_of(Bytes b)
{
    // Two bytes of a JPEG are enough to call it one that was cut.
    if (starts(b, "\xFF\xD8", 2) && (b.n == 2 || b.p[2] == 0xFF))
        return EXTRACT_FORMAT_JPEG;
    if (starts(b, "\x89PNG\r\n\x1a\n", 8))
        return EXTRACT_FORMAT_PNG;
    if (starts(b, "GIF87a", 6) || starts(b, "GIF89a", 6))
        return EXTRACT_FORMAT_GIF;
    if (starts(b, "RIFF", 4) && b.n >= 12 && memcmp(b.p + 8, "WEBP", 4) == 0)
        return EXTRACT_FORMAT_WEBP;
    if (starts(b, "II*\0", 4) || starts(b, "MM\0*", 4))
        return EXTRACT_FORMAT_TIFF;
    return heif_brand(b);
}

ExtractCause extract_sniff(ExtractHeader *out, const uint8_t *bytes, size_t n, VcErr *err)
{
    *out = (ExtractHeader){.orientation = 1};
    const Bytes b = {bytes, n};
    if (n == 0)
        return reject(EXTRACT_EMPTY, err, "no bytes at all");
    out->format = format_of(b);
    out->mime = formats[out->format].mime;
    return out->format == EXTRACT_FORMAT_NONE ? name_foreign(b, err) : formats[out->format].read(out, b, err);
}
