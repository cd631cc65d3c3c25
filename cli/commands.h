// SPDX-License-Identifier: MIT
// The sub-commands. Each lives in cmd_<name>.c and is listed in the table of main.c.
//
// A command parses its options with cli_parse, calls its stage, prints results to standard output and returns an
// exit status: 0 done, 1 failed (after cli_error), 2 wrong usage, 3 done with rejected inputs. The runner in main.c
// turns an interrupt into 130/143 and checks that standard output was really written.
#pragma once

#include "base/err.h"
#include "cli/options.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_REJECTED = 3 };

typedef int (*CliCommandFn)(int argc, char **argv); // argv[0] is the command's own name

typedef struct {
    const char *name;
    CliCommandFn run;
    const char *summary;
} CliCommand;

// Prints "vicha: error: TEXT" and returns the exit status that fits the code.
int cli_error(const VcErr *err);
// Runs the sub-command named by argv[1] of a group ("concepts list"); prints the group's help without one.
int cli_group(const char *group, const CliCommand *list, size_t count, const char *intro, int argc, char **argv);

int bench_clip(int argc, char **argv);
int bench_extract(int argc, char **argv);
int bench_db(int argc, char **argv);
int bench_gemm(int argc, char **argv);
int bench_loader(int argc, char **argv);
int bench_mine(int argc, char **argv);
int bench_search(int argc, char **argv);
int bench_parse(int argc, char **argv);
int bench_records(int argc, char **argv);
int bench_roofline(int argc, char **argv);
int bench_train(int argc, char **argv);
int bench_text(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_dedup(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_embed(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_extract(int argc, char **argv);
int cmd_filter(int argc, char **argv);
int cmd_concepts(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_outliers(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_merge(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_parse(int argc, char **argv);
int cmd_index(int argc, char **argv);
int cmd_index_vectors(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_train(int argc, char **argv);
