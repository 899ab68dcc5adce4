#!/bin/sh
# Submits a study to a dashboard, waits until it has ended, and downloads its report and its table of runs.
#
#     ADDRESS=https://studies.example TOKEN=adai_... sh run_study.sh my-study.toml
#
# The token needs the role operator; a server (`adai-study serve`) must run somewhere. Needs curl and jq.
set -eu

spec=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# In a file that only its owner reads: every process can see the words of a command.
(umask 077 && printf 'Authorization: Bearer %s\n' "$TOKEN" > "$work/token")

# The body of an answer; of an error, its detail on standard error, and the end of this script.
ask() {
    path=$1
    shift
    if ! curl --silent --show-error --fail-with-body --header "@$work/token" --output "$work/answer" "$@" "$ADDRESS$path"; then
        jq -r '.title, .detail' "$work/answer" >&2 || true
        exit 1
    fi
    cat "$work/answer"
}

jq -n --rawfile toml "$spec" '{toml: $toml}' > "$work/submission"
request=$(ask /v1/studies --header 'Content-Type: application/json' --data "@$work/submission")
id=$(printf '%s' "$request" | jq -r .id)
name=$(printf '%s' "$request" | jq -r .study)

# First the request: a server, or the dashboard itself, takes it.
while :; do
    request=$(ask "/v1/requests/$id")
    case $(printf '%s' "$request" | jq -r .state) in
        done) break ;;
        refused) printf '%s' "$request" | jq -r .message >&2; exit 1 ;;
    esac
    sleep 1
done
printf '%s' "$request" | jq -r .message >&2

# Then the study.
while :; do
    study=$(ask "/v1/studies/$name")
    printf '%s' "$study" | jq -r '"\(.name): \(.state), \(.runs_ended) of \(.runs) runs"' >&2
    case $(printf '%s' "$study" | jq -r .state) in
        completed) break ;;
        failed | cancelled | interrupted) printf '%s' "$study" | jq -r '.error // empty' >&2; exit 1 ;;
    esac
    sleep 5
done

# Then its report, which the server writes when the study has ended.
until ask "/v1/studies/$name" | jq -e '.report != null and .report.is_current' > "$work/is-there"; do
    sleep 2
done

ask "/v1/studies/$name/report.zip" > "$name-report.zip"
ask "/v1/studies/$name/tables/runs.csv" > "$name-runs.csv"
echo "$name-report.zip and $name-runs.csv"
