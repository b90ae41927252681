# The base image of every box: Debian's slim image where it can be pulled, else the same made with debootstrap.

BASE_WORK=/var/tmp/conduit-base  # a fixed place, so that the next run finds and clears what an interrupted one left

setup_base() {
  engine_version >/dev/null 2>&1 || { say "  base image: waits for docker"; return; }
  if docker image inspect "$BASE_IMAGE" >/dev/null 2>&1; then
    have "base image" "$BASE_IMAGE"
    return
  fi
  doing "base image" "pulling debian:$BASE_SUITE-slim"
  if within 180 docker pull -q "debian:$BASE_SUITE-slim" >/dev/null 2>&1; then
    docker tag "debian:$BASE_SUITE-slim" "$BASE_IMAGE"
    done_with "base image" "$BASE_IMAGE, pulled"
    return
  fi
  say "  base image: it cannot be pulled here"
  if ! uses_apt; then
    leave_to_user "docker pull debian:$BASE_SUITE-slim && docker tag debian:$BASE_SUITE-slim $BASE_IMAGE    # where the registry can be reached"
    return
  fi
  if ! is_root; then
    leave_to_user "sudo bash infra/setup/setup.sh base"
    return
  fi
  make_base
}

make_base() {
  has debootstrap || { doing "base image" "installing debootstrap"; apt_install debootstrap; }
  is_debian || apt_install debian-archive-keyring
  clear_base_work
  mkdir -p "$BASE_WORK"
  doing "base image" "making it with debootstrap, about a minute"
  # Without a mirror of this machine's own, debootstrap uses Debian's.
  # shellcheck disable=SC2046
  debootstrap --variant=minbase --include=ca-certificates \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    "$BASE_SUITE" "$BASE_WORK/root" $(debian_mirror) >"$BASE_WORK/log" 2>&1 ||
    { tail -n 15 "$BASE_WORK/log" >&2; fail "debootstrap failed; its full log is $BASE_WORK/log."; }
  slim_base "$BASE_WORK/root"
  # First a name of its own, then a program run in it: only a whole image gets the name that builds use.
  tar -C "$BASE_WORK/root" --one-file-system --exclude=./proc/* --exclude=./sys/* -cf "$BASE_WORK/root.tar" .
  docker import --change 'CMD ["bash"]' "$BASE_WORK/root.tar" conduit/base:unchecked >/dev/null
  docker run --rm --network none conduit/base:unchecked dpkg --audit ||
    fail "The base image was made, but does not run; remove $BASE_WORK and try again."
  docker tag conduit/base:unchecked "$BASE_IMAGE"
  docker rmi conduit/base:unchecked >/dev/null
  clear_base_work
  done_with "base image" "$BASE_IMAGE, made with debootstrap"
}

# What Debian's own slim image leaves out too: package lists, caches, documentation, translations.
slim_base() {
  local root=$1 security
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt
  find "$root/usr/share/doc" -mindepth 1 -not -name copyright -not -type d -delete
  rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/* "$root"/usr/share/lintian
  mkdir -p "$root/etc/dpkg/dpkg.cfg.d" "$root/etc/apt/apt.conf.d"
  cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
END
  printf 'APT::Install-Recommends "0";\nAcquire::Languages "none";\n' >"$root/etc/apt/apt.conf.d/slim"
  security=$(debian_security_mirror)
  if [ -n "$security" ]; then
    printf 'deb %s %s-security main\n' "$security" "$BASE_SUITE" >>"$root/etc/apt/sources.list"
  fi
}

# debootstrap mounts /proc in there; an interrupted one leaves it, and it must not be reached by the removal.
clear_base_work() {
  [ -d "$BASE_WORK" ] || return 0
  awk -v under="$BASE_WORK/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r |
    while read -r mounted; do umount -l "$mounted"; done
  rm -rf --one-file-system "$BASE_WORK"
}
