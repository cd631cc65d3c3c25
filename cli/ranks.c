// SPDX-License-Identifier: MIT
#include "cli/ranks.h"

#include "base/str.h"

#include <stdlib.h>

enum { MOST = 1000000 };

static bool number(const char *name, int64_t low, int64_t *out, VcErr *err)
{
    const char *text = getenv(name);
    return (text && vc_parse_i64(text, out) && *out >= low && *out <= INT32_MAX) ||
           vc_fail(err, VC_ERR_USAGE,
                   "%s is '%s' in the environment, which is no number of a part; say --shard I/N (0/1: all of it)",
                   name, text ? text : "");
}

// Position and number of elements of the array that this job is one of; 0 of 1 without an array.
static bool array_place(int64_t *index, int64_t *count, VcErr *err)
{
    *index = 0;
    *count = 1;
    if (!getenv("SLURM_ARRAY_TASK_ID") || !getenv("SLURM_ARRAY_TASK_COUNT"))
        return true;
    int64_t id = 0, first = 0, step = 1;
    if (!number("SLURM_ARRAY_TASK_ID", 0, &id, err) || !number("SLURM_ARRAY_TASK_COUNT", 1, count, err) ||
        (getenv("SLURM_ARRAY_TASK_MIN") && !number("SLURM_ARRAY_TASK_MIN", 0, &first, err)) ||
        (getenv("SLURM_ARRAY_TASK_STEP") && !number("SLURM_ARRAY_TASK_STEP", 1, &step, err)))
        return false;
    *index = (id - first) / step;
    // --array=1,5,7 has no step that fits: the numbers say nothing about how many came before.
    if (id < first || (id - first) % step != 0 || *index >= *count) {
        return vc_fail(err, VC_ERR_USAGE,
                       "element %lld of a Slurm array of %lld is not on the line from %lld in steps of %lld; use "
                       "--array=0-%lld, or say --shard I/N",
                       (long long)id, (long long)*count, (long long)first, (long long)step, (long long)*count - 1);
    }
    return true;
}

bool cli_rank(CliRank *out, VcErr *err)
{
    static const struct {
        const char *rank, *count, *source;
        bool together;
    } launchers[] = {
        {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI", true},
        {"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MVAPICH2", true},
        {"PMI_RANK", "PMI_SIZE", "MPI", true},
        {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "Slurm", false},
    };
    *out = (CliRank){.count = 1};
    int64_t rank = 0, ranks = 1, element, elements;
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        if (!getenv(launchers[i].rank) || !getenv(launchers[i].count))
            continue;
        if (!number(launchers[i].rank, 0, &rank, err) || !number(launchers[i].count, 1, &ranks, err))
            return false;
        if (rank >= ranks) {
            return vc_fail(err, VC_ERR_USAGE, "%s is %lld and %s is %lld in the environment; say --shard I/N",
                           launchers[i].rank, (long long)rank, launchers[i].count, (long long)ranks);
        }
        out->source = launchers[i].source;
        out->together = launchers[i].together;
        break;
    }
    if (!array_place(&element, &elements, err))
        return false;
    if (ranks * elements > MOST) {
        return vc_fail(err, VC_ERR_USAGE, "the environment speaks of %lld processes; at most %d are understood",
                       (long long)ranks * elements, MOST);
    }
    if (elements > 1)
        out->source = ranks > 1 ? "Slurm array of steps" : "Slurm array";
    out->index = (uint32_t)(element * ranks + rank);
    out->count = (uint32_t)(elements * ranks);
    if (out->count == 1)
        out->source = NULL;
    return true;
}
