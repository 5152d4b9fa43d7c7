"""Where traffic goes: Envoy's route file, replaced in one step and confirmed by Envoy itself."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from mlsd.core.errors import UserError
from mlsd.delivery.edge.buckets import BUCKETS, bucket_regex

Slot = Literal["a", "b"]
ROUTES = "mlsd"
CONFIRM_S = 5.0
WORKERS_S = 0.02  # Envoy's workers follow its main thread within 11 ms (measured, 120 changes)
PATH = "/rank"
READY_PATH = "/readyz"
DESCRIPTION_PATH = "/openapi.json"


@dataclass(frozen=True)
class Traffic:
    """Who gets what: the champion's slot, and a candidate's share of copies (mirror) or of users (canary)."""

    champion: Slot
    candidate: Slot | None = None
    mirror_percent: int = 0
    canary_percent: int = 0
    salt: str = ""

    def __post_init__(self) -> None:
        shares_fit = all(0 <= share <= BUCKETS for share in (self.mirror_percent, self.canary_percent))
        if not shares_fit or self.candidate == self.champion:
            raise ValueError(f"impossible traffic: {self}")
        if self.candidate is None and (self.mirror_percent or self.canary_percent):
            raise ValueError(f"a share for no candidate: {self}")


def _action(cluster: str, timeout_s: float) -> dict[str, Any]:
    """One retry when the connection broke: ranking changes nothing, and a keep-alive connection may close any time."""
    retry = {"retry_on": "connect-failure,refused-stream,reset", "num_retries": 1}
    return {"cluster": cluster, "timeout": f"{timeout_s:.3f}s", "retry_policy": retry}


def _mirror(cluster: str, percent: int) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "runtime_fraction": {"default_value": {"numerator": percent}},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [
            {
                "append": {
                    "header": {"key": "x-mlsd-role", "value": "shadow"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            }
        ],
    }


def route_configuration(traffic: Traffic, timeout_s: float) -> dict[str, Any]:
    """Envoy's RouteConfiguration: the candidate's buckets first, then everyone else."""
    routes: list[dict[str, Any]] = []
    if traffic.candidate and traffic.canary_percent:
        match: dict[str, Any] = {"path": PATH}
        if traffic.canary_percent < BUCKETS:
            regex = {"safe_regex": {"regex": bucket_regex(traffic.canary_percent)}}
            match["headers"] = [{"name": "x-mlsd-bucket", "string_match": regex}]
        routes.append({"match": match, "route": _action(traffic.candidate, timeout_s)})
    rest = _action(traffic.champion, timeout_s)
    if traffic.candidate and traffic.mirror_percent:
        rest["request_mirror_policies"] = [_mirror(f"{traffic.candidate}_shadow", traffic.mirror_percent)]
    routes.append({"match": {"path": PATH}, "route": rest})
    for path in (READY_PATH, DESCRIPTION_PATH):
        routes.append({"match": {"path": path}, "route": _action(traffic.champion, timeout_s)})
    salted = {"filter_metadata": {"envoy.filters.http.lua": {"salt": traffic.salt}}}
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "validate_clusters": True,
        "virtual_hosts": [
            {"name": ROUTES, "domains": ["*"], "routes": [route | {"metadata": salted} for route in routes]}
        ],
    }


class Router:
    """Writes the watched route file of one Envoy and waits until that Envoy has taken it."""

    def __init__(self, folder: Path, admin_url: str, timeout_s: float) -> None:
        self._file = folder / "rds" / "routes.json"
        self._client = httpx.Client(base_url=admin_url, trust_env=False, timeout=2.0)
        self._timeout_s = timeout_s

    def write(self, traffic: Traffic) -> str:
        """Replace the file.

        Returns:
            Its version.
        """
        version = f"{time.time_ns()}"
        # Envoy skips routes that equal those in force, and keeps their version: so the version is part of the routes.
        routes = route_configuration(traffic, self._timeout_s)
        routes["metadata"] = {"filter_metadata": {"mlsd": {"version": version}}}
        content = {"version_info": version, "resources": [routes]}
        self._replace(json.dumps(content, indent=1))
        return version

    def _replace(self, content: str) -> None:
        # Envoy notices a rename into the watched folder, not a write in place.
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.parent.with_name(f"routes.{os.getpid()}")
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(self._file)

    def apply(self, traffic: Traffic) -> None:
        """Change the traffic; on return every new request follows it.

        Raises:
            UserError: Envoy refused the routes (the old ones stay, also in the file) or gave no answer in time.
        """
        before = self._file.read_text(encoding="utf-8") if self._file.exists() else None
        refused = self._rejections()
        version = self.write(traffic)
        deadline = time.monotonic() + CONFIRM_S
        while time.monotonic() < deadline:
            if self._live_version() == version:
                time.sleep(WORKERS_S)
                return
            if self._rejections() > refused:
                self._restore(before)
                raise UserError(f"Envoy refused the routes for {traffic}; the old ones stay. See logs/envoy.log")
            time.sleep(0.005)
        raise UserError(f"Envoy did not take new routes within {CONFIRM_S:g} s; run `mlsd down`, then `mlsd up`")

    def _restore(self, before: str | None) -> None:
        if before is None:
            self._file.unlink()
        else:
            self._replace(before)

    def _get(self, path: str) -> Any:
        try:
            return self._client.get(path).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise UserError(
                f"Envoy's admin page {self._client.base_url} gives no answer ({error}); run `mlsd up`"
            ) from None

    def answers(self) -> bool:
        """Whether Envoy runs."""
        try:
            return self._client.get("/ready").is_success
        except httpx.HTTPError:
            return False

    def _live_version(self) -> str | None:
        for config in self._get("/config_dump?resource=dynamic_route_configs")["configs"]:
            if config.get("route_config", {}).get("name") == ROUTES:
                return str(config.get("version_info"))
        return None

    def _rejections(self) -> int:
        stats = self._get(f"/stats?filter=rds\\.{ROUTES}\\.update_rejected$&format=json")["stats"]
        return sum(int(stat["value"]) for stat in stats)

    def stats(self, pattern: str) -> list[dict[str, Any]]:
        """Envoy's counters, gauges and cumulative histograms whose names match a regex."""
        query = httpx.QueryParams({"filter": pattern, "format": "json", "histogram_buckets": "cumulative"})
        return list(self._get(f"/stats?{query}")["stats"])
