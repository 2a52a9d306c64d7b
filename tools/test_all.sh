#!/bin/sh
# Run `make test` with each Python version named in the arguments, skipping those that are not there.
#
# All of them run, also after one has failed; the last lines say how each one went.

cd "$(dirname "$0")/.." || exit 1
status=0
summary=
for version in "$@"; do
    if python=$(tools/find_python.sh "python$version" 2>/dev/null); then
        if "${MAKE:-make}" --no-print-directory test PYTHON="$python" </dev/null; then
            word=passed
        else
            word=failed
            status=1
        fi
    else
        word="skipped: no python$version found"
    fi
    summary="$summary
Python $version: $word"
done
echo "$summary"
exit $status
