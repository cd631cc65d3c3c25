// SPDX-License-Identifier: MIT
// Data parallelism: the processes of one run, as `mpirun -n W vicha train ...` starts them. Letters: W processes, r the
// rank of one of them, B pairs of a batch a process.
//
// Every process holds the whole model and takes the r-th slice of B of each global batch of W*B; features and
// candidates are gathered, gradients averaged (train/reducer.h), so that W processes compute what one would with W*B
// pairs. All functions but rank and size are collective: every process calls them in the same order with the same
// sizes.
//
// Failure: the first one (a process lost, a peer that does not answer for `timeout` seconds) is kept, and from then on
// all calls return at once without doing anything, results undefined but initialised. train_parallel_check tells. So a
// forward pass needs no error handling between its ops, and a step is checked once.
//
// One process needs no MPI: a NULL TrainParallel is a world of one, and every call on it is free.
// Threads: one at a time, the one that called train_parallel_begin. MPI's home is parallel_mpi.c; a build without it
// has parallel_single.c in its place.
#pragma once

#include "nn/nn.h"

#include "base/err.h"

typedef struct TrainParallel TrainParallel;

// Joins the other processes when the environment says that a launcher (mpirun, srun) started us; else *out = NULL.
// An error: MPI fails to start, or a launcher started several processes of a build without MPI.
// timeout: seconds after which a peer that does not answer counts as lost.
bool train_parallel_begin(TrainParallel **out, double timeout, VcErr *err);
// clean: all processes come here, and leave together. Else the job is aborted, so that nobody waits for us: this call
// may then end the process. NULL allowed; clears.
void train_parallel_end(TrainParallel **p, bool clean);

size_t train_parallel_rank(const TrainParallel *p); // 0 of a world of one
size_t train_parallel_size(const TrainParallel *p); // 1 of a world of one

bool train_parallel_check(const TrainParallel *p, VcErr *err); // whether all calls so far went well
// Agreement: when some process says !ok, all of them fail, with the error of the lowest such rank.
bool train_parallel_agree(TrainParallel *p, bool ok, VcErr *err);
// Waits for all, without the timeout: one of them may be busy for long (an evaluation, a checkpoint).
void train_parallel_wait(TrainParallel *p);

void train_parallel_max(TrainParallel *p, int64_t *values, size_t n);
void train_parallel_sum(TrainParallel *p, double *values, size_t n); // the same bits everywhere
// all[W][bytes]: what each process gave, by rank.
void train_parallel_gather(TrainParallel *p, const void *mine, size_t bytes, void *all);
void train_parallel_share(TrainParallel *p, void *data, size_t bytes); // rank 0's to all

// x[B,..] of every process -> [W*B,..] by rank, on the tape. The gradient of x is the sum over the processes of their
// gradients for its rows; with a loss that every process computes in full, or the mean of losses each computes for its
// own rows, averaging the parameters' gradients over the processes then gives those of the whole. x itself for a world
// of one.
NnVar *train_parallel_gather_var(TrainParallel *p, NnTape *t, NnVar *x);
