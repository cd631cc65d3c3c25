#!/bin/sh
# Every sub-command: help with an example, exit statuses, suggestions, and results that could not be written.
set -u
failures=0
fail() {
    echo "not ok: $*"
    failures=$((failures + 1))
}
# expect STATUS COMMAND...: runs it, keeps its output in $out
expect() {
    want=$1
    shift
    out=$("$@" 2>&1)
    got=$?
    [ $got = "$want" ] || fail "'$*' ended with $got, expected $want: $out"
}

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

expect 0 "$VICHA" --help
commands=$(printf '%s\n' "$out" | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p')
[ -n "$commands" ] || fail "no commands in: $out"
for command in $commands; do
    expect 0 "$VICHA" "$command" --help
    case $out in
    *xample* | *Commands:*) ;;
    *) fail "'vicha $command --help' shows no example" ;;
    esac
    expect 2 "$VICHA" "$command" --no-such-option-anywhere
done
expect 0 "$VICHA" --version
expect 2 "$VICHA"
first=$(printf '%s\n' $commands | head -n 1)
expect 2 "$VICHA" "${first}x"
case $out in
*"did you mean '$first'"*) ;;
*) fail "no suggestion for '${first}x': $out" ;;
esac
if [ -w /dev/full ]; then
    "$VICHA" --help >/dev/full 2>err && fail "help into a full disk succeeded"
    grep -q 'cannot write to standard output' err || fail "no word about the full disk: $(cat err)"
fi
# Commands that need a workspace say so, and make none.
for command in stats "query dog" "concepts list" "concepts mine" "index --vocab x"; do
    case $commands in
    *${command%% *}*) ;;
    *) continue ;;
    esac
    # shellcheck disable=SC2086
    expect 1 "$VICHA" $command -w nowhere
    case $out in
    *nowhere*) ;;
    *) fail "'vicha $command' does not name the missing workspace: $out" ;;
    esac
    [ ! -e nowhere ] || fail "'vicha $command' made a workspace"
done
[ $failures = 0 ] && echo "ok: $(printf '%s\n' $commands | wc -l) commands"
exit $failures
