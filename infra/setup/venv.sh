# The Python environment of the host (.venv): the stage commands, the tests and the checks.

LOCK=requirements/dev.txt
INSTALLED=.venv/installed-from.txt  # a copy of the lock file, written last: same content means nothing to do

setup_venv() {
  local python
  if cmp -s "$LOCK" "$INSTALLED" && .venv/bin/python -c '' >/dev/null 2>&1; then
    have .venv "$(.venv/bin/python --version), as locked"
    return
  fi
  python=$(find_python) || { install_python; python=$(find_python) || return 0; }
  doing .venv "$("$python" --version), from $LOCK with hashes, about a minute"
  rm -rf .venv
  "$python" -m venv .venv
  use_ca_bundle
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$LOCK" >.venv/pip.log 2>&1 ||
    { tail -n 5 .venv/pip.log >&2; fail "pip could not install $LOCK. Without network? Behind a proxy that intercepts TLS, give CA_BUNDLE=/path/to/bundle.pem."; }
  cp "$LOCK" "$INSTALLED"
  hand_over .venv
  done_with .venv "$(.venv/bin/python --version)"
}

# The newest Python from 3.11 on that runs and can make an environment; prints its name. A name on the PATH proves
# nothing: version managers put stand-ins there for versions that are not switched on.
find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3; do
    if has "$name" && "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s' "$name"
      return 0
    fi
  done
  return 1
}

install_python() {
  if is_macos; then
    say "  .venv: no Python 3.11 or newer"
    leave_to_user "brew install python@3.13"
  elif uses_apt && is_root; then
    doing .venv "installing python3-venv"
    apt_install python3 python3-venv
    hash -r
    find_python >/dev/null && return
    say "  .venv: this system's python3 is $(python3 --version 2>&1); 3.11 or newer is needed"
    leave_to_user "apt-get update && apt-get install -y python3.11 python3.11-venv    # Ubuntu 22.04; elsewhere as your system has it"
  elif uses_apt; then
    say "  .venv: no Python 3.11 or newer that can make an environment"
    leave_to_user "sudo apt-get update && sudo apt-get install -y python3 python3-venv"
  else
    say "  .venv: no Python 3.11 or newer that can make an environment"
    leave_to_user "# install Python 3.11 or newer with its venv module"
  fi
}
