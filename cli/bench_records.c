// SPDX-License-Identifier: MIT
// `vicha bench records`: how fast training reads records.
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "cli/bench_folder.h"
#include "cli/commands.h"
#include "index/index.h"

#include <stdio.h>
#include <stdlib.h>

static const CliHelp help = {
    .name = "bench records",
    .summary = "records read a second",
    .usage = "[DIR] [options]",
    .details = "Reads a record set on one thread, in the order of its shards and shuffled as an epoch of training is, "
               "without\n"
               "and with the CRC of each record. Every record is parsed and checked, its fields are looked at, and one "
               "byte of\n"
               "every 4 KiB of its image is touched. The set is read once before, so that it comes from memory.\n"
               "records_per_cpu_s leaves out the time that the thread had to share its processor with others.\n"
               "Without DIR a set is made in $TMPDIR and removed afterwards.",
    .example = "vicha bench records --records 50000 --image-bytes 12000",
};

enum { COLUMNS = 11 };

static void put_tokens(VcStr *ids, VcStr *lens, VcRng *rng, int groups, int tokens)
{
    int32_t id[256], length[16];
    vc_str_clear(ids);
    vc_str_clear(lens);
    for (int i = 0; i < groups * tokens; i++)
        id[i] = (int32_t)vc_rng_below(rng, 30522);
    for (int i = 0; i < groups; i++)
        length[i] = tokens;
    mds_put_array(ids, MDS_I32, id, (size_t)groups * (size_t)tokens);
    mds_put_array(lens, MDS_I32, length, (size_t)groups);
}

// Records like those of a caption set: one caption of 12 tokens, 15 concepts of 2.
static bool make_set(const char *dir, int64_t records, int64_t image_bytes, VcErr *err)
{
    static const char *const names[COLUMNS] = {"caption",      "caption_ids",    "caption_lens",   "concept_ids",
                                               "concept_lens", "concept_scores", "concept_tokens", "concepts",
                                               "image",        "image_id",       "image_size"};
    static const char *const encodings[COLUMNS] = {
        "str",           "ndarray:int32", "ndarray:int32", "ndarray:int32", "ndarray:int32",  "ndarray:float32",
        "ndarray:int32", "json",          "jpeg",          "int",           "ndarray:int32:2"};
    const IndexWriterOptions o = {dir, names, encodings, COLUMNS, 64u << 20, "{}"};
    IndexWriter *w = NULL;
    VcStr value[COLUMNS] = {0};
    VcRng rng;
    vc_rng_seed(&rng, 1);
    float scores[15];
    int32_t concepts[15];
    for (int i = 0; i < 15; i++) {
        scores[i] = 0.3f - 0.005f * (float)i;
        concepts[i] = i * 100;
    }
    vc_str_put(&value[0], "a brown dog runs through the tall grass after a red ball");
    mds_put_array(&value[3], MDS_I32, concepts, 15);
    mds_put_array(&value[5], MDS_F32, scores, 15);
    for (int i = 0; i < 15; i++)
        vc_str_putf(&value[7], "%s\"tall grass\"", i == 0 ? "[" : ", ");
    vc_str_putc(&value[7], ']');
    for (int64_t i = 0; i < image_bytes; i++)
        vc_str_putc(&value[8], (char)vc_rng_u64(&rng));
    bool ok = index_writer_open(&w, &o, err);
    for (int64_t i = 0; i < records && ok; i++) {
        MdsField f[COLUMNS];
        const int32_t size[2] = {640, 480};
        put_tokens(&value[1], &value[2], &rng, 1, 12);
        put_tokens(&value[6], &value[4], &rng, 15, 2);
        for (int c = 0; c < COLUMNS; c++)
            f[c] = (MdsField){(const uint8_t *)value[c].data, value[c].len};
        f[9] = (MdsField){(const uint8_t *)&i, 8};
        f[10] = (MdsField){(const uint8_t *)size, 8};
        ok = vc_interrupted() ? vc_fail(err, VC_ERR_CANCELLED, "interrupted") : index_writer_add(w, i, f, err);
    }
    ok = ok && index_writer_commit(w, NULL, err);
    index_writer_close(&w);
    for (int c = 0; c < COLUMNS; c++)
        vc_str_finish(&value[c]);
    return ok;
}

// What a trainer looks at. The sum keeps the compiler from leaving reads out.
static uint32_t look_at(const IndexRecord *r)
{
    uint32_t sum = (uint32_t)r->image_id + (uint32_t)r->source_width;
    for (size_t i = 0; i < r->image_bytes; i += 4096)
        sum += r->image[i];
    for (size_t i = 0; i < r->caption_ids.count; i++)
        sum += (uint32_t)index_int_at(r->caption_ids, i);
    for (size_t i = 0; i < r->concept_tokens.count; i++)
        sum += (uint32_t)index_int_at(r->concept_tokens, i);
    return sum;
}

static bool measure(const char *dir, bool shuffled, bool crc, VcErr *err)
{
    IndexReader *r = NULL;
    const IndexReaderOptions o = {.crc = crc, .vocabulary = 30522};
    if (!index_reader_open(&r, dir, &o, err))
        return false;
    uint64_t total = index_reader_total(r), bytes = 0;
    uint32_t sum = 0;
    for (size_t s = 0; s < index_reader_shards(r); s++)
        bytes += index_reader_index(r)->entries[s].raw.bytes;
    double best = 0, best_cpu = 0;
    bool ok = !(crc && !index_reader_has_crc(r)) ||
              vc_fail(err, VC_ERR_USAGE, "'%s' has no side indexes, so there is no CRC to check", dir);
    for (int round = 0; round < 4 && ok; round++) { // the first one brings the set into memory
        double begin = vc_now(), begin_cpu = vc_thread_time();
        IndexOrder *order = shuffled ? index_order_create(r, 1, (uint64_t)round, 0) : NULL;
        for (uint64_t i = 0; i < total && ok; i++) {
            IndexRecord record;
            ok = index_reader_get(r, order != NULL ? index_order_at(order, i) : i, &record, err);
            if (ok)
                sum += look_at(&record);
        }
        index_order_destroy(&order);
        double rate = (double)total / (vc_now() - begin), cpu = (double)total / (vc_thread_time() - begin_cpu);
        if (round > 0) {
            best = rate > best ? rate : best;
            best_cpu = cpu > best_cpu ? cpu : best_cpu;
        }
    }
    if (ok) {
        printf("{\"bench\": \"records\", \"records_per_s\": %.0f, \"records_per_cpu_s\": %.0f, \"order\": \"%s\", "
               "\"crc\": %s, \"threads\": 1, "
               "\"records\": %llu, \"record_bytes\": %.0f, \"sum\": %u}\n",
               best, best_cpu, shuffled ? "shuffled" : "sequential", crc ? "true" : "false", (unsigned long long)total,
               (double)bytes / (double)total, sum);
    }
    index_reader_close(&r);
    return ok;
}

int bench_records(int argc, char **argv)
{
    int64_t records = 20000, image_bytes = 10000;
    const CliOption options[] = {
        {"records", 0, CLI_INT, &records, "N", "records of the made set", 1, 10000000},
        {"image-bytes", 0, CLI_INT, &image_bytes, "N", "size of their images", 1, 10000000},
        {0},
    };
    CliContext ctx;
    VcErr err;
    bool shown;
    if (!cli_parse(&ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    bool ok = true;
    if (!shown) {
        char *made = NULL;
        if (ctx.argc == 0)
            ok = (made = bench_folder_make(&err)) && make_set(made, records, image_bytes, &err);
        for (int k = 0; k < 4 && ok; k++)
            ok = measure(made ? made : ctx.argv[0], k >= 2, k % 2 == 1, &err);
        bench_folder_remove(&made);
    }
    cli_context_finish(&ctx);
    return ok ? CLI_OK : cli_error(&err);
}
