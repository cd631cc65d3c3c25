// SPDX-License-Identifier: MIT
// Looking at concepts and images, shared by vicha concepts and vicha query. Threads: the main thread only.
#pragma once

#include "cli/commands.h"
#include "concepts/concepts.h"

int cmd_concepts_list(int argc, char **argv);
int cmd_concepts_show(int argc, char **argv);
int cmd_concepts_of(int argc, char **argv);
int cmd_concepts_train_parser(int argc, char **argv); // concepts_train.c
