// SPDX-License-Identifier: MIT
// What `vicha train` does besides training: pictures of runs, the recipes that come with the program.
#pragma once

#include "cli/options.h"

// ctx->argv: runs. to: file that ends in .svg or .png; NULL: runs.svg beside where the command stands. Prints its name.
bool cli_train_plot(const CliContext *ctx, const char *metric, const char *to, VcErr *err);
void cli_train_list(const CliContext *ctx);        // names and what they are for
bool cli_train_show(const char *name, VcErr *err); // the recipe as it was written, to copy and change
