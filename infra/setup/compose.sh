# Compose v2, new enough for the include of the stage files (why: infra/stage/engine.py). Debian 12 only has v1, so there
# it comes from Debian 13's package, whose plugin is one static program that needs no more than libc6.

COMPOSE_NEEDED=2.20.3
PLUGINS=/usr/local/lib/docker/cli-plugins

setup_compose() {
  local version
  has docker || { say "  compose: waits for docker"; return; }
  if version=$(compose_version) && is_at_least "$version" "$COMPOSE_NEEDED"; then
    have compose "$version"
    return
  fi
  if is_macos; then
    say "  compose: ${version:-missing}; $COMPOSE_NEEDED or newer is needed"
    leave_to_user "brew install docker-compose    # and follow its note on cliPluginsExtraDirs; Docker Desktop brings its own"
    return
  fi
  if ! uses_apt; then
    say "  compose: ${version:-missing}; $COMPOSE_NEEDED or newer is needed"
    leave_to_user "# install the Docker Compose plugin $COMPOSE_NEEDED or newer with your system's packages"
    return
  fi
  if ! is_root; then
    say "  compose: ${version:-missing}; $COMPOSE_NEEDED or newer is needed, and installing it needs root"
    leave_to_user "sudo bash infra/setup/setup.sh compose"
    return
  fi
  doing compose "${version:-missing}; installing $COMPOSE_NEEDED or newer"
  apt_update
  # shellcheck disable=SC2046
  if is_ubuntu; then apt_install docker-compose-v2 $(packaged docker-buildx)
  elif packaged_compose_is_v2; then apt_install docker-compose $(packaged docker-buildx)
  else install_compose_from_next_debian; fi
  version=$(compose_version) && is_at_least "$version" "$COMPOSE_NEEDED" ||
    fail "Compose is still ${version:-missing} after the installation; install the plugin $COMPOSE_NEEDED or newer by hand."
  done_with compose "$version"
}

# Prints nothing and fails where the plugin is missing.
compose_version() { docker compose version --short 2>/dev/null | sed 's/^v//'; }

packaged_compose_is_v2() {
  case "$(apt-cache policy docker-compose 2>/dev/null | sed -n 's/^ *Candidate: //p')" in 2.*) true ;; *) false ;; esac
}

# The package is read with an apt configuration of its own, so that this machine's sources stay as they are, and its
# signature is checked with Debian's keyring as always. Only the plugin is taken out of it.
install_compose_from_next_debian() {
  local work mirror
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || fail "No Debian archive is named in /etc/apt, to take Compose from. Name one there, or install Compose yourself."
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder's name of now is meant
  trap "rm -rf '$work'" EXIT
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$mirror" "$BASE_SUITE" >"$work/sources.list"
  set -- -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/parts" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
  apt-get "$@" -qq update >"$work/log" 2>&1 && (cd "$work" && apt-get "$@" -qq download docker-compose >>log 2>&1) ||
    { tail -n 10 "$work/log" >&2; fail "Debian's package docker-compose ($BASE_SUITE) could not be downloaded."; }
  dpkg-deb -x "$work"/docker-compose_*.deb "$work/files"
  mkdir -p "$PLUGINS"
  # Copied beside its place and then renamed, so that an interruption leaves no half plugin.
  install -m 0755 "$work/files/usr/libexec/docker/cli-plugins/docker-compose" "$PLUGINS/.docker-compose.new"
  mv "$PLUGINS/.docker-compose.new" "$PLUGINS/docker-compose"
  rm -rf "$work"
  trap - EXIT
}
