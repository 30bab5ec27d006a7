#!/bin/sh
# What the container runs. Without words, and with `serve`, which is what SageMaker says, it is the service; other words
# are a command: docker run IMAGE spanmill answer ...
set -eu
if [ "$#" -eq 0 ]; then
    exec spanmill serve
fi
if [ "$#" -eq 1 ] && [ "$1" = serve ]; then
    # SageMaker asks on port 8080, and says so only where several containers share an endpoint.
    export SPANMILL_PORT="${SPANMILL_PORT:-${SAGEMAKER_BIND_TO_PORT:-8080}}"
    exec spanmill serve
fi
exec "$@"
