# Keeps a PostgreSQL cluster for as long as somebody holds standard input open:
#   supervisor FOLDER BINARIES PORT...
# The folder holds the superuser's password, and is removed at the end. Says
# "ready on port N" when the server answers; on any other end, what went wrong.
set -u
dir=$1 bin=$2
shift 2

trap '' PIPE # nobody may be there to listen; the cleaning comes all the same
trap 'exit 1' HUP INT TERM
trap '"$bin/pg_ctl" stop -D "$dir/data" -m immediate >/dev/null 2>&1; rm -rf "$dir"' EXIT

"$bin/initdb" -D "$dir/data" -U deputy --pwfile="$dir/password" -A scram-sha-256 \
  -E UTF8 --locale-provider=icu --icu-locale=en-US --no-sync --no-instructions 2>&1 || exit 1

cat >>"$dir/data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 300
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
SETTINGS

for port; do
  if "$bin/pg_ctl" start -D "$dir/data" -l "$dir/log" -o "-p $port" >/dev/null 2>&1; then
    echo "ready on port $port"
    exec >/dev/null 2>&1
    read -r _
    exit 0
  fi
done
cat "$dir/log"
exit 1
