// SPDX-License-Identifier: MIT
// What train/parallel.c and train/reducer.c need from the library that connects processes. Inside train/ only.
//
// Two files fill it: parallel_mpi.c, and parallel_single.c of a build without MPI. Everything is started, then asked
// for until it is done. Threads: one.
#pragma once

#include "train/parallel.h"

typedef struct ParallelWorld ParallelWorld;
typedef enum { PARALLEL_MAIN, PARALLEL_GRADIENTS } ParallelLine; // two lines that do not disturb each other's order
typedef enum { PARALLEL_F32, PARALLEL_F64 } ParallelType;
static const ParallelType parallel_real = sizeof(nn_real) == sizeof(float) ? PARALLEL_F32 : PARALLEL_F64;

// The name of the launcher that started this process as one of several, or NULL.
const char *parallel_launcher(void);
bool parallel_world_begin(ParallelWorld **out, size_t *rank, size_t *size, VcErr *err);
void parallel_world_end(ParallelWorld **world);
void parallel_world_abort(ParallelWorld **world); // ends all processes of the job; may not return

// Each returns a number for parallel_done, or SIZE_MAX with *err. Buffers stay the library's until it is done.
// values[n] = their sum over the processes, the same bits everywhere.
size_t parallel_start_sum(ParallelWorld *w, ParallelLine line, ParallelType type, void *values, size_t n, VcErr *err);
// mine[n] = the sum over the processes of their all[r*n .. r*n + n-1], r being ours.
size_t parallel_start_scatter_sum(ParallelWorld *w, ParallelType type, const void *all, void *mine, size_t n,
                                  VcErr *err);
size_t parallel_start_max(ParallelWorld *w, int64_t *values, size_t n, VcErr *err);
size_t parallel_start_gather(ParallelWorld *w, const void *mine, size_t bytes, void *all, VcErr *err);
size_t parallel_start_share(ParallelWorld *w, void *data, size_t bytes, VcErr *err);
// Moves everything that is under way a little; *done: whether `number` is finished (its number is then free again).
bool parallel_done(ParallelWorld *w, size_t number, bool *done, VcErr *err);

// ---- of parallel.c, for reducer.c
ParallelWorld *parallel_world(TrainParallel *p); // NULL for a world of one, and after a failure
// Waits until `number` is done or the timeout is over; a failure is kept in p. SIZE_MAX: err is that failure.
void parallel_finish(TrainParallel *p, size_t number, bool patient, const VcErr *err);
void parallel_fail(TrainParallel *p, const VcErr *err);
