// SPDX-License-Identifier: MIT
#include "extract/jpeg.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

// The numbers of libjpeg's messages, without the macros of that header: they use a banned call.
enum Message {
#define JERROR_H
#define JMESSAGE(code, text) code,
#include <jerror.h>
};

enum {
    ICC_LIMIT = 4 << 20, // bytes of a profile that is worth looking at
    EXTRANEOUS = 16,     // bytes between segments that cameras leave behind and no pixel misses
};

// What libjpeg calls on trouble, shared by both directions. setjmp is armed by every entry point.
typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf back;
    ExtractCause cause;
    char text[JMSG_LENGTH_MAX];
} Trouble;

struct ExtractJpegReader {
    struct jpeg_decompress_struct d;
    Trouble trouble;
    struct jpeg_progress_mgr progress;
    double deadline; // of vc_thread_time; 0: none
    unsigned calls;
    uint8_t *icc;
};

// --- errors

static void __attribute__((noreturn)) give_up(Trouble *t, ExtractCause cause)
{
    t->cause = cause;
    longjmp(t->back, 1);
}

static void __attribute__((noreturn)) on_error(j_common_ptr info)
{
    Trouble *t = (Trouble *)(void *)info->err;
    info->err->format_message(info, t->text);
    give_up(t, info->err->msg_code == JERR_INPUT_EOF || info->err->msg_code == JERR_INPUT_EMPTY ? EXTRACT_TRUNCATED
                                                                                                : EXTRACT_CORRUPT);
}

// A warning is damage that libjpeg papers over, but for these.
static bool harmless(const struct jpeg_error_mgr *e)
{
    if (e->msg_code == JWRN_EXTRANEOUS_DATA)
        return e->msg_parm.i[0] <= EXTRANEOUS;
    return e->msg_code == JWRN_JFIF_MAJOR || e->msg_code == JWRN_ADOBE_XFORM || e->msg_code == JWRN_BOGUS_ICC;
}

static void on_message(j_common_ptr info, int level)
{
    if (level >= 0 || harmless(info->err))
        return;
    Trouble *t = (Trouble *)(void *)info->err;
    info->err->format_message(info, t->text);
    // Entropy-coded data that ends before its rows do.
    const bool short_of = info->err->msg_code == JWRN_HIT_MARKER || info->err->msg_code == JWRN_JPEG_EOF;
    give_up(t, short_of ? EXTRACT_TRUNCATED : EXTRACT_CORRUPT);
}

static void on_output(j_common_ptr info)
{
    (void)info; // libjpeg would print
}

static struct jpeg_error_mgr *arm(Trouble *t)
{
    *t = (Trouble){0};
    struct jpeg_error_mgr *base = jpeg_std_error(&t->base);
    base->error_exit = on_error;
    base->emit_message = on_message;
    base->output_message = on_output;
    return base;
}

static ExtractCause failed(const Trouble *t, VcErr *err)
{
    vc_fail(err, VC_ERR_FORMAT, "JPEG: %s", t->text);
    return t->cause;
}

// Called once a row of blocks, also while a progressive picture is gathered.
static void on_progress(j_common_ptr info)
{
    ExtractJpegReader *r = info->client_data;
    // Asking for the time is a system call.
    if (r->deadline <= 0 || ++r->calls % 16 != 0 || vc_thread_time() < r->deadline)
        return;
    snprintf(r->trouble.text, sizeof r->trouble.text, "decoding takes longer than an image may");
    give_up(&r->trouble, EXTRACT_TOO_SLOW);
}

// --- reading

// A profile whose parts are all there. libjpeg allocates with malloc.
static void take_icc(ExtractJpegReader *r, ExtractJpegInfo *info)
{
    unsigned n = 0;
    uint8_t *icc = NULL;
    if (!jpeg_read_icc_profile(&r->d, &icc, &n))
        return;
    r->icc = icc;
    if (n > ICC_LIMIT)
        return;
    info->icc = icc;
    info->icc_bytes = n;
}

static int choose_eighths(const struct jpeg_decompress_struct *d, int least_width, int least_height)
{
    int eighths = 8;
    while (eighths > 1 && (int64_t)d->image_width * (eighths / 2) >= (int64_t)least_width * 8 &&
           (int64_t)d->image_height * (eighths / 2) >= (int64_t)least_height * 8)
        eighths /= 2;
    return eighths;
}

static void start(ExtractJpegReader *r, ExtractJpegInfo *info, int least_width, int least_height)
{
    struct jpeg_decompress_struct *d = &r->d;
    jpeg_save_markers(d, JPEG_APP0 + 2, 0xFFFF);
    jpeg_read_header(d, TRUE);
    take_icc(r, info);
    const int eighths = choose_eighths(d, least_width, least_height);
    d->scale_num = (unsigned)eighths;
    d->scale_denom = 8;
    d->out_color_space = JCS_RGB;
    d->dct_method = JDCT_ISLOW;
    d->do_fancy_upsampling = TRUE;
    r->progress.progress_monitor = on_progress;
    d->progress = &r->progress;
    info->full_width = (int)d->image_width;
    info->full_height = (int)d->image_height;
    info->gray = d->num_components == 1;
    info->eighths = eighths;
    jpeg_start_decompress(d);
    info->width = (int)d->output_width;
    info->height = (int)d->output_height;
}

ExtractCause extract_jpeg_open(ExtractJpegReader **out, ExtractJpegInfo *info, const uint8_t *bytes, size_t n,
                               int least_width, int least_height, double cpu_seconds, VcErr *err)
{
    *out = NULL;
    *info = (ExtractJpegInfo){0};
    ExtractJpegReader *r = vc_calloc(1, sizeof *r);
    r->d.err = arm(&r->trouble);
    if (setjmp(r->trouble.back)) {
        const ExtractCause cause = failed(&r->trouble, err);
        *info = (ExtractJpegInfo){0};
        extract_jpeg_destroy(&r);
        return cause;
    }
    jpeg_create_decompress(&r->d);
    r->d.client_data = r;
    r->deadline = cpu_seconds > 0 ? vc_thread_time() + cpu_seconds : 0;
    jpeg_mem_src(&r->d, bytes, (unsigned long)n);
    start(r, info, least_width, least_height);
    *out = r;
    return EXTRACT_OK;
}

ExtractCause extract_jpeg_row(ExtractJpegReader *r, uint8_t *row, VcErr *err)
{
    if (setjmp(r->trouble.back))
        return failed(&r->trouble, err);
    JSAMPROW rows[1] = {row};
    VC_ASSERT(jpeg_read_scanlines(&r->d, rows, 1) == 1); // a memory source never suspends
    return EXTRACT_OK;
}

ExtractCause extract_jpeg_end(ExtractJpegReader *r, VcErr *err)
{
    if (setjmp(r->trouble.back))
        return failed(&r->trouble, err);
    jpeg_finish_decompress(&r->d);
    return EXTRACT_OK;
}

void extract_jpeg_destroy(ExtractJpegReader **reader)
{
    if (!reader || !*reader)
        return;
    jpeg_destroy_decompress(&(*reader)->d);
    free((*reader)->icc);
    free(*reader);
    *reader = NULL;
}

// --- writing

typedef struct {
    struct jpeg_compress_struct c;
    Trouble trouble;
    unsigned char *bytes; // libjpeg's, by malloc
    unsigned long n;
} Writer;

static void write_rows(Writer *w, const uint8_t *rgb, int width, int height, int quality)
{
    struct jpeg_compress_struct *c = &w->c;
    c->image_width = (unsigned)width;
    c->image_height = (unsigned)height;
    c->input_components = 3;
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, quality, TRUE);
    c->dct_method = JDCT_ISLOW;
    c->comp_info[0].h_samp_factor = c->comp_info[0].v_samp_factor = quality > 95 ? 1 : 2;
    jpeg_start_compress(c, TRUE);
    for (int y = 0; y < height;) {
        JSAMPROW rows[16]; // libjpeg reads only, but asks for plain pointers
        int count = 0;
        for (; count < 16 && y + count < height; count++)
            rows[count] = (JSAMPROW)(uintptr_t)(rgb + 3 * (size_t)width * (size_t)(y + count));
        y += (int)jpeg_write_scanlines(c, rows, (JDIMENSION)count);
    }
    jpeg_finish_compress(c);
}

bool extract_jpeg_encode(const uint8_t *rgb, int width, int height, int quality, uint8_t **bytes, size_t *n, VcErr *err)
{
    Writer *w = vc_calloc(1, sizeof *w);
    w->c.err = arm(&w->trouble);
    // A third of the raw size is more than nearly all pictures need: one allocation.
    const size_t room = (size_t)width * (size_t)height + 1024;
    uint8_t *const first = vc_alloc(room, 1);
    volatile bool ok = false;
    if (!setjmp(w->trouble.back)) {
        jpeg_create_compress(&w->c);
        w->bytes = first;
        w->n = room;
        jpeg_mem_dest(&w->c, &w->bytes, &w->n);
        write_rows(w, rgb, width, height, quality);
        ok = true;
    }
    jpeg_destroy_compress(&w->c);
    if (w->bytes != first) // grown: libjpeg leaves memory that was given to it alone
        free(first);
    if (ok) {
        *bytes = w->bytes;
        *n = w->n;
    } else {
        vc_fail(err, VC_ERR_FORMAT, "cannot encode %d x %d pixels as JPEG: %s", width, height, w->trouble.text);
        free(w->bytes);
    }
    free(w);
    return ok;
}
