// SPDX-License-Identifier: MIT
#include "serve/guard.h"

#include "base/hash.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <strings.h>

enum { MIN_TOKEN = 8, MAX_TOKEN = 128 };

static bool is_loopback(const char *address)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, address, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static bool is_address(const char *text)
{
    struct in_addr four;
    struct in6_addr six;
    return inet_pton(AF_INET, text, &four) == 1 || inet_pton(AF_INET6, text, &six) == 1;
}

static bool token_fits(const char *token)
{
    size_t n = strlen(token);
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    return n >= MIN_TOKEN && n <= MAX_TOKEN && strspn(token, letters) == n;
}

bool serve_guard_init(ServeGuard *g, const ServeOptions *options, VcErr *err)
{
    *g = (ServeGuard){.bind = vc_strdup(options->bind ? options->bind : "127.0.0.1")};
    g->local = is_loopback(g->bind);
    if (options->token)
        g->token = vc_strdup(options->token);
    g->hosts = vc_calloc(options->host_count + 1, sizeof *g->hosts);
    for (size_t i = 0; i < options->host_count; i++)
        g->hosts[g->host_count++] = vc_strdup(options->hosts[i]);
    if (!g->local && !g->token) {
        return vc_fail(err, VC_ERR_USAGE,
                       "--bind %s lets other machines in: give --token WORD (at least %d letters or digits), which "
                       "everybody who asks must know",
                       g->bind, MIN_TOKEN);
    }
    if (g->token && !token_fits(g->token)) {
        return vc_fail(err, VC_ERR_USAGE, "--token must have %d to %d letters, digits or - _ . ~", MIN_TOKEN,
                       MAX_TOKEN);
    }
    return true;
}

void serve_guard_finish(ServeGuard *g)
{
    for (size_t i = 0; i < g->host_count; i++)
        free(g->hosts[i]);
    free(g->hosts);
    free(g->token);
    free(g->bind);
    *g = (ServeGuard){0};
}

// The name without port and brackets; false where the value is no host at all.
static bool host_name(const char *host, char name[256])
{
    const char *end;
    if (*host == '[') {
        host++;
        end = strchr(host, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
    } else {
        end = host + strcspn(host, ":");
    }
    const char *port = *end == ']' ? end + 1 : end;
    size_t n = (size_t)(end - host);
    if (n == 0 || n > 255 || (*port && strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    memcpy(name, host, n);
    name[n] = 0;
    return true;
}

bool serve_guard_host(const ServeGuard *g, const char *host)
{
    char name[256];
    if (!host || !host_name(host, name))
        return false;
    if (g->local && (strcasecmp(name, "localhost") == 0 || is_loopback(name)))
        return true;
    // Beyond loopback a numeric address is as good as the one we are bound to: no foreign name can stand for it.
    if (!g->local && is_address(name))
        return true;
    for (size_t i = 0; i < g->host_count; i++) {
        if (strcasecmp(name, g->hosts[i]) == 0)
            return true;
    }
    return false;
}

// Hashes are compared, so the time says nothing about how much of it was right.
static bool same_secret(const char *a, const char *b)
{
    uint8_t x[32], y[32], differ = 0;
    vc_sha256(a, strlen(a), x);
    vc_sha256(b, strlen(b), y);
    for (size_t i = 0; i < sizeof x; i++)
        differ |= (uint8_t)(x[i] ^ y[i]);
    return differ == 0;
}

static void ask_for_token(ServeReply *reply, bool wrong)
{
    reply->status = 401;
    reply->type = "text/html; charset=utf-8";
    vc_str_putf(&reply->body,
                "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
                "<title>vicha: token</title><h1>vicha</h1><p>%s</p><form action=\"/\" method=get>"
                "<label>Token <input name=token type=password autocomplete=off required></label> "
                "<button>Open</button></form></html>\n",
                wrong ? "That was not the token." : "This server asks for the token that it was started with.");
}

static bool check_token(const ServeGuard *g, const ServeAsking *a, ServeReply *reply)
{
    if (!g->token)
        return true;
    if (a->authorization && strncasecmp(a->authorization, "Bearer ", 7) == 0 &&
        same_secret(a->authorization + 7, g->token))
        return true;
    if (a->token && same_secret(a->token, g->token)) {
        reply->status = 303;
        reply->location = "/";
        snprintf(reply->cookie, sizeof reply->cookie,
                 SERVE_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000", g->token);
        return false;
    }
    if (a->cookie && same_secret(a->cookie, g->token))
        return true;
    if (strncmp(a->path, "/api/", 5) == 0) {
        serve_reply_error(reply, 401, "a token is needed: send 'Authorization: Bearer TOKEN'");
    } else {
        ask_for_token(reply, a->token || a->authorization);
    }
    return false;
}

// A body is only taken where one is expected, with its length said beforehand.
static bool check_body(const ServeAsking *a, bool post, ServeReply *reply)
{
    int64_t length = 0;
    if (a->transfer) {
        serve_reply_error(reply, 411, "a body needs a Content-Length");
    } else if (a->length && (!vc_parse_i64(a->length, &length) || length < 0)) {
        serve_reply_error(reply, 400, "Content-Length is no number");
    } else if (length > SERVE_MAX_BODY || (!post && length > 0)) {
        serve_reply_error(reply, 413, post ? "the picture is over 16 MiB" : "this request takes no body");
    } else {
        return true;
    }
    return false;
}

bool serve_guard_check(const ServeGuard *g, const ServeAsking *a, ServeReply *reply)
{
    if (!serve_guard_host(g, a->host)) {
        serve_reply_error(
            reply, 421,
            "this server does not go by the name in the Host header; start it with --host NAME to allow one");
        return false;
    }
    bool post = strcmp(a->method, "POST") == 0;
    if (!post && strcmp(a->method, "GET") != 0 && strcmp(a->method, "HEAD") != 0) {
        serve_reply_error(reply, 405, "only GET, HEAD and POST are answered");
        return false;
    }
    if (!check_body(a, post, reply))
        return false;
    if (post && a->origin) {
        const char *host = strstr(a->origin, "://");
        if (!host || strcasecmp(host + 3, a->host) != 0) {
            serve_reply_error(reply, 403, "a page of another site may not send anything here");
            return false;
        }
    }
    return check_token(g, a, reply);
}
