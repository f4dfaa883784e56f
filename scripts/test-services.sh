#!/usr/bin/env bash
# Installs the servers that tests/services.py starts (Redis, PostgreSQL, MariaDB), the browser that
# looks at the page, the shells in which completion is tried (zsh, fish) and promtool, from Debian's own
# packages, and starts none of them. Quick when they are there.
# Needs Debian or Ubuntu, and root (or sudo without a password) only when something is missing.
#   scripts/test-services.sh [redis] [postgresql] [mariadb] [chromium] [shells]      default: all
set -euo pipefail
promtool() { "$(dirname "$0")/promtool.sh"; }
[ $# -eq 0 ] || promtool() { :; }

found() { # found PROGRAM: on PATH, or where Debian keeps servers
  command -v "$1" >/dev/null || compgen -G "/usr/sbin/$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

packages=()
for service in "${@:-redis postgresql mariadb chromium shells}"; do
  for name in $service; do
    case $name in
      redis) found redis-server || packages+=(redis-server) ;;
      postgresql) found initdb || packages+=(postgresql) ;;
      mariadb) found mariadbd && found mariadb-install-db || packages+=(mariadb-server-core mariadb-client-core) ;;
      chromium) found chromium || packages+=(chromium fonts-dejavu-core) ;;
      shells) for shell in zsh fish; do found $shell || packages+=($shell); done ;; # completion is tried in them
      *) echo "test-services: unknown service \"$name\"; known are redis, postgresql, mariadb, chromium, shells" >&2; exit 64 ;;
    esac
  done
done
[ ${#packages[@]} -gt 0 ] || { promtool; exit; }

echo "test-services: installing ${packages[*]} with apt-get; no service is started"
as_root=()
if [ "$(id -u)" != 0 ]; then
  sudo -n true || { echo "test-services: needs root to install ${packages[*]}" >&2; exit 77; }
  as_root=(sudo -n)
fi
# Packages ask policy-rc.d before they start a service; 101 is "not allowed". Ours goes away again.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap '"${as_root[@]}" rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod 755 $policy
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
promtool
echo "test-services: done"
