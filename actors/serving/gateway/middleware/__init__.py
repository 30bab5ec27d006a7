"""ASGI middleware around all routes: request id and access log, API keys, body limits, client disconnects."""
