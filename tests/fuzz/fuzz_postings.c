// SPDX-License-Identifier: MIT
// Posting lists: a file of any bytes is refused with words, or every list of it lies inside of the file. Headers get
// their right checksum, so that what lies behind it is reached.
#include "base/crc32.h"
#include "base/file.h"
#include "base/mem.h"
#include "concepts/concepts.h"
#include "concepts/postings_private.h"
#include "tests/fuzz/target.h"

#include <unistd.h>

static int64_t read_all(const PostingsReader *r)
{
    int64_t sum = 0;
    for (int64_t c = -1; c < 1000; c++) {
        PostingList list = postings_list(r, c);
        for (size_t i = 0; i < list.count && list.rows; i++)
            sum += list.rows[i] + list.scores[i];
        for (size_t i = 0; i < list.span; i++)
            sum += list.scores[i];
    }
    for (uint64_t i = 0; i < postings_rows(r); i++)
        sum += postings_image_ids(r)[i];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/vicha-fuzz-postings-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return 0;
    uint8_t *bytes = vc_alloc(size + 1, 1);
    memcpy(bytes, data, size);
    if (size >= sizeof(PostingsHeader)) {
        PostingsHeader h;
        memcpy(&h, bytes, sizeof h);
        h.bytes = size;
        h.crc = vc_crc32(&h, offsetof(PostingsHeader, crc));
        memcpy(bytes, &h, sizeof h);
    }
    VcErr err = {0};
    PostingsReader *r = NULL;
    if (vc_full_write(fd, bytes, size, path, &err) && postings_open_file(&r, path, &err)) {
        volatile int64_t sum = read_all(r);
        (void)sum;
        VcErr why = {0};
        VC_ASSERT(postings_verify(r, &why) || why.code == VC_ERR_FORMAT);
    } else {
        VC_ASSERT(err.text[0]);
    }
    postings_close(&r);
    close(fd);
    unlink(path);
    free(bytes);
    return 0;
}
