"""The embedded stack: processes, ports, Envoy, the state they leave."""
