#!/bin/bash
# Builds the fuzzer and runs its targets one after the other. FUZZ_BUILD=no takes the one that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
swift=${SWIFT:-swift}
build=.build-fuzz
seconds=${FUZZ_SECONDS:-60}
fuzzer=$build/debug/muster-fuzz

if [ "${FUZZ_BUILD:-yes}" = yes ]; then
  runtime=$("${swift}c" -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
  library=$(find "$runtime/../clang/" -name "libclang_rt.fuzzer_no_main-$(uname -m).a" | head -1)
  [ -n "$library" ] || { echo "libFuzzer is not part of this Swift toolchain."; exit 1; }
  # The frontend alone is told of libFuzzer: the driver would link its main, and SwiftPM gives the program one of its own.
  MUSTER_FUZZ=1 "$swift" build --scratch-path $build --product muster-fuzz --sanitize=address \
    -Xswiftc -Xfrontend -Xswiftc -sanitize=address,fuzzer -Xcc -fsanitize=fuzzer-no-link -Xlinker "$library" -Xlinker -lstdc++
fi

# Traps are libFuzzer's to report; a symbolizer that hangs would hide them. The Swift runtime keeps what it allocates until the end.
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0:symbolize=0
targets=${FUZZ_TARGETS:-all}
[ "$targets" != all ] || targets=$($fuzzer --list)
failed=0
for target in $targets; do
  mkdir -p $build/corpus/$target $build/findings/$target
  folders=($build/corpus/$target Fuzz/Corpus/$target)
  [ ! -d Fuzz/Findings/$target ] || folders+=(Fuzz/Findings/$target)
  echo "== $target, $seconds s from $(date -u +%T)"
  # What is new goes to the first folder. An input may take 30 s of this slow build, and 3 GB.
  $fuzzer $target "${folders[@]}" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=3072 -print_final_stats=1 \
    -artifact_prefix=$build/findings/$target/ < /dev/null > $build/$target.log 2>&1 || { failed=1; echo "FINDING, see $build/$target.log"; }
  grep -aE "^(stat::number_of|stat::average|finding:|Done|SUMMARY)" $build/$target.log || true
done
exit $failed
