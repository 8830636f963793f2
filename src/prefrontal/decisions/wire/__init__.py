"""The dialects of decisions, for clients and for upstreams. Pure."""
