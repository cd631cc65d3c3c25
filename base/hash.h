// SPDX-License-Identifier: MIT
// Hashes: XXH64 and XXH3 for checksums and keys (xxhash), SHA-1 and SHA-256 for identity (libcrypto). Threads: any.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t vc_xxh64(const void *data, size_t n); // seed 0
uint64_t vc_xxh3(const void *data, size_t n);
void vc_sha1(const void *data, size_t n, uint8_t out[20]);
void vc_sha256(const void *data, size_t n, uint8_t out[32]);
void vc_hex(const uint8_t *data, size_t n, char *out); // 2n lower-case digits and a zero byte

// Incremental SHA-256.
typedef struct VcSha256 VcSha256;
VcSha256 *vc_sha256_begin(void);
void vc_sha256_add(VcSha256 *s, const void *data, size_t n);
void vc_sha256_end(VcSha256 **s, uint8_t out[32]); // frees and clears *s

// Incremental XXH3 of 128 bits, for things that are hashed in pieces.
typedef struct VcXxh128 VcXxh128;
VcXxh128 *vc_xxh128_begin(void);
void vc_xxh128_add(VcXxh128 *s, const void *data, size_t n);
void vc_xxh128_end(VcXxh128 **s, uint8_t out[16]); // frees and clears *s; the canonical (big-endian) form
