#!/bin/sh
# Writes the database and the reports of a running deployment into a new folder: `make backup`, from the top folder.
set -eu
umask 077
folder=${1:-backups/$(date -u +%Y-%m-%dT%H%M%SZ)}
[ ! -e "$folder" ] || { echo "Error: $folder is there already; name another folder" >&2; exit 2; }
[ -n "$(docker compose ps --status running --quiet db)" ] || { echo "Error: the database does not run; start it: docker compose up -d db" >&2; exit 1; }
mkdir -p "$folder.part"
trap 'rm -rf "$folder.part"' EXIT
# One snapshot, while studies go on: what they write later is trained again after a restore.
docker compose exec -T db pg_dump -U postgres -d adai --format=custom --no-owner --no-acl > "$folder.part/database.dump"
# 1: a report was written meanwhile; there may be a part of it, and the whole can be written again.
tar -cf "$folder.part/reports.tar" reports specs || [ $? -eq 1 ]
mv "$folder.part" "$folder"
trap - EXIT
echo "$folder: $(du -sh "$folder" | cut -f1). Secrets are not in it: a restore works with new ones."
