"""Traces of requests and jobs, exported over OTLP where OpenTelemetry's environment variables ask for it."""
