#!/usr/bin/env bash
# A virtual environment with packages from PyPI, kept where it is. Usage: python-venv.sh FOLDER PACKAGE==VERSION...
# Exits 77 when Python can't make one or PyPI doesn't give the packages.
set -euo pipefail
folder=$1
shift
if [ -f "$folder/packages" ] && [ "$(cat "$folder/packages")" = "$*" ]; then exit 0; fi
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
if ! python3 -m venv "$folder" >/dev/null 2>&1; then echo "python3 can't make a virtual environment"; exit 77; fi
if ! "$folder/bin/pip" install -q "$@"; then echo "pip can't install $*"; exit 77; fi
echo "$*" >"$folder/packages"
