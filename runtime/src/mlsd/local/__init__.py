"""The embedded stack: processes, ports, Envoy."""
