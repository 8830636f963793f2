"""What an OpenTelemetry collector is told of finished requests. Made from their records, on a thread of its own.

`settings` says where to, `spans` and `measures` say what (pure), `export` speaks to the collector, `worker` keeps it away from
requests.
"""
