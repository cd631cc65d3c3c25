// SPDX-License-Identifier: MIT
// The statistics that have a command of their own: vicha stats pairs, coverage, sources.
#pragma once

int cmd_stats_pairs(int argc, char **argv);
int cmd_stats_coverage(int argc, char **argv);
int cmd_stats_sources(int argc, char **argv);
