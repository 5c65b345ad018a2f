#!/usr/bin/env bash
# The main job on one machine: three servers are enrolled, commands run on them under rate control, everything is removed again.
# Needs muster, muster-controller and muster-agent on PATH; `make demo` builds them and calls this.
set -euo pipefail

here=$(mktemp -d "${TMPDIR:-/tmp}/muster-demo.XXXXXX")
trap 'muster sandbox down --dir "$here/s" >/dev/null 2>&1 || true; rm -rf "$here"' EXIT

say()  { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }
[ -t 1 ] || say() { printf '\n== %s\n' "$*"; }

say "A controller and three agents on this machine, each enrolled with its own key and certificate"
show muster sandbox up --dir "$here/s" --agents 3
. "$here/s/env"
show muster nodes

say "A command on the nodes tagged role=web, one node at a time, stopping at the first error"
show muster run --target tag:role=web --max-concurrency 1 --max-errors 0 -- 'echo "hello from $AWS_SSM_INSTANCE_ID"'

say "A command that fails on one node: its exit code is shown, and muster run ends with status 1"
status=0
show muster run --all --max-errors 100% -- 'case $AWS_SSM_INSTANCE_ID in '"$(muster nodes --output json | sed -n 's/.*"InstanceId" *: *"\([^"]*\)".*/\1/p' | head -n 1)"') echo "disk is full" >&2; exit 3;; *) echo fine;; esac' || status=$?
printf '(exit status %s)\n' "$status"
[ "$status" = 1 ]

say "The same controller, seen by the stock AWS CLI (if it is installed)"
if command -v aws >/dev/null; then
  show aws ssm describe-instance-information --query 'InstanceInformationList[].[InstanceId,PingStatus,AgentVersion]' --output text
else
  echo "aws is not installed here; after 'muster sandbox up', its env file is all it needs."
fi

say "Next"
cat <<'NEXT'
  muster sandbox up --agents 5          your own sandbox; then: . .muster-sandbox/env
  muster run --all -- uptime            from here on, muster, aws ssm and boto3 all work
  muster sandbox down
  README.md, "Five minutes"             a real controller and real servers
NEXT
