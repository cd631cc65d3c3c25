# Shared by the shell tests of whole commands, in TAP: a temporary folder, and checks that count. The end of a test is
#   echo "1..$number"; exit "$bad"
# A test may set $model to a folder that goes at the end, too.
work=$(mktemp -d)
model=
trap 'rm -rf "$work" ${model:+"$model"}' EXIT
number=0
bad=0
out=$work/out
log=$work/log

ok() { # ok STATUS NAME
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        head -n 10 "$log" "$out" 2>/dev/null | cut -c 1-200 | sed 's/^/# /'
        bad=1
    fi
}
run() { # run STATUS NAME ARGUMENTS...: vicha with them ends with that status
    want=$1
    name=$2
    shift 2
    got=0
    "$VICHA" "$@" >"$out" 2>"$log" || got=$?
    [ "$got" -eq "$want" ] || echo "# exit status $got instead of $want" >>"$log"
    [ "$got" -eq "$want" ] && ok 0 "$name" || ok 1 "$name"
}
check() { # check NAME COMMAND...: it succeeds
    name=$1
    shift
    "$@" >/dev/null 2>&1 && ok 0 "$name" || ok 1 "$name"
}
same() { # same NAME A B
    [ "$2" = "$3" ] && ok 0 "$1" || { echo "# '$2' is not '$3'"; ok 1 "$1"; }
}
field() { # field NAME: a number of the last --json line
    sed "s/.*\"$1\": \(-\{0,1\}[0-9.]*\).*/\1/" "$out"
}
