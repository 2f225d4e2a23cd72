"""The same gateway in four words: a hundred routes, time-outs, retries, a breaker or what comes near it, and an access log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROUTES = 100
SERVICE_PATH = "/route-57/items"
"""Neither the first nor the last of them."""
BODY = json.dumps({"items": ["x" * 60 for _ in range(16)]}).encode()[:1023] + b"}"


def upstream_of_nginx(folder: Path, port: int) -> str:
    """1 KiB of JSON for any path, and how many requests there were."""
    return f"""{_nginx_head(folder)}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000;
  client_max_body_size 0;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /-/count {{ stub_status; }}
    location / {{ return 200 '{BODY.decode()}'; }}
  }}
}}
"""


def nginx(folder: Path, port: int, upstream: int) -> str:
    locations = "\n".join(f"    location /route-{number}/ {{ proxy_pass http://up; }}" for number in range(ROUTES))
    return f"""{_nginx_head(folder)}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000;
  upstream up {{
    server 127.0.0.1:{upstream} max_fails=5 fail_timeout=5s; keepalive 128; keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_connect_timeout 1s; proxy_read_timeout 2s;
    proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 3;
{locations}
  }}
}}
"""


def _nginx_head(folder: Path) -> str:
    return f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
worker_rlimit_nofile 10000; events {{ worker_connections 4096; }}"""


def envoy(folder: Path, port: int, upstream: int) -> str:
    policy = {"retry_on": "5xx,reset,connect-failure", "num_retries": 2, "per_try_timeout": "2s"}
    action = {"cluster": "up", "timeout": "5s", "retry_policy": policy}
    routes = [{"match": {"path_separated_prefix": f"/route-{number}"}, "route": action} for number in range(ROUTES)]
    log = {"@type": _type("access_loggers.file.v3.FileAccessLog"), "path": str(folder / "access.log")}
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": _type("filters.http.router.v3.Router")}}
    manager = {
        "@type": _type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "access_log": [{"name": "envoy.access_loggers.file", "typed_config": log}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }
    listener = {
        "name": "in",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}],
    }
    cluster = {
        "name": "up",
        "type": "STATIC",
        "connect_timeout": "1s",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": {"consecutive_5xx": 5, "base_ejection_time": "5s", "max_ejection_percent": 100},
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 128, "max_requests": 128, "retry_budget": {"budget_percent": {"value": 20}}}
            ]
        },
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def ours(
    folder: Path, upstream: int, *, jwks: Path | None = None, mark: str = "first", other: int | None = None
) -> str:
    """Written as JSON, which is YAML too. The route `/guarded` wants a token, `/mark` tells which version is in force."""
    routes: list[dict[str, Any]] = [
        {"path": f"/route-{number}", "service": "up", "policy": {"attempts": 3}} for number in range(ROUTES)
    ]
    routes.append({"path": "/mark", "respond": {"status": 200, "body": mark}})
    services = {"up": {"url": f"http://127.0.0.1:{upstream}"}}
    if other is not None:
        services["other"] = {"url": f"http://127.0.0.1:{other}"}
        routes.append({"path": "/other", "service": "other", "policy": {"total": 1.0, "attempt": 0.5}})
    spec: dict[str, Any] = {
        "name": "bench",
        "listeners": [{"name": "http", "port": 8080}],
        "services": services,
        "limits": {"body": 1 << 30, "body_timeout": 30.0},
        "access_log": {"file": str(folder / "access.log")},
        "routes": routes,
    }
    if jwks is not None:
        spec["jwt"] = {"bench": {"issuer": "https://id.test", "audiences": ["bench"], "jwks_file": str(jwks)}}
        routes.append({"path": "/guarded", "service": "up", "policy": {"attempts": 3}, "auth": "bench"})
    return json.dumps(spec)
