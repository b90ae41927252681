# What every step uses: messages, the system at hand, and the list of commands left to the user.

BASE_IMAGE=conduit/base:trixie
BASE_SUITE=trixie
MANUAL=""  # commands that this run may not or cannot do itself, one a line

say() { printf '%s\n' "$*"; }
have() { say "  $1: $2 (there already)"; }
doing() { say "  $1: $2 ..."; }
done_with() { say "  $1: $2 (done)"; }
fail() { say "setup: $*" >&2; exit 1; }

# Put a command on the list that is printed at the end, instead of running it.
leave_to_user() { MANUAL="$MANUAL$1"$'\n'; }

finish() {
  if [ -z "$MANUAL" ]; then
    say "Ready. Next: make stage1 up"
    return
  fi
  say ""
  say "Left for you to do, in this order; then run \"make setup\" again:"
  say ""
  printf '%s' "$MANUAL" | sed 's/^/    /'
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }
is_macos() { [ "$(uname -s)" = Darwin ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# Whether version $1 is $2 or newer. Of "20.10.24+dfsg1" the three numbers count; what is no version is not newer.
is_at_least() {
  local version=${1%%[-+~]*} needed=$2 major minor patch part rest
  local needed_major needed_minor needed_patch
  IFS=. read -r major minor patch rest <<<"$version"
  IFS=. read -r needed_major needed_minor needed_patch rest <<<"$needed"
  patch=${patch:-0}
  needed_patch=${needed_patch:-0}
  for part in "$major" "$minor" "$patch"; do
    case "$part" in "" | *[!0-9]*) return 1 ;; esac
  done
  if [ "$major" -ne "$needed_major" ]; then [ "$major" -gt "$needed_major" ]
  elif [ "$minor" -ne "$needed_minor" ]; then [ "$minor" -gt "$needed_minor" ]
  else [ "$patch" -ge "$needed_patch" ]; fi
}

# The distribution: "debian 12", "ubuntu 24.04", ... or "other".
distribution() {
  if [ -r /etc/os-release ]; then
    (. /etc/os-release && printf '%s %s' "${ID:-other}" "${VERSION_ID:-}")
  else
    printf other
  fi
}
is_debian() { case "$(distribution)" in debian*) true ;; *) false ;; esac; }
is_ubuntu() { case "$(distribution)" in ubuntu*) true ;; *) false ;; esac; }
uses_apt() { is_debian || is_ubuntu; }

# With systemd as the init of this machine, not merely installed (containers often have it installed).
has_systemd() { [ -d /run/systemd/system ]; }

# Run a command at most $1 seconds; macOS has no timeout(1).
within() {
  local left=$1 pid
  shift
  "$@" &
  pid=$!
  while kill -0 "$pid" 2>/dev/null && [ "$left" -gt 0 ]; do
    sleep 1
    left=$((left - 1))
  done
  kill "$pid" 2>/dev/null || true
  wait "$pid"
}

APT_UPDATED=""
apt_update() {
  [ -z "$APT_UPDATED" ] || return 0
  # A third-party source that does not answer must not stop what the distribution itself offers.
  apt-get update -qq -o DPkg::Lock::Timeout=120 >/dev/null 2>&1 ||
    say "  apt-get update: not every source answered; going on with those that did"
  APT_UPDATED=yes
}
apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # An installation that was cut off leaves packages half configured, and apt refuses all work until this ran.
  dpkg --configure -a >/dev/null 2>&1 || true
  apt_update
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" >/tmp/conduit-apt.log 2>&1 ||
    { tail -n 15 /tmp/conduit-apt.log >&2; fail "apt-get could not install: $*. The full log is /tmp/conduit-apt.log."; }
}

# Of the packages named, those that this distribution has under that name.
packaged() {
  local name
  for name in "$@"; do
    case "$(apt-cache policy "$name" 2>/dev/null | sed -n 's/^ *Candidate: //p')" in "" | "(none)") ;; *) printf '%s\n' "$name" ;; esac
  done
}

# The mirror that this machine's apt sources name for Debian's main archive, or nothing. Reads both formats.
debian_mirror() { archive_uri '/debian/?$'; }
debian_security_mirror() { archive_uri '/debian-security/?$'; }
archive_uri() {
  is_debian || return 0
  {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true
  } |
    sed -n -e 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' -e 's/^deb[[:space:]]\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' |
    followed | { grep -E "$1" || true; } | head -n 1
}
# Debian's cloud images name a file of mirrors in the place of a mirror; the first of them is taken.
followed() {
  local uri
  while read -r uri; do
    case "$uri" in
      mirror+file:*) sed -e 's/[[:space:]].*//' -e '/^#/d' -e '/^$/d' "/${uri#mirror+file:/}" 2>/dev/null | head -n 1 || true ;;
      *) printf '%s\n' "$uri" ;;
    esac
  done
}

# Files made under sudo belong to the user who called it, who runs everything else.
hand_over() {
  if [ -n "${SUDO_UID:-}" ]; then chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$@"; fi
}
