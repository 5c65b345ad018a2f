#!/bin/bash
# Builds and runs the Swift tests under each sanitizer named. A report fails the run; what is left out, and why, is in sanitize.supp.
set -euo pipefail
cd "$(dirname "$0")/.."
swift=${SWIFT:-swift}
# The runtimes of Swift and of OpenSSL keep what they allocate until the end.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0
export TSAN_OPTIONS="suppressions=$PWD/Tests/sanitize.supp halt_on_error=0 exitcode=66"
export SWIFT_BACKTRACE=enable=no
for sanitizer in "$@"; do
  $swift build --build-tests --sanitize=$sanitizer --scratch-path .build-$sanitizer
  $swift test --skip-build --no-parallel --sanitize=$sanitizer --scratch-path .build-$sanitizer ${SANITIZE_FILTER:+--filter "$SANITIZE_FILTER"}
done
