#!/bin/sh
# What the tests need beside Python packages: kubectl, Chromium, podman, jq, Open MPI and, in CI, docker, database
# servers, PyTorch, CatBoost, MLflow, transformers and OpenAI's client.
# Usage: setup_tests.sh VENV
set -eu
venv=$1

"$venv/bin/python" tools/fetch_kubectl.py "$venv/bin"

if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            chromium fonts-dejavu-core >/dev/null
    else
        echo "note: no Chromium found; the browser tests will be skipped" >&2
    fi
fi

if ! command -v podman >/dev/null || ! command -v busybox >/dev/null || ! command -v jq >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            podman runc busybox-static jq libgomp1 >/dev/null
    else
        echo "note: no podman, busybox or jq found; tests that need them will be skipped" >&2
    fi
fi

if ! command -v mpirun >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openmpi-bin >/dev/null
    else
        echo "note: no Open MPI found; the tests of MPIJobs will be skipped" >&2
    fi
fi

# Only in CI: it would start its daemon on a machine that somebody works on.
if [ -n "${CI:-}" ] && ! command -v dockerd >/dev/null && [ ! -x /usr/sbin/dockerd ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io >/dev/null
fi

# For models of PMML.
if [ -n "${CI:-}" ] && ! command -v java >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends default-jre-headless >/dev/null
fi

# Only in CI: Debian starts them, and the tests start their own.
if [ -n "${CI:-}" ] && ! command -v mariadbd >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        mariadb-server postgresql >/dev/null
fi

if [ -n "${CI:-}" ] && ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    "$venv/bin/pip" install --quiet 'torch==2.13.0'
fi

if [ -n "${CI:-}" ] && ! "$venv/bin/python" -c 'import catboost, keras, llguidance, mlflow, openai, paddle, pyarrow, pypmml, transformers' 2>/dev/null; then
    "$venv/bin/pip" install --quiet 'catboost==1.2.10' 'keras==3.15.1' 'llguidance==1.9.1' 'mlflow-skinny==3.17.2' 'openai==3.57.0' \
        'paddlepaddle==3.3.1' 'pyarrow' 'pypmml==1.5.8' 'transformers==5.24.0'
fi
