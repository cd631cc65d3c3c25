// SPDX-License-Identifier: MIT
// The fetcher alone: URLs from standard input, a line each, bodies thrown away.
//
//   bench_fetch [CONNECTIONS] < URLS    prints one JSON object: what came, how fast, at what cost
//
// With tests/extract/http_server and its /far/ paths this measures what a latency costs without decoders beside it.
#include "base/clock.h"
#include "base/pool.h"
#include "base/str.h"
#include "extract/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INSIDE = 2048 }; // URLs that are given to the fetcher at a time

typedef struct {
    ExtractFetcher *fetcher;
    VcQueue *done;
} Bench;

static char good, bad; // what a finished URL becomes

static void on_done(void *ctx, void *ticket, ExtractFetched *fetched)
{
    Bench *b = ctx;
    (void)ticket;
    if (fetched->cause == EXTRACT_OK)
        extract_fetcher_release(b->fetcher, fetched->n);
    free(fetched->bytes);
    vc_queue_put(b->done, fetched->cause == EXTRACT_OK ? &good : &bad);
}

int main(int argc, char **argv)
{
    Bench b = {.done = vc_queue_create(INSIDE)};
    ExtractFetchOptions options;
    extract_fetch_options_init(&options);
    options.allow_private = true;
    options.max_bytes = 32u << 20;
    options.max_memory = 48u << 20;
    int64_t connections;
    if (argc > 1 && vc_parse_i64(argv[1], &connections) && connections > 0)
        options.connections = (size_t)connections;
    VcErr err = {0};
    if (!extract_fetcher_start(&b.fetcher, &options, on_done, &b, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    char line[4096];
    size_t inside = 0, came = 0, failed = 0;
    bool more = true;
    const double begun = vc_now();
    while (more || inside) {
        while (inside < INSIDE && (more = more && fgets(line, sizeof line, stdin))) {
            line[strcspn(line, "\n")] = 0;
            extract_fetcher_add(b.fetcher, line, NULL);
            inside++;
        }
        void *item;
        if (inside && vc_queue_get(b.done, &item)) {
            inside--;
            came += item == &good;
            failed += item == &bad;
        }
    }
    const double seconds = vc_now() - begun, processor = vc_process_time();
    extract_fetcher_stop(&b.fetcher);
    vc_queue_destroy(&b.done);
    printf("{\"bench\": \"fetch\", \"connections\": %zu, \"images\": %zu, \"failed\": %zu, \"seconds\": %.2f, "
           "\"images_per_s\": %.1f, \"cpu_ms_per_image\": %.3f, \"peak_rss_mib\": %.1f}\n",
           options.connections, came, failed, seconds, (double)came / seconds,
           processor * 1000 / (double)(came + failed), (double)vc_peak_rss() / (1 << 20));
    return failed > 0;
}
