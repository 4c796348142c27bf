#!/usr/bin/env bash
# All that needs an NVIDIA card: the tests, then the benchmarks, whose figures go into $OUT (build by default).
# Downloads nothing. PYTHON is the interpreter that has the packages; a step that fails does not stop those after it.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${OUT:-build}
mkdir -p "$out"
export HF_HUB_OFFLINE=1 PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
failed=0

step() {
    echo "== $*"
    local start=$SECONDS
    "$python" "$@" || { failed=1; echo "!! failed: $*"; }
    echo "== $((SECONDS - start)) s"
}

step -m pytest -p no:cacheprovider tests/cuda tests/noise/test_cuda.py tests/noise/test_triton.py tests/unit/test_weights.py
step benchmarks/noise.py --device cuda --json "$out/noise.json"
step benchmarks/switching.py --shape qwen2.5-1.5b --shape qwen2.5-7b --json "$out/switching.json"
step benchmarks/signals.py --device cuda --json "$out/signals.json"
if [ -d .demo ]; then
    step benchmarks/engine.py --json "$out/engine.json"
fi
exit $failed
