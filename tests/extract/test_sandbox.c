// SPDX-License-Identifier: MIT
// The decoder's process: the same pictures as without it, and what its death, silence and hunger cost.
#include "extract/extract.h"
#include "tests/support/test.h"

#include <signal.h>

static uint8_t *make_jpeg(int w, int h, size_t *n)
{
    ExtractImage image = {.width = w, .height = h, .channels = 3, .mode = EXTRACT_RGB, .orientation = 1};
    image.pixels = vc_calloc((size_t)w * (size_t)h, 3);
    for (int i = 0; i < 3 * w * h; i++)
        image.pixels[i] = (uint8_t)(i * 7 / w);
    uint8_t *bytes;
    assert_ok(extract_image_encode_jpeg(&image, 90, &bytes, n, err));
    free(image.pixels);
    return bytes;
}

static ExtractSandbox *start(const ExtractThumbnailOptions *o, uint64_t memory, double seconds)
{
    ExtractSandboxOptions options;
    extract_sandbox_options_init(&options);
    options.program = getenv("VICHA");
    options.seconds = seconds > 0 ? seconds : options.seconds;
    options.memory = memory ? memory : options.memory;
    ExtractSandbox *s = NULL;
    assert_ok(extract_sandbox_start(&s, &options, o, err));
    return s;
}

static void test_same(void **state)
{
    (void)state;
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    ExtractSandbox *s = start(&o, 0, 0);
    size_t n;
    uint8_t *jpeg = make_jpeg(500, 300, &n);
    for (size_t length = n; length > 0; length = length > n / 2 ? n / 2 : 0) {
        ExtractThumbnail a, b;
        VcErr ea = {0}, eb = {0};
        const ExtractCause cause = extract_thumbnail(&a, jpeg, length, &o, &ea);
        assert_int_equal(extract_sandbox_thumbnail(s, &b, jpeg, length, &eb), cause);
        assert_int_equal(cause, length == n ? EXTRACT_OK : EXTRACT_TRUNCATED);
        assert_string_equal(ea.text, eb.text);
        assert_string_equal(a.mime, b.mime);
        assert_int_equal(a.bytes, b.bytes);
        assert_int_equal(a.original_width, b.original_width);
        if (cause == EXTRACT_OK) {
            assert_memory_equal(a.jpeg, b.jpeg, a.bytes);
            assert_memory_equal(a.pixel_hash, b.pixel_hash, 16);
            assert_true(a.measures.phash == b.measures.phash);
        }
        free(a.jpeg);
        free(b.jpeg);
    }
    free(jpeg);
    extract_sandbox_stop(&s);
}

static ExtractCause one(ExtractSandbox *s, const uint8_t *jpeg, size_t n)
{
    ExtractThumbnail t;
    VcErr err = {0};
    const ExtractCause cause = extract_sandbox_thumbnail(s, &t, jpeg, n, &err);
    assert_true((cause == EXTRACT_OK) == (err.text[0] == 0));
    free(t.jpeg);
    return cause;
}

static void test_death(void **state)
{
    (void)state;
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    ExtractSandbox *s = start(&o, 0, 0);
    size_t n;
    uint8_t *jpeg = make_jpeg(64, 64, &n);
    assert_int_equal(one(s, jpeg, n), EXTRACT_OK);
    const pid_t first = extract_sandbox_pid(s);
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(one(s, jpeg, n), EXTRACT_CRASHED);
    assert_int_equal(one(s, jpeg, n), EXTRACT_OK);
    assert_int_not_equal(extract_sandbox_pid(s), first);
    extract_sandbox_stop(&s);
    s = start(&o, 0, 2);
    assert_int_equal(kill(extract_sandbox_pid(s), SIGSTOP), 0);
    assert_int_equal(one(s, jpeg, n), EXTRACT_TOO_SLOW);
    assert_int_equal(one(s, jpeg, n), EXTRACT_OK);
    extract_sandbox_stop(&s);
    free(jpeg);
}

// An image that needs more than the process may have costs itself; the next one is served.
static void test_memory(void **state)
{
    (void)state;
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    o.fit = EXTRACT_FIT_KEEP;
    ExtractSandbox *s = start(&o, 512u << 20, 0);
    size_t n, small_n;
    uint8_t *jpeg = make_jpeg(9000, 7000, &n), *small = make_jpeg(64, 64, &small_n);
    const pid_t first = extract_sandbox_pid(s);
    assert_int_equal(one(s, small, small_n), EXTRACT_OK);
    assert_int_equal(extract_sandbox_pid(s), first);
    assert_int_equal(one(s, jpeg, n), EXTRACT_CRASHED);
    assert_int_equal(one(s, small, small_n), EXTRACT_OK);
    extract_sandbox_stop(&s);
    free(jpeg);
    free(small);
}

static void test_start_failure(void **state)
{
    (void)state;
    ExtractThumbnailOptions o;
    extract_thumbnail_options_init(&o);
    ExtractSandboxOptions options;
    extract_sandbox_options_init(&options);
    ExtractSandbox *s = NULL;
    options.program = "/nowhere/vicha";
    assert_error(extract_sandbox_start(&s, &options, &o, err), "/nowhere/vicha");
    options.program = "/bin/true";
    assert_error(extract_sandbox_start(&s, &options, &o, err), "ended before it was ready");
    assert_null(s);
}

static int begin(void **state)
{
    (void)state;
    return extract_image_init(NULL) ? 0 : 1;
}

int main(void)
{
    if (getenv("SANITIZED") && *getenv("SANITIZED")) {
        fprintf(stderr, "SKIP: the sanitizers need calls of the system that the sandbox forbids\n");
        printf("1..0 # SKIP\n"); // TAP's word for it
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_death),
                                       cmocka_unit_test(test_memory), cmocka_unit_test(test_start_failure)};
    return cmocka_run_group_tests(tests, begin, NULL);
}
