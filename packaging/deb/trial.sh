#!/bin/sh
# Run by deb/check.sh inside, as root of a machine that is thrown away: `sh -eux`.
trap 'journalctl --unit=poolhand --unit=poolhand-gpu --no-pager --output=cat --lines=20' EXIT
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
bash -c '. /usr/share/bash-completion/completions/poolhand && complete -p poolhand'
zcat /usr/share/man/man1/poolhand.1.gz | grep -q '^\.TH POOLHAND 1'
cp /usr/share/doc/poolhand/agent.toml /etc/poolhand/agent.toml
sed -i 's|^url = .*|url = "ws://127.0.0.1:1/ws/provider"|' /etc/poolhand/agent.toml
grep '^token_credential = "token"' /etc/poolhand/agent.toml
code=0
poolhand service status || code=$?
[ "$code" = 3 ]

# started, with no token's file and then with one
poolhand service install --no-gpu
[ "$(systemctl is-active poolhand)" = active ]
echo a-token-for-the-trial | poolhand login
[ "$(stat -c %a:%U /etc/poolhand/token)" = 600:root ]
poolhand service restart
poolhand service status
poolhand service install | grep 'as it was'
[ "$(stat -c %U "/proc/$(show poolhand MainPID)")" = poolhand ]
code=0
poolhand status >/mnt/status || code=$?
[ "$code" = 4 ]
grep '^serving: no' /mnt/status
await "show poolhand StatusText | grep -q 'not serving: no line to ws://127.0.0.1:1'"
journalctl -u poolhand | grep -q a-token-for-the-trial && exit 1
poolhand doctor >/mnt/doctor || true
grep "^ok  *token.source .*hands /etc/poolhand/token over" /mnt/doctor
grep "^ok  *cache.disk .*below /var/cache/private/poolhand" /mnt/doctor
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

# in a loop of crashes: ever slower, also where systemd does not know how (before 254)
rm -f /run/systemd/system/poolhand.service.d/short.conf
printf '[Service]\nExecStart=\nExecStart=/bin/false\n' >/run/systemd/system/poolhand.service.d/broken.conf
systemctl daemon-reload
systemctl restart poolhand || true
sleep 12
[ "$(show poolhand NRestarts)" -ge 2 ]
[ "$(show poolhand NRestarts)" -le 5 ]
echo "== a loop of crashes: $(show poolhand NRestarts) starts in 12 s"
rm -f /run/systemd/system/poolhand.service.d/broken.conf
systemctl daemon-reload
began_ms=$(now_ms)
systemctl restart poolhand
echo "== and is mended by hand within $(($(now_ms) - began_ms)) ms"

# the same for boards, which takes the other's place; and the token reaches the coordinator
poolhand dev coordinator --port 4480 >/mnt/coordinator.log 2>&1 &
sed -i 's|^url = .*|url = "ws://127.0.0.1:4480/ws/provider"|' /etc/poolhand/agent.toml
poolhand service install --gpu
[ "$(systemctl is-active poolhand-gpu)" = active ]
[ "$(systemctl is-active poolhand || true)" = inactive ]
[ "$(systemctl is-enabled poolhand-gpu)$(systemctl is-enabled poolhand || true)" = enableddisabled ]
poolhand service status | grep 'poolhand-gpu.service: runs'
asks='import urllib.request as u; print(u.urlopen("http://127.0.0.1:4480/dev/state").read().decode())'
await "/usr/bin/python3 -c '$asks' | grep -q 'auth_token\": \"present'"
poolhand service install --no-gpu
[ "$(systemctl is-active poolhand)" = active ]
echo "== with boards, and without again; the coordinator has the token"

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

# a user's own, under a manager of the user's
useradd --create-home owner
if systemctl start "user@$(id -u owner)"; then
    as_owner() { runuser -u owner -- env -C / HOME=/home/owner XDG_RUNTIME_DIR="/run/user/$(id -u owner)" "$@"; }
    as_owner mkdir -p /home/owner/.config/poolhand
    sed '/^token_credential/d' /usr/share/doc/poolhand/agent.toml |
        sed 's|^url = .*|url = "ws://127.0.0.1:4480/ws/provider"|' >/home/owner/.config/poolhand/agent.toml
    as_owner poolhand service install
    as_owner poolhand service status
    as_owner poolhand pool status
    pid=$(as_owner systemctl --user show poolhand --property=MainPID --value)
    [ "$(stat -c %U "/proc/$pid")" = owner ]
    kill -SEGV "$pid"
    # shellcheck disable=SC2016  # it is evaluated when it is asked
    await '[ "$(as_owner systemctl --user show poolhand --property=NRestarts --value)" = 1 ]'
    await 'as_owner systemctl --user is-active --quiet poolhand'
    as_owner systemctl --user reload poolhand
    as_owner poolhand service stop
    as_owner poolhand service uninstall
    systemctl stop "user@$(id -u owner)"
    echo "== a user's own: installed, crashed, reloaded, stopped, gone"
else
    echo "== a user's own was not tried: no manager of a user comes up (libpam-systemd)"
fi

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
