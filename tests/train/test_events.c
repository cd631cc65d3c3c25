// SPDX-License-Identifier: MIT
// TensorBoard event files, read back by the words of TFRecord and protocol buffers; and with the tensorboard package of
// Python where it is installed.
#include "base/file.h"
#include "tests/support/test.h"
#include "train/events.h"

static char *folder;

typedef struct {
    const uint8_t *at, *end;
} Bytes;

static uint64_t fixed(Bytes *b, size_t n)
{
    uint64_t x = 0;
    assert_true((size_t)(b->end - b->at) >= n);
    for (size_t i = 0; i < n; i++)
        x |= (uint64_t)*b->at++ << (8 * i);
    return x;
}

static uint64_t varint(Bytes *b)
{
    uint64_t x = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(b->at < b->end && shift < 64);
        uint8_t byte = *b->at++;
        x |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return x;
    }
}

static Bytes part(Bytes *b)
{
    uint64_t n = varint(b);
    assert_true(n <= (uint64_t)(b->end - b->at));
    Bytes inside = {b->at, b->at + n};
    b->at += n;
    return inside;
}

// One scalar of a summary as "TAG=VALUE;".
static void put_value(VcStr *out, Bytes value)
{
    while (value.at < value.end) {
        uint64_t key = varint(&value);
        if (key == (1 << 3 | 2)) {
            Bytes tag = part(&value);
            vc_str_putn(out, (const char *)tag.at, (size_t)(tag.end - tag.at));
        } else {
            assert_int_equal(key, 2 << 3 | 5);
            uint32_t bits = (uint32_t)fixed(&value, 4);
            float x;
            memcpy(&x, &bits, 4);
            vc_str_putf(out, "=%.6g;", (double)x);
        }
    }
}

static void put_event(VcStr *out, Bytes event, double *last)
{
    while (event.at < event.end) {
        uint64_t key = varint(&event);
        if (key == (1 << 3 | 1)) {
            uint64_t bits = fixed(&event, 8);
            double when;
            memcpy(&when, &bits, 8);
            assert_true(when >= *last && when > 1.5e9);
            *last = when;
        } else if (key == (2 << 3 | 0)) {
            vc_str_putf(out, "[%llu] ", (unsigned long long)varint(&event));
        } else if (key == (3 << 3 | 2)) {
            Bytes version = part(&event);
            assert_memory_equal(version.at, "brain.Event:2", 13);
            vc_str_put(out, "version ");
        } else {
            assert_int_equal(key, 5 << 3 | 2);
            for (Bytes summary = part(&event); summary.at < summary.end;) {
                assert_int_equal(varint(&summary), 1 << 3 | 2);
                put_value(out, part(&summary));
            }
        }
    }
    vc_str_putc(out, '\n');
}

static void read_events(VcStr *out)
{
    char *path = vc_path_join(folder, "tensorboard/events.out.tfevents.0.vicha"), *data;
    size_t n;
    double last = 0;
    assert_ok(vc_read_file(&data, &n, path, 1 << 20, err));
    Bytes file = {(uint8_t *)data, (uint8_t *)data + n};
    while (file.at < file.end) {
        const uint8_t *start = file.at;
        uint64_t length = fixed(&file, 8);
        assert_int_equal(fixed(&file, 4), train_masked_crc32c(start, 8));
        assert_true(length <= (uint64_t)(file.end - file.at));
        Bytes event = {file.at, file.at + length};
        file.at += length;
        assert_int_equal(fixed(&file, 4), train_masked_crc32c(event.at, length));
        put_event(out, event, &last);
    }
    free(data);
    free(path);
}

static void test_crc(void **state)
{
    (void)state;
    // Castagnoli's check value of "123456789" is E3069283, of 32 zero bytes 8A9136AA (RFC 3720, B.4).
    uint32_t rotated = 0xE3069283u >> 15 | 0xE3069283u << 17;
    assert_int_equal(train_masked_crc32c("123456789", 9), rotated + 0xA282EAD8u);
    const uint8_t zeros[32] = {0};
    rotated = 0x8A9136AAu >> 15 | 0x8A9136AAu << 17;
    assert_int_equal(train_masked_crc32c(zeros, 32), rotated + 0xA282EAD8u);
}

static void add(TrainEvents *events, const char *line)
{
    VcJson *json = NULL;
    assert_ok(vc_json_parse(&json, line, strlen(line), "line", err));
    assert_ok(train_events_add(events, json, err));
    vc_json_destroy(&json);
}

static void test_events(void **state)
{
    (void)state;
    static const char past[] = "{\"step\": 10, \"loss\": 2.5, \"lr\": 0.001, \"seconds\": 12.5}\n"
                               "{\"step\": 300, \"loss\": 1.25, \"loss_itm\": 0.5, \"seconds\": 500}\n"
                               "{\"step\": 300, \"eval_loss\": 1.5, \"t2i_r10\": 40, \"note\": \"text\"}\n";
    char *metrics = vc_path_join(folder, "metrics.jsonl");
    assert_ok(vc_write_file(metrics, past, sizeof past - 1, err));
    TrainEvents *events = NULL;
    for (int again = 0; again < 2; again++) { // a second start writes the file anew
        assert_ok(train_events_open(&events, folder, err));
        add(events, "{\"step\": 310, \"loss\": 1.125}");
        add(events, "{\"step\": 310}"); // nothing to say
        assert_ok(train_events_close(&events, err));
    }
    assert_null(events);
    VcStr text = {0};
    read_events(&text);
    assert_string_equal(text.data, "version \n"
                                   "[10] train/loss=2.5;train/lr=0.001;train/seconds=12.5;\n"
                                   "[300] train/loss=1.25;train/loss_itm=0.5;train/seconds=500;\n"
                                   "[300] eval/loss=1.5;eval/t2i_r10=40;\n"
                                   "[310] train/loss=1.125;\n");
    vc_str_finish(&text);
    free(metrics);
}

static void test_tensorboard(void **state)
{
    (void)state;
    const char *python = getenv("VICHA_PYTHON");
    VcStr command = {0};
    vc_str_putf(&command, "%s -c 'import tensorboard' 2>/dev/null", python ? python : "python3");
    bool there = system(command.data) == 0;
    vc_str_clear(&command);
    vc_str_putf(&command,
                "%s -c 'import sys\n"
                "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
                "e = EventAccumulator(sys.argv[1])\n"
                "e.Reload()\n"
                "got = [(s.step, s.value) for s in e.Scalars(\"train/loss\")]\n"
                "assert got == [(10, 2.5), (300, 1.25), (310, 1.125)], got\n"
                "assert e.Scalars(\"eval/t2i_r10\")[0].value == 40\n' '%s/tensorboard' >/dev/null",
                python ? python : "python3", folder);
    int status = there ? system(command.data) : 0;
    vc_str_finish(&command);
    if (!there) {
        print_message("# SKIP: no Python with the tensorboard package\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void test_full_disk(void **state)
{
    (void)state;
    TrainEvents *events = NULL;
    assert_error(train_events_open(&events, "/proc/self", err), "/proc/self/tensorboard");
    assert_null(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crc), cmocka_unit_test(test_events),
                                       cmocka_unit_test(test_tensorboard), cmocka_unit_test(test_full_disk)};
    folder = test_temp_folder();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove(&folder);
    return failed;
}
