#!/usr/bin/env bash
# Everything at once, on this machine: a sample course portal, `course-runner local`, this backend.
# Ctrl-C ends all of it. What is made lies in a new folder below TMPDIR, which is named and kept.
#   PORT=3000 examples/node-backend/try.sh
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
root=$(cd ../.. && pwd)
"$root/scripts/setup.sh" local
./install.sh

random() { "$root/.venv/bin/python" -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes($1)).decode())"; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/course-runner-try.XXXXXX")
export PATH=$root/.venv/bin:$PATH PYTHONPATH=$root PORT=${PORT:-3000} STATE=$folder/.course-runner
export API_SECRET_KEY=${API_SECRET_KEY:-$(random 18)} WEBHOOK_SIGNING_KEY=${WEBHOOK_SIGNING_KEY:-whsec_$(random 24)}
export PLATFORM_TOKEN=${PLATFORM_TOKEN:-$(random 18)} WEBHOOK_URL=http://127.0.0.1:$PORT/webhook
export RCLONE_REMOTE=$folder/remote WEBHOOK_FAILURE_EVENTS=true
mkdir "$folder/remote"
cd "$folder"

pids=()
start() { # start NAME COMMAND...: in the background, its words in NAME.log
  local name=$1; shift
  "$@" >"$folder/$name.log" 2>&1 &
  pids+=($!)
}
await() { # await NAME WORDS...: until what was started last is ready, or has ended
  local name=$1; shift
  until "$@" 2>/dev/null; do
    kill -0 "${pids[-1]}" 2>/dev/null || { echo "try: $name has ended:" >&2; tail -n 5 "$folder/$name.log" >&2; exit 1; }
    sleep 0.1
  done
}
end() { # runs outlive their dispatcher by design: here they are cancelled first
  trap '' INT TERM
  for task in Staging_Download/Task_*; do
    [ -d "$task" ] && course-runner cancel "${task##*/Task_}" >/dev/null 2>&1 || true
  done
  kill "${pids[@]}" 2>/dev/null || true
  wait "${pids[@]}" 2>/dev/null || true
}
trap end EXIT
trap 'exit 0' INT TERM

start portal python -m playground portal --ready-file "$folder/portal.json"
await portal test -s portal.json
start course-runner course-runner local
await course-runner test -s "$STATE/redis.url"
start backend node "$here/src/server.js"
await backend grep -q 'The page' backend.log

echo "try: everything is in $folder"
python -c '
import json, sys
said = json.load(open("portal.json"))
print("try: the portal:", said["url"])
for name, address in said.items():
    if name.startswith("course "):
        print("try: a course to order:", address)
'
echo "try: the page: http://127.0.0.1:$PORT/  (Ctrl-C ends everything)"
wait -n "${pids[@]}" || true
echo "try: one of the three has ended; the logs are in $folder" >&2
exit 1
