// SPDX-License-Identifier: MIT
// Option tables: one table parses the command line, prints the help and records a run's settings.
//
// Threads: the main thread only.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    CLI_FLAG,   // bool *        --name (and --no-name)
    CLI_STRING, // const char ** borrowed from argv
    CLI_INT,    // int64_t *
    CLI_REAL,   // double *
    CLI_BYTES,  // uint64_t *    64MiB
    CLI_LIST,   // CliList *     repeatable
    CLI_MAYBE,  // const char ** --name or --name=VALUE: "" without one, NULL when it was not given
} CliOptionType;

typedef struct {
    const char **items; // borrowed from argv
    size_t count;
} CliList;

// A table ends with a zeroed row. The variable behind `target` holds the default when parsing starts.
typedef struct {
    const char *name; // "min-count", without dashes
    char letter;      // 'k' for -k, or 0
    CliOptionType type;
    void *target;
    const char *argument; // "N", "DIR": shown in the help; NULL for flags
    const char *help;     // one line; the default is added by the table
    double min, max;      // bounds of INT and REAL when max > min
} CliOption;

// What every sub-command is given.
typedef struct {
    const char *workspace; // -w DIR, default "."
    int64_t threads;       // --threads, default: processors available
    bool json;             // --json
    bool quiet, verbose;
    const char *program; // "vicha"
    int argc;            // positional arguments after the options
    const char **argv;
} CliContext;

typedef struct {
    const char *name;    // "concepts mine"
    const char *summary; // one line
    const char *usage;   // "[options] SOURCE..." after the name
    const char *details; // paragraphs printed after the options, or NULL
    const char *example; // one or more command lines
} CliHelp;

// Parses argc/argv (argv[0] is the last word of the command's name) against the common options and `options`.
// Fills ctx. Returns false with VC_ERR_USAGE on wrong usage (the nearest known option is suggested). When --help was
// asked it is printed to standard output and *help_shown is true.
bool cli_parse(CliContext *ctx, int argc, char **argv, const CliHelp *help, const CliOption *options, bool *help_shown,
               VcErr *err);
void cli_context_finish(CliContext *ctx);
// Appends the settings of `options` as one JSON object (for run tables and run folders).
void cli_settings_json(VcStr *out, const CliOption *options);
// The nearest of `count` names to `word` by edit distance, or NULL when none is near.
const char *cli_nearest(const char *word, const char *const *names, size_t count);
