// SPDX-License-Identifier: MIT
#include "tests/train/compare.h"

#include <math.h>
#include <stdio.h>

void group_add(Group *g, const char *what, double error, double limit)
{
    const double ratio = limit > 0 ? error / limit : error > 0 ? INFINITY : 0;
    g->compared++;
    if (!(error <= limit)) {
        g->failed++;
        printf("  %s: %s is off by %.3g, allowed %.3g\n", g->name, what, error, limit);
    }
    if (g->compared == 1 || !(ratio <= g->worst)) {
        g->worst = ratio;
        g->error = error;
        g->limit = limit;
        snprintf(g->where, sizeof g->where, "%s", what);
    }
}

double largest_error(const double *ours, const double *expected, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double error = fabs(ours[i] - expected[i]);
        worst = error >= worst ? error : isnan(error) ? INFINITY : worst;
    }
    return worst;
}

double largest_value(const double *x, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(x[i]));
    return most;
}

bool group_report(const Group *g)
{
    const bool ok = g->failed == 0 && g->compared > 0;
    printf("%-4s %-34s %5zu compared, worst %.2e of %.2e allowed (%s)\n", ok ? "ok" : "FAIL", g->name, g->compared,
           g->error, g->limit, g->compared ? g->where : "nothing compared");
    return ok;
}
