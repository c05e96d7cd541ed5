#!/bin/sh
# Run by deb/check.sh inside, as root of a machine that is thrown away: `sh -eux`.
trap 'journalctl --unit=poolhand --no-pager --output=cat --lines=20' EXIT
show() { systemctl show "$1" --property="$2" --value; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
await() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ]
        sleep 0.1
    done
}

# installed: nothing runs before it is configured
dpkg -i /mnt/poolhand.deb
[ "$(systemctl is-active poolhand || true)" = inactive ]
poolhand --version
cp /usr/share/doc/poolhand/agent.toml /etc/poolhand/agent.toml
sed -i 's|^url = .*|url = "ws://127.0.0.1:1/ws/provider"|' /etc/poolhand/agent.toml
# credentials need ACLs or a mount of their own, which kernels of sandboxes do not always give
sed -i '/^token_credential/d' /etc/poolhand/agent.toml
code=0
poolhand service status || code=$?
[ "$code" = 3 ]

# started, with no token's file and then with one
poolhand service install --no-gpu
[ "$(systemctl is-active poolhand)" = active ]
(umask 077 && echo a-token-for-the-trial >/etc/poolhand/token)
poolhand service restart
poolhand service status
poolhand service install | grep 'as it was'
[ "$(stat -c %U "/proc/$(show poolhand MainPID)")" = poolhand ]
code=0
poolhand status --state-dir /var/lib/private/poolhand >/mnt/status || code=$?
[ "$code" = 4 ]
grep '^serving: no' /mnt/status
await "show poolhand StatusText | grep -q 'not serving: no line to ws://127.0.0.1:1'"
journalctl -u poolhand | grep -q a-token-for-the-trial && exit 1
echo "== installed and started: $(show poolhand StatusText)"

# read again, also when the file does not hold
systemctl reload poolhand
echo '[' >>/etc/poolhand/agent.toml
systemctl reload poolhand
sed -i '$d' /etc/poolhand/agent.toml
[ "$(systemctl is-active poolhand)" = active ]
echo "== reloaded, with a good file and a bad one"

# crashed
began_ms=$(now_ms)
kill -SEGV "$(show poolhand MainPID)"
# shellcheck disable=SC2016  # it is evaluated when it is asked
await '[ "$(show poolhand NRestarts)" = 1 ] && systemctl is-active --quiet poolhand'
took_ms=$(($(now_ms) - began_ms))
echo "== crashed and ready again after $took_ms ms"
[ "$took_ms" -lt "${MOST_MS:-20000}" ]

# hung: nobody feeds the watchdog
mkdir -p /run/systemd/system/poolhand.service.d
printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/poolhand.service.d/short.conf
systemctl daemon-reload
systemctl restart poolhand
pid=$(show poolhand MainPID)
sleep 6
[ "$(show poolhand MainPID)" = "$pid" ]
kill -STOP "$pid"
# shellcheck disable=SC2016  # it is evaluated when it is asked
await '[ "$(show poolhand NRestarts)" -ge 1 ] && systemctl is-active --quiet poolhand'
[ "$(show poolhand MainPID)" != "$pid" ]
echo "== kept alive while it fed the watchdog, restarted when it hung"

# upgraded: a new process; then left as asked
pid=$(show poolhand MainPID)
dpkg -i /mnt/younger.deb
[ "$(systemctl is-active poolhand)" = active ]
[ "$(show poolhand MainPID)" != "$pid" ]
systemctl stop poolhand
[ "$(show poolhand Result)" = success ]
echo "== upgraded while it ran, and stopped"

# a configuration that does not hold: one start, and no loop
echo '[' >/etc/poolhand/agent.toml
systemctl start poolhand && exit 1
[ "$(show poolhand ExecMainStatus)" = 78 ]
[ "$(systemctl is-active poolhand || true)" = failed ]
echo "== a bad configuration ends with 78 and is not tried again"

# removed and purged
dpkg -r poolhand
[ ! -e /usr/bin/poolhand ]
[ -e /etc/poolhand/token ]
dpkg -P poolhand
for left in /etc/poolhand /usr/lib/poolhand /var/lib/poolhand /var/lib/private/poolhand \
    /var/cache/poolhand /var/cache/private/poolhand /usr/lib/systemd/system/poolhand.service; do
    [ ! -e "$left" ]
done
echo "== purged: nothing is left"
