// SPDX-License-Identifier: MIT
#include "base/hash.h"

#include "base/err.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <string.h>
#include <xxhash.h>

uint64_t vc_xxh64(const void *data, size_t n)
{
    return XXH64(data, n, 0);
}

uint64_t vc_xxh3(const void *data, size_t n)
{
    return XXH3_64bits(data, n);
}

void vc_sha1(const void *data, size_t n, uint8_t out[20])
{
    unsigned len = 20;
    VC_ASSERT(EVP_Digest(data, n, out, &len, EVP_sha1(), NULL) == 1);
}

void vc_sha256(const void *data, size_t n, uint8_t out[32])
{
    unsigned len = 32;
    VC_ASSERT(EVP_Digest(data, n, out, &len, EVP_sha256(), NULL) == 1);
}

void vc_hex(const uint8_t *data, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * n] = 0;
}

struct VcSha256 {
    EVP_MD_CTX *md;
};

VcSha256 *vc_sha256_begin(void)
{
    VcSha256 *s = vc_alloc(1, sizeof *s);
    s->md = EVP_MD_CTX_new();
    VC_ASSERT(s->md && EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) == 1);
    return s;
}

void vc_sha256_add(VcSha256 *s, const void *data, size_t n)
{
    VC_ASSERT(EVP_DigestUpdate(s->md, data, n) == 1);
}

void vc_sha256_end(VcSha256 **s, uint8_t out[32])
{
    unsigned len = 32;
    VC_ASSERT(EVP_DigestFinal_ex((*s)->md, out, &len) == 1);
    EVP_MD_CTX_free((*s)->md);
    free(*s);
    *s = NULL;
}

struct VcXxh128 {
    XXH3_state_t *state;
};

VcXxh128 *vc_xxh128_begin(void)
{
    VcXxh128 *s = vc_alloc(1, sizeof *s);
    s->state = XXH3_createState();
    VC_ASSERT(s->state && XXH3_128bits_reset(s->state) == XXH_OK);
    return s;
}

void vc_xxh128_add(VcXxh128 *s, const void *data, size_t n)
{
    VC_ASSERT(XXH3_128bits_update(s->state, data, n) == XXH_OK);
}

void vc_xxh128_end(VcXxh128 **s, uint8_t out[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest((*s)->state));
    memcpy(out, canonical.digest, 16);
    XXH3_freeState((*s)->state);
    free(*s);
    *s = NULL;
}
