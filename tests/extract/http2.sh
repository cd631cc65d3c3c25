#!/bin/sh
# Optional: needs nghttpd (nghttp2) and openssl. Images of one https host come over one HTTP/2 connection, many at a time,
# and only where its certificate is trusted.
. "${0%/*}/lib.sh"
for program in nghttpd openssl; do
    command -v $program >/dev/null 2>&1 || {
        echo "SKIP: $program is not installed"
        exit 77
    }
done
"$MAKE_IMAGES" "$tmp/photos" 120 100 || exit 1
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>/dev/null || exit 1
# It has to be told a port: one that is taken ends it, and the next is tried.
port=$((20000 + $$ % 20000))
for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -f "$tmp/out"
    mkfifo "$tmp/out"
    nghttpd -v -a 127.0.0.1 -d "$tmp/photos" "$port" "$tmp/key.pem" "$tmp/cert.pem" >"$tmp/out" 2>"$tmp/stderr2" &
    server_pid=$!
    exec 8<"$tmp/out"
    if read -r line <&8 && [ -n "$line" ]; then
        break
    fi
    exec 8<&-
    port=$((port + 7))
done
cat <&8 >"$tmp/frames" &
reader=$!
{
    printf 'caption\turl\n'
    i=0
    while [ $i -lt 120 ]; do
        printf 'x\thttps://127.0.0.1:%s/%05d.jpg\n' "$port" $i
        i=$((i + 1))
    done
} >"$tmp/list.tsv"
expect 3 "$VICHA" extract --json --allow-private -w "$tmp/ws1" "$tmp/list.tsv" --limit 3 --retries 0
check "stored without trust" "$(field stored)" 0
check "rejected for it" "$(field tls)" 3
SSL_CERT_FILE=$tmp/cert.pem
export SSL_CERT_FILE
expect 0 "$VICHA" extract --json --allow-private -w "$tmp/ws2" "$tmp/list.tsv"
check stored "$(field stored)" 120
check retries "$(field retries)" 0
kill "$server_pid"
server_pid=
wait "$reader"
# "[id=N] [...] recv HEADERS frame <... stream_id=M>": N counts connections
streams=$(grep -c 'recv .*HEADERS' "$tmp/frames")
connections=$(sed -n 's/^\[id=\([0-9]*\)\].*recv .*HEADERS.*/\1/p' "$tmp/frames" | sort -u | wc -l)
[ "$streams" -ge 121 ] || fail "$streams requests by HTTP/2, expected 120 images and a robots.txt"
[ "$connections" -ge 1 ] && [ "$connections" -le 2 ] || fail "$streams requests over $connections connections"
# A stream is open from its request to the frame of its answer that ends it (flag 1 of DATA).
most=$(awk '/recv HEADERS frame/ { if (++open > most) most = open }
    /send DATA frame <length=[0-9]*, flags=0x01/ { open-- }
    END { print most + 0 }' "$tmp/frames")
[ "$most" -ge 4 ] || fail "at most $most requests at a time over one connection"
done_testing
