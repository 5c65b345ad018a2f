#!/usr/bin/env bash
# steady.sh COMMAND…: runs the tests of a command (`swift test …` or `python -m pytest …`).
#
# With AGAIN=1, as in continuous integration, where another program may take the machine in the middle of a test, what failed is run once more
# by itself. It has to pass then, and is named at the end: a test that passes only by itself wants mending. Without it nothing is tried again.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
[ "$status" != 0 ] && [ "${AGAIN:-0}" = 1 ] || exit "$status"

case "$*" in
*pytest*)
  # 1: tests failed. Everything else is no test's fault.
  [ "$status" = 1 ] || exit "$status"
  failed=$(grep -E '^(FAILED|ERROR) ' "$log" | cut -d' ' -f2)
  again=("$@" --last-failed --last-failed-no-failures none -n 0)
  ;;
*)
  failed=$(sed -nE 's/^✘ Test ([A-Za-z0-9_]+)\(.* failed after .*/\1/p' "$log" | sort -u)
  again=("$@" --filter "[./]($(paste -sd'|' <<<"$failed"))\(")
  ;;
esac
# More than a few is no coincidence.
[ -n "$failed" ] && [ "$(wc -l <<<"$failed")" -le 5 ] || exit "$status"
echo "Failed, and run once more by themselves:" $failed
"${again[@]}" || exit $?
echo "Unsteady, passed only by themselves:" $failed
