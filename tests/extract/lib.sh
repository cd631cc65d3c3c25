# Shared by the shell tests of extract: a temporary folder, the server, and checks that count.
set -u
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
check() { # check WHAT GOT WANTED
    [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"
}
# expect STATUS COMMAND...: runs it; standard output in $out, standard error in $errors
expect() {
    want=$1
    shift
    out=$("$@" 2>"$tmp/stderr")
    got=$?
    errors=$(cat "$tmp/stderr")
    [ $got = "$want" ] || fail "'$*' ended with $got, expected $want: $out $errors"
}
# field NAME: a number of the JSON line in $out
field() {
    printf '%s\n' "$out" | sed -n "s/.*\"$1\": \([0-9.]*\)[,}].*/\1/p"
}
dump() { # dump WORKSPACE FILE
    "$DUMP_STORE" "$1" >"$2" || fail "cannot dump $1"
}
done_testing() {
    [ $failures = 0 ] && echo "all as expected"
    exit $((failures > 0))
}

tmp=$(mktemp -d) || exit 1
server_pid=
cleanup() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# start_server FOLDER: sets $url, requests are logged in $tmp/requests
start_server() {
    mkfifo "$tmp/port" "$tmp/hold"
    "$HTTP_SERVER" "$1" "$tmp/requests" <"$tmp/hold" >"$tmp/port" &
    server_pid=$!
    exec 9>"$tmp/hold" # the server ends when this does, however the test ends
    read -r port <"$tmp/port"
    url=http://127.0.0.1:$port
}
