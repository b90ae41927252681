# What git must not know: the boxes' passwords, and the CA bundle that builds need behind an intercepting proxy.

setup_secrets() {
  mkdir -p secrets
  chmod 700 secrets
  setup_passwords
  setup_ca_bundle
  hand_over secrets
}

# A file for each box that needs it: the database is not given the key of the app's tokens.
setup_passwords() {
  setup_secret database PGPASSWORD
  setup_secret app JWT_SECRET
  setup_secret redis REDISCLI_AUTH
  setup_secret media MEDIA_PASSWORD
  setup_secret patroni PATRONI_REPLICATION_PASSWORD
  rm -f secrets/boxes.env
}

setup_secret() {
  local file="secrets/$1.env" value=""
  if [ -s "$file" ]; then
    have secrets "$file"
    return
  fi
  # A secret that an older boxes.env has is kept: data and tokens depend on it.
  if [ -s secrets/boxes.env ]; then value=$(sed -n "s/^$2=//p" secrets/boxes.env); fi
  (
    umask 077
    printf '%s=%s\n' "$2" "${value:-$(random_hex)}" >"$file.new"
  )
  mv "$file.new" "$file"
  done_with secrets "$file, $([ -n "$value" ] && echo from secrets/boxes.env || echo made at random)"
}

random_hex() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# The bundle to trust: named by the user, else by the variables that pip and OpenSSL read. Prints its path or nothing.
ca_bundle() {
  local name value
  for name in CA_BUNDLE PIP_CERT SSL_CERT_FILE; do
    value=$(printenv "$name" || true)
    if [ -n "$value" ]; then
      [ -r "$value" ] || fail "$name names $value, which cannot be read. Name a file with certificates (PEM), or unset it."
      printf '%s' "$value"
      return
    fi
  done
}

# The same bundle for the pip of this run.
use_ca_bundle() {
  local found
  found=$(ca_bundle)
  if [ -n "$found" ]; then export PIP_CERT="$found"; fi
}

# An empty file where none is needed: compose refuses a build secret whose file is missing. One found earlier stays
# when this shell does not name any.
setup_ca_bundle() {
  local found
  found=$(ca_bundle)
  if [ -n "$found" ] && ! cmp -s "$found" secrets/ca.pem; then
    cp "$found" secrets/ca.pem.new
    chmod 600 secrets/ca.pem.new
    mv secrets/ca.pem.new secrets/ca.pem
    done_with "CA bundle" "secrets/ca.pem, from $found"
  elif [ ! -e secrets/ca.pem ]; then
    (umask 077 && : >secrets/ca.pem)
    done_with "CA bundle" "none given, none needed (secrets/ca.pem is empty)"
  else
    have "CA bundle" secrets/ca.pem
  fi
}
