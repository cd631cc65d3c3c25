// SPDX-License-Identifier: MIT
// augment_tool OP VALUE WIDTH HEIGHT [original]: applies an operation of RandAugment to raw RGB from standard input.
// For test_augment.py, and for whoever wants to look.
#include "train/augment.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "augment_tool OP VALUE WIDTH HEIGHT [original] < RGB > RGB\n");
        return 2;
    }
    TrainAugment augment = {TRAIN_AUGMENTS, strtod(argv[2], NULL)};
    for (TrainAugmentOp op = 0; op < TRAIN_AUGMENTS; op++)
        augment.op = strcmp(argv[1], train_augment_name(op)) == 0 ? op : augment.op;
    int width = (int)strtol(argv[3], NULL, 10), height = (int)strtol(argv[4], NULL, 10);
    if (augment.op == TRAIN_AUGMENTS || width < 1 || height < 1 || width > 10000 || height > 10000)
        return 2;
    size_t bytes = 3 * (size_t)width * (size_t)height;
    uint8_t *pixels = vc_alloc(bytes, 1), *scratch = vc_alloc(bytes, 1);
    bool ok = fread(pixels, 1, bytes, stdin) == bytes;
    if (ok) {
        train_augment_apply(augment, pixels, scratch, width, height, argc == 6);
        ok = fwrite(pixels, 1, bytes, stdout) == bytes && fflush(stdout) == 0;
    }
    free(pixels);
    free(scratch);
    return ok ? 0 : 1;
}
