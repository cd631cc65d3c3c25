// SPDX-License-Identifier: MIT
// Any bytes as a weight file: it is refused, or every tensor in it can be read to its last byte.
#include "nn/safetensors.h"

#include "base/mem.h"
#include "tests/fuzz/target.h"

#include <sys/mman.h>
#include <unistd.h>

static void read_all(const NnSafetensors *st)
{
    for (size_t i = 0; i < nn_safetensors_count(st); i++) {
        const NnStored *t = nn_safetensors_at(st, i);
        VC_ASSERT(nn_safetensors_find(st, t->name) == t);
        void *out = vc_alloc(t->count + 1, 8);
        // Whichever loader fits; the others must refuse without touching anything.
        const bool real = nn_safetensors_load_f32(st, t->name, t->shape, out, NULL);
        VC_ASSERT(nn_safetensors_load_f64(st, t->name, t->shape, out, NULL) == real);
        const bool whole = nn_safetensors_load_i64(st, t->name, t->shape, out, NULL);
        VC_ASSERT(!(real && whole));
        nn_safetensors_load_i32(st, t->name, t->shape, out, NULL);
        VC_ASSERT(nn_safetensors_load_raw(st, t->name, t->dtype, t->shape, out, NULL));
        const float *view;
        VC_ASSERT(nn_safetensors_view_f32(st, t->name, t->shape, &view, NULL));
        free(out);
    }
    nn_safetensors_metadata(st, "format");
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
    if (nn_safetensors_open(&st, path, &err))
        read_all(st);
    else
        VC_ASSERT(err.code != VC_OK && err.text[0] != 0 && st == NULL);
    nn_safetensors_close(&st);
    close(fd);
    return 0;
}
