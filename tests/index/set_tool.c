// SPDX-License-Identifier: MIT
// For tests in other languages: writes a random set of ours, or prints the raw fields of any set as JSON lines.
//   set_tool write DIR SEED RECORDS SHARD_BYTES
//   set_tool dump DIR
#include "tests/index/sets.h"

#include <stdio.h>
#include <stdlib.h>

static int dump(const char *dir)
{
    VcErr err;
    IndexReader *r;
    const IndexReaderOptions o = {.crc = true, .hash = true, .any_columns = true};
    if (!index_reader_open(&r, dir, &o, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (uint64_t i = 0; i < index_reader_total(r); i++) {
        const MdsSchema *schema;
        MdsField fields[MDS_MAX_COLUMNS];
        if (!index_reader_fields(r, i, &schema, fields, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        putchar('{');
        for (size_t c = 0; c < schema->count; c++) {
            printf("%s\"%s\": \"", c > 0 ? ", " : "", schema->columns[c].name);
            for (size_t k = 0; k < fields[c].size; k++)
                printf("%02x", fields[c].data[k]);
            putchar('"');
        }
        puts("}");
    }
    index_reader_close(&r);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "dump") == 0)
        return dump(argv[2]);
    int64_t seed, records, bytes;
    if (argc != 6 || strcmp(argv[1], "write") != 0 || !vc_parse_i64(argv[3], &seed) ||
        !vc_parse_i64(argv[4], &records) || !vc_parse_i64(argv[5], &bytes)) {
        fprintf(stderr, "usage: set_tool write DIR SEED RECORDS SHARD_BYTES | set_tool dump DIR\n");
        return 2;
    }
    VcErr err;
    if (sets_write(argv[2], (uint64_t)seed, (uint64_t)records, (uint64_t)bytes, &err))
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return 1;
}
