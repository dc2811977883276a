#!/bin/bash -eu
# Builds the fuzzers as OSS-Fuzz and ClusterFuzzLite want them: for each target a program of that name in $OUT, with its
# corpus and its dictionary beside it.  Runs in their image base-builder-python, from the root of the checkout.
pip3 install '.[test]'
for file in fuzz/targets/[!_]*.py; do
  target=$(basename "$file" .py)
  program=$SRC/fuzz_$target.py
  # Watches the package while it is imported, and hides nothing of it from the packager, which reads imports.
  cat > "$program" <<PYTHON
import sys

import atheris

with atheris.instrument_imports(include=["gateway", "h11", "wsproto"]):
    from fuzz.targets.$target import one_input

atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
PYTHON
  compile_python_fuzzer "$program" --paths "$PWD"
  python3 -m zipfile -c "$OUT/fuzz_${target}_seed_corpus.zip" "fuzz/corpus/$target"/*
  cp "fuzz/dict/$target.dict" "$OUT/fuzz_$target.dict"
done
