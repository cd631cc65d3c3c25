// SPDX-License-Identifier: MIT
// Comparisons in groups: each has a limit of its own for every tensor, and prints the one that came nearest to it.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name;
    size_t compared, failed; // numbers or tensors, as the group counts
    double worst;            // error / limit
    double error, limit;     // of the worst
    char where[96];
} Group;

// One error against its limit.
void group_add(Group *g, const char *what, double error, double limit);
// Largest |ours - expected| of n numbers; infinite where one of them is not a number.
double largest_error(const double *ours, const double *expected, size_t n);
double largest_value(const double *x, size_t n);
// Prints the group in one line; returns whether all held and anything was compared at all.
bool group_report(const Group *g);
