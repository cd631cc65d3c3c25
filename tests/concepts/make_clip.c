// SPDX-License-Identifier: MIT
// make_clip: a small random CLIP model in a new temporary folder, whose path is printed, for shell tests.
#include "tests/concepts/clip_maker.h"

int main(void)
{
    char *folder = make_clip(&make_default);
    printf("%s\n", folder);
    free(folder);
    return 0;
}
