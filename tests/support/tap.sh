#!/bin/sh
# Runs a test program and mends its TAP: cmocka before 1.1.6 prints a skipped test as "not ok N # SKIP", which meson
# counts as a failure, and tables that tests print for people are no TAP. The exit status stays the program's.
out=$("$@")
status=$?
case $out in
TAP* | 1..* | ok\ * | not\ ok\ * | *"
1.."*)
    printf '%s\n' "$out" | sed -E -e 's/^not ok (.*# SKIP)/ok \1/' -e '/^(ok|not ok|1\.\.|#|TAP|Bail out!)/!s/^/# /'
    ;;
*) printf '%s\n' "$out" ;;
esac
exit $status
