// SPDX-License-Identifier: MIT
// Starting programs under mpirun in tests: on one machine with fewer processors than processes, as root if need be.
#pragma once

#include "tests/support/test.h"

static inline void mpirun_environment(void)
{
    static const char *const settings[][2] = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                              {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                              {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                                              {"OMPI_MCA_mpi_yield_when_idle", "1"},
                                              {"OMPI_MCA_hwloc_base_binding_policy", "none"},
                                              {"OMPI_MCA_btl", "self,vader,tcp"},
                                              {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"}};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        setenv(settings[i][0], settings[i][1], 1);
}

// Whether mpirun can start two processes here. After mpirun_environment.
static inline bool mpirun_works(void)
{
    return system("mpirun -n 2 true >/dev/null 2>&1") == 0;
}
