#!/bin/sh
# Print the path of the first Python that runs and is at least 3.11, of those named in the arguments.
#
# A name is a command (python3.12), or a path. A pyenv shim may be on PATH without a Python behind it, so
# each one is really started; pyenv's own versions are tried next. Prints nothing and fails when none runs.

runs() {
    "$1" -c 'import sys; assert sys.version_info >= (3, 11); print(sys.executable)' 2>/dev/null </dev/null
}

for name in "$@"; do
    runs "$name" && exit 0
    root=$(pyenv root 2>/dev/null) || root=${PYENV_ROOT:-$HOME/.pyenv}
    version=${name##*python}
    for path in "$root"/versions/"$version".*/bin/python "$root"/versions/"$version"/bin/python; do
        [ -x "$path" ] && runs "$path" && exit 0
    done
done
echo "no Python >= 3.11 found among: $*" >&2
exit 1
