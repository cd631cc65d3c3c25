// SPDX-License-Identifier: MIT
// A main for fuzz targets where no fuzzer is linked: runs every file of the folders given, and with --mutate N also N
// damaged copies of each (seeded: the same every time). A crash, or a sanitizer's report, is the failure.
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "tests/fuzz/target.h"

enum { MAX_INPUT = 1 << 20 };

// Flips, overwrites, cuts, doubles: one to four times.
static size_t damage(VcRng *rng, uint8_t *data, size_t n, size_t cap)
{
    for (uint64_t times = 1 + vc_rng_below(rng, 4); times > 0 && n > 0; times--) {
        const size_t at = (size_t)vc_rng_below(rng, n), run = (size_t)vc_rng_below(rng, n - at < 16 ? n - at + 1 : 17);
        switch (vc_rng_below(rng, 5)) {
        case 0:
            data[at] ^= (uint8_t)(1u << vc_rng_below(rng, 8));
            break;
        case 1:
            data[at] = (uint8_t)vc_rng_u64(rng);
            break;
        case 2: // a digit becomes another: lengths and offsets that nearly fit
            for (size_t i = at; i < n; i++) {
                if (data[i] >= '0' && data[i] <= '9') {
                    data[i] = (uint8_t)('0' + vc_rng_below(rng, 10));
                    break;
                }
            }
            break;
        case 3:
            n = at;
            break;
        default:
            if (n + run <= cap) {
                memmove(data + at + run, data + at, n - at);
                n += run;
            }
            break;
        }
    }
    return n;
}

static void run_file(const char *path, uint64_t mutations)
{
    char *text;
    size_t n;
    VcErr err = {0};
    if (!vc_read_file(&text, &n, path, MAX_INPUT, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort(); // the corpus is ours
    }
    LLVMFuzzerTestOneInput((const uint8_t *)text, n);
    uint8_t *copy = vc_alloc(n + 64, 1);
    VcRng rng;
    vc_rng_seed(&rng, vc_mix_seed(n, mutations));
    for (uint64_t i = 0; i < mutations; i++) {
        memcpy(copy, text, n);
        const size_t length = damage(&rng, copy, n, n + 64);
        uint8_t *exact = vc_alloc(length + (length == 0), 1); // so that a sanitizer sees the end
        memcpy(exact, copy, length);
        LLVMFuzzerTestOneInput(exact, length);
        free(exact);
    }
    free(copy);
    free(text);
}

int main(int argc, char **argv)
{
    uint64_t mutations = 0;
    size_t files = 0;
    for (int i = 1; i < argc; i++) {
        int64_t count;
        if (strcmp(argv[i], "--mutate") == 0 && i + 1 < argc && vc_parse_i64(argv[i + 1], &count)) {
            mutations = (uint64_t)count;
            i++;
            continue;
        }
        VcFileList list;
        VcErr err = {0};
        if (!vc_list_files(&list, argv[i], &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        for (size_t f = 0; f < list.count; f++) {
            char *path = vc_path_join(argv[i], list.paths[f]);
            run_file(path, mutations);
            free(path);
        }
        files += list.count;
        vc_file_list_finish(&list);
    }
    printf("%zu files, %llu damaged copies each\n", files, (unsigned long long)mutations);
    return files == 0; // a test that found nothing to do has not passed
}
