#!/bin/bash
# Builds the fuzzer and runs its targets one after the other. FUZZ_BUILD=no takes the one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
swift=${SWIFT:-swift}
build=.build-fuzz
seconds=${FUZZ_SECONDS:-60}
fuzzer=$build/release/muster-fuzz

if [ "${FUZZ_BUILD:-yes}" = yes ]; then
  # The frontend alone is told to instrument: the driver would link libFuzzer's own main as well.
  runtime=$("$swift"c -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
  library=$(find "$runtime/../clang/" "$runtime/clang/" "$runtime/../../lib/clang/" -name "libclang_rt.fuzzer_no_main-$(uname -m).a" 2>/dev/null | head -1)
  [ -n "$library" ] || { echo "libFuzzer is not part of this Swift toolchain"; exit 1; }
  MUSTER_FUZZ=1 "$swift" build -c release --scratch-path $build --product muster-fuzz -Xswiftc -enable-testing \
    -Xswiftc -Xfrontend -Xswiftc -sanitize=fuzzer -Xcc -fsanitize=fuzzer-no-link -Xlinker "$library" -Xlinker -lstdc++
fi

targets=${FUZZ_TARGETS:-all}
[ "$targets" != all ] || targets=$($fuzzer --list)
for target in $targets; do
  mkdir -p $build/corpus/$target $build/findings/$target
  seeds=()
  for folder in Fuzz/Corpus/$target Fuzz/Findings/$target; do [ ! -d $folder ] || seeds+=($folder); done
  echo "== $target, $seconds s, $(date -u +%FT%TZ)"
  # What is new goes to the first folder. An input may take 10 s and 2 GB.
  $fuzzer $target $build/corpus/$target "${seeds[@]}" -max_total_time=$seconds -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix=$build/findings/$target/ 2>&1 | tee $build/$target.log | grep -E "^(#[0-9]+.*(pulse|DONE)|stat::|finding|Done|SUMMARY|==[0-9]+==)|Fatal|error" | tail -40
done
