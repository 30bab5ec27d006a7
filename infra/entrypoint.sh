#!/bin/sh
# What the container runs. Without words, and with `serve`, which is what SageMaker says, it is the service; other words
# are a command: docker run IMAGE spanmill answer ...
set -eu

# Runs `spanmill serve`, and leaves its port for the health check. An option goes before the variables, as in the command
# itself; a port that a config file sets is not known here.
serve() {
    port="${SPANMILL_PORT:-${SAGEMAKER_BIND_TO_PORT:-${PORT:-8000}}}"
    before=""
    for word in "$@"; do
        case "$before $word" in
            "--port "*) port="$word" ;;
            *" --port="*) port="${word#--port=}" ;;
        esac
        before="$word"
    done
    echo "$port" > "${TMPDIR:-/tmp}/spanmill-port"
    exec spanmill serve "$@"
}

if [ "$#" -eq 0 ]; then
    serve
elif [ "$#" -eq 1 ] && [ "$1" = serve ]; then
    # SageMaker asks on port 8080, and says so only where several containers share an endpoint.
    export SPANMILL_PORT="${SPANMILL_PORT:-${SAGEMAKER_BIND_TO_PORT:-8080}}"
    serve
elif [ "$#" -ge 2 ] && [ "$1" = spanmill ] && [ "$2" = serve ]; then
    shift 2
    serve "$@"
fi
exec "$@"
