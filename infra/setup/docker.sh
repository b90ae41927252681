# Docker Engine: installed from the distribution where it is missing, started where it is stopped.

ENGINE_NEEDED=20.10
DOCKERD_LOG=/var/log/dockerd.log

setup_docker() {
  local answer
  if answer=$(engine_version); then
    answer=${answer##*$'\n'}  # warnings of the client stand before it
    if is_too_old "$answer"; then
      say "  docker: engine $answer is too old; $ENGINE_NEEDED or newer is needed"
      leave_to_user "# update Docker Engine to $ENGINE_NEEDED or newer the way it was installed"
    else
      have docker "engine $answer"
    fi
    return
  fi
  case "$answer" in
    *"permission denied"*)
      say "  docker: the engine runs, but this user may not use it"
      leave_to_user "sudo usermod -aG docker \"\$USER\"    # then sign out and in again, or: newgrp docker"
      return ;;
  esac
  if [ -n "${DOCKER_HOST:-}" ]; then
    say "  docker: DOCKER_HOST is set to $DOCKER_HOST, and nothing answers there"
    leave_to_user "unset DOCKER_HOST    # or start the engine it names"
    return
  fi
  if is_macos; then
    say "  docker: no engine answers"
    leave_to_user "brew install --cask docker && open -a Docker    # or OrbStack, or: brew install colima docker docker-compose && colima start --memory 8"
    return
  fi
  if has docker && ! on_default_context; then
    say "  docker: the context '$(docker context show 2>/dev/null)' does not answer; is Docker Desktop started?"
    leave_to_user "docker context use default    # or start the engine of that context"
    return
  fi
  if ! has dockerd; then install_engine; else start_engine; fi
}

# Prints the engine's version, or on failure what docker said.
engine_version() {
  has docker || { printf 'no docker command'; return 1; }
  docker version --format '{{.Server.Version}}' 2>&1
}

# A build of one's own may have a name instead of a version; only an old version is known to be old.
is_too_old() {
  case "$1" in [0-9]*.[0-9]*) ! is_at_least "$1" "$ENGINE_NEEDED" ;; *) false ;; esac
}

on_default_context() {
  case "$(docker context show 2>/dev/null || printf default)" in default) true ;; *) false ;; esac
}

install_engine() {
  if ! uses_apt; then
    say "  docker: not installed, and this script installs it on Debian and Ubuntu only"
    leave_to_user "# install Docker Engine $ENGINE_NEEDED or newer and the Compose plugin $COMPOSE_NEEDED or newer with your system's packages"
    return
  fi
  if ! is_root; then
    say "  docker: not installed, and installing it needs root"
    leave_to_user "sudo apt-get update && sudo apt-get install -y docker.io"
    leave_to_user "sudo usermod -aG docker \"\$USER\"    # then sign out and in again, or: newgrp docker"
    return
  fi
  doing docker "installing the engine from this distribution's packages (docker.io)"
  apt_update
  # Newer releases have the client in a package of its own.
  # shellcheck disable=SC2046
  apt_install docker.io iptables ca-certificates $(packaged docker-cli)
  hash -r
  # The package may have started it already; otherwise it is ours to start.
  start_engine
  if [ -n "${SUDO_USER:-}" ] && ! id -nG "$SUDO_USER" | grep -qw docker; then
    usermod -aG docker "$SUDO_USER"
    say "  docker: $SUDO_USER is in the group docker from the next sign-in on"
  fi
}

start_engine() {
  if engine_version >/dev/null; then
    done_with docker "engine $(engine_version) runs"
    return
  fi
  if ! is_root; then
    say "  docker: installed, but not running, and starting it needs root"
    if has_systemd; then leave_to_user "sudo systemctl enable --now docker"
    else leave_to_user "sudo bash infra/setup/setup.sh docker"; fi
    return
  fi
  if has_systemd; then
    doing docker "starting the engine (systemctl enable --now docker)"
    systemctl enable --now docker >/dev/null 2>&1 || true
  else
    wait_for_engine_under_way
    if ! engine_version >/dev/null; then
      doing docker "starting the engine (no systemd here; its log is $DOCKERD_LOG)"
      prefer_working_iptables
      launch_dockerd
    fi
  fi
  wait_for_engine
}

# One that runs and does not answer is about to start, or to end; which of the two, only waiting tells.
wait_for_engine_under_way() {
  local tries=0
  dockerd_runs || return 0
  doing docker "waiting for the engine that is starting or stopping"
  while dockerd_runs && ! engine_version >/dev/null && [ "$tries" -lt 120 ]; do
    tries=$((tries + 1))
    sleep 0.5
  done
  ! dockerd_runs || engine_version >/dev/null || engine_did_not_start
}

dockerd_runs() { grep -qx dockerd /proc/[0-9]*/comm 2>/dev/null; }

# A session of its own, so that neither Ctrl-C nor the end of this terminal stops it; and none of the open files of
# whoever called make, since a lock or a make job slot would otherwise stay taken as long as the engine runs.
launch_dockerd() {
  forget_dead_pid /var/run/docker.pid dockerd
  forget_dead_pid /var/run/docker/containerd/containerd.pid containerd
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      if [ "$fd" -gt 2 ]; then eval "exec $fd>&-" 2>/dev/null || true; fi
    done
    cd /
    exec setsid nohup dockerd </dev/null >>"$DOCKERD_LOG" 2>&1
  ) &
}

# After a hard stop the number in a pid file may belong to another program by now; the engine would then refuse to start.
forget_dead_pid() {
  local file=$1 program=$2 pid
  [ -f "$file" ] || return 0
  pid=$(cat "$file" 2>/dev/null || true)
  if [ -z "$pid" ] || [ "$(cat "/proc/$pid/comm" 2>/dev/null || true)" != "$program" ]; then
    say "  docker: removing $file, left by a $program that is gone"
    rm -f "$file"
  fi
}

# Kernels without nf_tables need the older iptables; the engine cannot make its networks otherwise.
prefer_working_iptables() {
  if has iptables && ! iptables -nL >/dev/null 2>&1 && has iptables-legacy && iptables-legacy -nL >/dev/null 2>&1; then
    say "  docker: this kernel has no nf_tables; choosing iptables-legacy"
    update-alternatives --set iptables "$(command -v iptables-legacy)" >/dev/null
  fi
}

wait_for_engine() {
  local tries=0
  until engine_version >/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 120 ]; then engine_did_not_start; fi
    sleep 0.5
  done
  done_with docker "engine $(engine_version) runs"
}

engine_did_not_start() {
  if has_systemd; then journalctl -u docker -n 15 --no-pager >&2 || true
  else tail -n 15 "$DOCKERD_LOG" >&2 || true; fi
  fail "The Docker engine did not start within 60 s; its last log lines are above."
}
