#!/bin/sh
# curl, one process a client: a URL with ten million numbers is so many transfers on one connection. Its pauses are all of one
# length, the mean.
# shellcheck disable=SC2086 # the pause is two numbers
set -- $ROLLOUT_PAUSE_MS
rate=$((120000 / ($1 + $2)))
headers=$(printf '%s' "$ROLLOUT_HEADERS" | sed 's/["\\]/\\&/g; s/.*/header = "&"/')
[ -z "$ROLLOUT_CA" ] || headers="$headers
cacert = \"$ROLLOUT_CA\""
[ -z "$ROLLOUT_INSECURE" ] || headers="$headers
insecure"
case $ROLLOUT_HTTP in 2) version=--http2-prior-knowledge ;; *) version=--http1.1 ;; esac
case $ROLLOUT_URL in *\?*) each="&" ;; *) each="?" ;; esac

# Their standard error is for what they write without a buffer; a line of it goes on as one write.
lines() {
    while read -r line; do printf '%s\n' "$line"; done
}

exec 3<&0
clients=
n=0
while [ "$n" -lt "$ROLLOUT_CLIENTS" ]; do
    n=$((n + 1))
    printf '%s\n' "$headers" | curl --config - --silent --output /dev/null "$version" --noproxy '*' \
        --rate "$rate/m" --max-time "$((ROLLOUT_TIMEOUT_MS / 1000 + 1))" --header 'Content-Type: application/json' \
        --data-raw "$ROLLOUT_BODY" --write-out '%{stderr}%{http_code} %{time_total} %{errormsg}\n' \
        "$ROLLOUT_URL${each}n=[1-10000000]" 2>&1 3<&- | lines 3<&- &
    clients="$clients $!"
done
# The end of the run ends what reads from curl, and so, at its next line, curl.
cat <&3 > /dev/null
# shellcheck disable=SC2086 # a list
kill $clients
