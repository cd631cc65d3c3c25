// SPDX-License-Identifier: MIT
#include "extract/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t bytes[16];
    unsigned bits; // that must agree
} Block;

// Registries of special-purpose addresses: RFC 6890 with its updates, and multicast and reserved above 224/3.
static const Block private4[] = {
    {{0}, 8},            // this network
    {{10}, 8},           // RFC 1918
    {{100, 64}, 10},     // carrier NAT
    {{127}, 8},          // loopback
    {{169, 254}, 16},    // link-local, metadata services
    {{172, 16}, 12},     // RFC 1918
    {{192, 0, 0}, 24},   // protocol assignments
    {{192, 0, 2}, 24},   // documentation
    {{192, 88, 99}, 24}, // 6to4 relays
    {{192, 168}, 16},    // RFC 1918
    {{198, 18}, 15},     // benchmarks
    {{198, 51, 100}, 24},
    {{203, 0, 113}, 24},
    {{224}, 3}, // multicast, reserved, broadcast
};

// Inside 2000::/3, the only block that is global at all.
static const Block private6[] = {
    {{0x20, 0x01, 0x00, 0x02}, 48},    // benchmarks
    {{0x20, 0x01, 0x00, 0x10}, 28},    // ORCHID
    {{0x20, 0x01, 0x00, 0x20}, 28},    // ORCHIDv2
    {{0x20, 0x01, 0x0D, 0xB8}, 32},    // documentation
    {{0x3F, 0xFF, 0x00}, 20},          // documentation
    {{0x20, 0x01, 0x00, 0x00, 0}, 32}, // Teredo: the peer's IPv4 address is only obscured in it
};

static bool inside(const uint8_t *ip, const Block *block)
{
    const unsigned whole = block->bits / 8, rest = block->bits % 8;
    if (memcmp(ip, block->bytes, whole) != 0)
        return false;
    return rest == 0 || ((ip[whole] ^ block->bytes[whole]) >> (8 - rest)) == 0;
}

static bool ipv4_private(const uint8_t *ip)
{
    for (size_t i = 0; i < sizeof private4 / sizeof *private4; i++) {
        if (inside(ip, &private4[i]))
            return true;
    }
    return false;
}

static bool ipv6_private(const uint8_t *ip)
{
    static const Block nat64 = {{0x00, 0x64, 0xFF, 0x9B}, 96}, sixtofour = {{0x20, 0x02}, 16},
                       mapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 96};
    if (inside(ip, &mapped) || inside(ip, &nat64))
        return ipv4_private(ip + 12);
    if (inside(ip, &sixtofour))
        return ipv4_private(ip + 2);
    if (ip[0] >> 5 != 1) // outside 2000::/3: loopback, IPv4-compatible, ULA, link-local, multicast, unassigned
        return true;
    for (size_t i = 0; i < sizeof private6 / sizeof *private6; i++) {
        if (inside(ip, &private6[i]))
            return true;
    }
    return false;
}

bool extract_ip_private(int family, const uint8_t *ip)
{
    return family == AF_INET ? ipv4_private(ip) : family == AF_INET6 ? ipv6_private(ip) : true;
}

bool extract_address_private(const struct sockaddr *address)
{
    uint8_t ip[16];
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        memcpy(ip, &v4.sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        memcpy(ip, &v6.sin6_addr, 16);
    }
    return extract_ip_private(address->sa_family, ip);
}

bool extract_host_literal(const char *host, int *family, uint8_t ip[16])
{
    const size_t n = strlen(host);
    char text[64];
    if (n > 2 && n < sizeof text && host[0] == '[' && host[n - 1] == ']') {
        memcpy(text, host + 1, n - 2);
        text[n - 2] = 0;
        text[strcspn(text, "%")] = 0; // a zone
        *family = AF_INET6;
        return inet_pton(AF_INET6, text, ip) == 1;
    }
    *family = AF_INET;
    struct in_addr v4;
    // inet_aton, as connect would read it: 127.1, 0x7F000001 and 017700000001 are addresses too.
    if (n == 0 || strspn(host, "0123456789abcdefABCDEFxX.") != n || !inet_aton(host, &v4))
        return false;
    memcpy(ip, &v4, 4);
    return true;
}

// Does `host`, a final dot aside, end in `domain`, at a dot or whole?
static bool in_domain(const char *host, const char *domain, size_t n)
{
    size_t length = strlen(host);
    if (length && host[length - 1] == '.')
        length--;
    return n > 0 && n <= length && strncasecmp(host + length - n, domain, n) == 0 &&
           (n == length || host[length - n - 1] == '.');
}

bool extract_host_private(const char *host)
{
    int family;
    uint8_t ip[16];
    if (extract_host_literal(host, &family, ip))
        return extract_ip_private(family, ip);
    return in_domain(host, "localhost", 9);
}

static const char *setting(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return value;
    }
    return NULL;
}

const char *extract_proxy_for(const char *scheme, const char *host)
{
    static const char *const exceptions[] = {"no_proxy", "NO_PROXY"};
    static const char *const http[] = {"http_proxy", "all_proxy", "ALL_PROXY"};
    static const char *const https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (const char *p = setting(exceptions, 2); p && *p;) {
        p += strspn(p, ", \t");
        const size_t n = strcspn(p, ", \t");
        const bool dotted = n > 1 && *p == '.';
        if ((n == 1 && *p == '*') || in_domain(host, p + dotted, n - dotted))
            return NULL;
        p += n;
    }
    return strcmp(scheme, "https") == 0 ? setting(https, 4) : setting(http, 3);
}

const char *extract_ca_file(void)
{
    static const char *const names[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *file = getenv(names[i]);
        if (file && *file)
            return file;
    }
    return NULL;
}
