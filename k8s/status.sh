#!/bin/sh
# One screen of what an overlay has in the cluster: Deployments, autoscalers, budgets, pods by phase, the drain report of
# each that has ended and is still listed, the last events. It reads and changes nothing. Usage: k8s/status.sh OVERLAY
set -eu
cd "$(dirname "$0")"
. ./names.sh

# The last phase that a log names.
last_phase() {
    awk '/"message":"(serving|draining|closing|stopped)/ {
            split($0, part, "\"message\":\"")
            phase = part[2]
            sub(/[":].*/, "", phase)
        }
        END { print phase ? phase : "unknown" }'
}
# The drain report of a log as a line of the screen, or why there is none.
drain_report() { # POD WHY-NONE
    awk -v pod="$1" -v none="$2" '
        function value(key) {
            if (!match($0, "\"" key "\":[^,}]*")) return "none"
            return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3)
        }
        /"message":"stopped"/ {
            text = (value("clean") == "true" ? "clean" : "NOT CLEAN") ": delay " value("delay_ms") " ms, closing " \
                value("closing_ms") " ms; last new connection (ms): " value("last_connection_ms") "; while closing: " \
                value("connections_while_closing") "; aborted: " \
                value("connections_aborted") + value("tasks_aborted") + value("workers_aborted")
        }
        END { printf "  pod/%-46s %s\n", pod, text ? text : "no report: " none }'
}

k get deployments,horizontalpodautoscalers,poddisruptionbudgets -l "app.kubernetes.io/name=$name"

container=".status.containerStatuses[?(@.name==\"$name\")]"
pods=$(k get pods -l "app.kubernetes.io/name=$name" --no-headers -o "custom-columns=\
NAME:.metadata.name,DELETED:.metadata.deletionTimestamp,PHASE:.status.phase,\
READY:.status.conditions[?(@.type==\"Ready\")].status,STARTED:$container.started,RESTARTS:$container.restartCount,\
WHY:$container.lastState.terminated.reason,CODE:$container.lastState.terminated.exitCode,NODE:.spec.nodeName")
phases=
ended=
printf '\n%-52s %-9s %-8s %s\n' POD PHASE RESTARTS NODE
while read -r pod deleted status ready started restarts why code node; do
    [ -n "$pod" ] || continue
    case $deleted,$status,$ready,$started in
    '<none>,Pending,'*) phase=pending ;;
    '<none>,Running,True,'*) phase=serving ;;
    '<none>,Running,'*,true) phase=unready ;;
    '<none>,Running,'*) phase=starting ;;
    *)
        # What follows a signal is near the end of the log.
        log=$(k logs "$pod" -c "$name" --tail=500) || log=
        phase=$(printf '%s\n' "$log" | last_phase)
        case $phase in
        draining | closing) ;;
        *) ended="$ended$(printf '%s\n' "$log" | drain_report "$pod" "pod $status")
" ;;
        esac
        ;;
    esac
    case $restarts in
    0 | '<none>') ;;
    *)
        log=$(k logs "$pod" -c "$name" --previous --tail=500) || log=
        ended="$ended$(printf '%s\n' "$log" | drain_report "$pod, before" "$why, exit code $code")
"
        ;;
    esac
    printf 'pod/%-48s %-9s %-8s %s\n' "$pod" "$phase" "$restarts" "$node"
    phases="$phases$phase
"
done <<END
$pods
END
printf '%s' "$phases" | sort | uniq -c | awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $1, $2 } END { print NR ? "" : "no pods" }'

printf '\nEnded (a pod that is no longer listed has taken its log along):\n%s' "${ended:-  none
}"

events=$(k events)
printf '\n'
printf '%s\n' "$events" | awk 'NR == 1 { print; next } { line[NR] = $0 }
    END { for (n = NR > 11 ? NR - 9 : 2; n <= NR; n++) print line[n] }'
