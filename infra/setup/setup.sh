#!/usr/bin/env bash
# Installs what is missing for the stages, and nothing else. Each step looks first, so a second run changes
# nothing and one that was interrupted is mended by the next. Runs on the bash 3.2 that macOS ships.
#
#   infra/setup/setup.sh                  all steps
#   infra/setup/setup.sh docker compose   only these (docker, compose, base, venv, secrets)
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for part in common docker compose base venv secrets; do
  # shellcheck source=/dev/null
  . "infra/setup/$part.sh"
done

trap 'say ""; say "Interrupted. Run \"make setup\" again: it goes on from what is there."; kill $(jobs -p) 2>/dev/null; exit 130' INT TERM
trap 'say "setup: stopped at: $BASH_COMMAND" >&2' ERR

main() {
  local step
  for step in ${*:-docker compose base venv secrets}; do
    case "$step" in
      docker | compose | base | venv | secrets) "setup_$step" ;;
      *) fail "There is no step '$step'. Steps: docker compose base venv secrets." ;;
    esac
  done
  finish
}

main "$@"
