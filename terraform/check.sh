#!/bin/sh
# Checks the module with checkov, in an environment of its own: checkov needs an older boto3 than ckpt-archive may have.
set -eu
cd "$(dirname "$0")"
venv="${CHECKOV_VENV:-../.venv/.checkov}"
if [ ! -x "$venv/bin/checkov" ]; then
  "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet 'checkov>=3.3,<4'
fi
exec "$venv/bin/checkov" --directory . --framework terraform --compact --quiet --skip-download "$@"
