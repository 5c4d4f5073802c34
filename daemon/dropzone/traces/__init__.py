"""Traces of jobs for OpenTelemetry, where an endpoint is configured; else nothing."""
