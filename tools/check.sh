#!/bin/sh
# Run every check, also after one has failed, and say at the end which ones did.
#
# Called by `make check`, with the tools of its environment first in PATH.

cd "$(dirname "$0")/.." || exit 1
failed=

check() {
    name=$1
    shift
    echo "--- $name"
    "$@" </dev/null || failed="$failed
  $name: $*"
}

# Helpers of the tests are code; the tests themselves are sentences, and need no annotations.
# Of two modules named conftest only one can be checked at a time; those in folders hold a fixture or two.
helpers=$(find tests tools -name '*.py' ! -name 'test_*' ! -path 'tests/*/conftest.py')

check lint ruff check .
check format ruff format --check .
# shellcheck disable=SC2086
check types mypy src $helpers
check arrows lint-imports
check sizes python tools/check_sizes.py
check behaviours python tools/check_behaviours.py
check docs python tools/check_docs.py

if [ -n "$failed" ]; then
    echo "--- failed:$failed"
    exit 1
fi
echo "--- all checks passed"
