// SPDX-License-Identifier: MIT
// vicha bench: figures of this machine, one JSON object a line. A bench is one file bench_NAME.c and a row here.
#include "cli/commands.h"

static const CliCommand benches[] = {
    {"clip", bench_clip, "CLIP's image encoder, images/s"},
    {"text", bench_text, "CLIP's text encoder, texts/s"},
    {"extract", bench_extract, "images decoded, shrunk and encoded a second"},
    {"db", bench_db, "the database: rows loaded a second, milliseconds a question"},
    {"gemm", bench_gemm, "matrix products, GFLOP/s"},
    {"loader", bench_loader, "training images made ready, images/s"},
    {"mine", bench_mine, "the best concepts of images, images/s"},
    {"search", bench_search, "vector search, ms"},
    {"parse", bench_parse, "captions parsed a second"},
    {"records", bench_records, "training records, read a second"},
    {"roofline", bench_roofline, "packed layers against the roofs of the machine"},
    {"train", bench_train, "seconds of a training step"},
};

int cmd_bench(int argc, char **argv)
{
    return cli_group("bench", benches, sizeof benches / sizeof *benches, "JSON figures of this machine", argc, argv);
}
