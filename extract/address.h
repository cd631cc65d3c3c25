// SPDX-License-Identifier: MIT
// Is an address one of the open internet? A list from the web must not make us knock at doors inside the own network.
//
// The rule: what is not global unicast is private: loopback, RFC 1918, link-local (with the metadata services of
// clouds), carrier NAT, unique local, documentation, benchmarks, multicast, reserved; IPv4 inside IPv6 (mapped,
// compatible, NAT64, 6to4, Teredo) is judged by the IPv4 address. Threads: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

// `ip` has 4 bytes (family AF_INET) or 16 (AF_INET6), in network order. Any other family is private.
bool extract_ip_private(int family, const uint8_t *ip);
bool extract_address_private(const struct sockaddr *address);
// `host` as it stands in a URL: an IPv4 address or an IPv6 address in brackets. False when it is a name.
bool extract_host_literal(const char *host, int *family, uint8_t ip[16]);
// A literal of a private address, or a name that only means this machine ("localhost", "x.localhost").
bool extract_host_private(const char *host);

// The proxy that the environment wants for a URL: http_proxy, https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, unless
// no_proxy or NO_PROXY names the host (whole, or by a domain it ends in; "*": every one). HTTP_PROXY in capitals is not
// read: a web server may have set it from a header. NULL: none. Borrowed from the environment.
const char *extract_proxy_for(const char *scheme, const char *host);

// The file of certificates that the environment wants to be trusted in place of the system's (SSL_CERT_FILE, else
// CURL_CA_BUNDLE), as where a company's proxy signs for everybody. NULL: none.
const char *extract_ca_file(void);
