#!/bin/sh
# Puts a backup in the place of the database and of reports of the same names: `make restore FROM=backups/...`.
set -eu
folder=${1:-}
[ -f "$folder/database.dump" ] || { echo "Error: ${folder:-no folder} holds no database.dump; say: make restore FROM=backups/..." >&2; exit 2; }
in_db() { docker compose exec -T db "$@"; }
docker compose stop service dashboard
# Whatever happens, they run again at the end, with the one database or the other.
trap 'docker compose up --detach' EXIT
# The roles, if this is a new deployment; no tables, which may be of another version than those of the backup.
docker compose run --rm --no-TTY migrate roles
# Beside the database first: a backup that cannot be read costs nothing.
in_db dropdb -U postgres --force --if-exists adai_restored
in_db createdb -U postgres -O adai adai_restored
in_db pg_restore -U postgres -d adai_restored --no-owner --no-acl --role=adai --exit-on-error --single-transaction < "$folder/database.dump"
in_db dropdb -U postgres --force --if-exists adai_before
# In one transaction: there is always one of that name.
in_db psql -U postgres -v ON_ERROR_STOP=1 -qtA \
    -c "SELECT FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'adai') AS ended" \
    -c 'BEGIN; ALTER DATABASE adai RENAME TO adai_before; ALTER DATABASE adai_restored RENAME TO adai; COMMIT'
in_db dropdb -U postgres --force adai_before
tar -xf "$folder/reports.tar"
echo "$folder is restored"
