// SPDX-License-Identifier: MIT
// Any bytes as a PyTorch checkpoint: it is refused, or every tensor in it can be read to its last byte.
#include "nn/torch_file.h"

#include "base/mem.h"
#include "tests/fuzz/target.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void read_all(const NnSafetensors *st)
{
    for (size_t i = 0; i < nn_safetensors_count(st); i++) {
        const NnStored *t = nn_safetensors_at(st, i);
        VC_ASSERT(nn_safetensors_find(st, t->name) == t);
        uint8_t *out = vc_alloc(t->bytes + 1, 1);
        VC_ASSERT(nn_safetensors_load_raw(st, t->name, t->dtype, t->shape, out, NULL));
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int fd = memfd_create("input", MFD_CLOEXEC);
    VC_ASSERT(fd >= 0);
    VC_ASSERT(write(fd, data, size) == (ssize_t)size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    NnSafetensors *st = NULL;
    VcErr err = {0};
    if (nn_torch_open(&st, path, &err))
        read_all(st);
    else
        VC_ASSERT(err.code != VC_OK && err.text[0] != 0 && st == NULL);
    nn_safetensors_close(&st);
    close(fd);
    return 0;
}
