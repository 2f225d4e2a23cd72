"""Images and folders that are known by name: databases, brokers, caches, and tools that are no part of a system."""

from __future__ import annotations

import re
from typing import Final

STORES: Final = {
    "cassandra": "cassandra", "clickhouse": "clickhouse", "cockroach": "postgresql", "couchdb": "couchdb",
    "elasticsearch": "elasticsearch", "influxdb": "influxdb", "mariadb": "mysql", "mongo": "mongodb", "mssql": "mssql",
    "mysql": "mysql", "neo4j": "neo4j", "opensearch": "opensearch", "percona": "mysql", "pgvector": "postgresql",
    "postgis": "postgresql", "postgres": "postgresql", "scylla": "cassandra", "timescale": "postgresql",
    "activemq": "amqp", "artemis": "amqp", "kafka": "kafka", "nats": "nats", "pulsar": "pulsar", "rabbit": "amqp",
    "redpanda": "kafka", "zookeeper": "zookeeper", "mosquitto": "mqtt", "emqx": "mqtt",
    "dragonfly": "redis", "keydb": "redis", "memcached": "memcached", "redis": "redis", "valkey": "redis",
    "etcd": "etcd", "minio": "s3", "localstack": "s3",
}  # fmt: skip
"""A part of an image's name, to the kind of store that it is."""
PASSING: Final = frozenset(
    {
        "amqp",
        "elasticsearch",
        "etcd",
        "kafka",
        "memcached",
        "mqtt",
        "nats",
        "opensearch",
        "pulsar",
        "redis",
        "s3",
        "zookeeper",
    }
)
"""Kinds that carry messages, keep copies or index what others own: sharing them is not sharing data."""
_TOOLS: Final = re.compile(
    r"adminer|alertmanager|apicurio|blackbox|busybox|cadvisor|certbot|cloud-sdk|collector|consul|curl|exporter|flagd|"
    r"fluent|grafana|jaeger|kibana|keycloak|kong|kowl|localstack|locust|logstash|loki|mailhog|mailpit|metabase|"
    r"mongo-express|newrelic|otel|pgadmin|pgbouncer|pgpool|phpmyadmin|portainer|prometheus|promtail|registry|"
    r"schema-registry|selenium|sentry|sonarqube|statsd|superset|swagger-ui|tempo|traefik|vault|wait-for|zipkin"
)
_GATEWAY: Final = re.compile(
    r"(?:^|[-_])(?:api-?gateway|gateway|gw|edge|ingress|nginx|envoy|frontend-proxy|reverse-?proxy|bff)(?:$|[-_])"
)
_PROXIES: Final = re.compile(r"^(?:nginx|nginx-unprivileged|haproxy|envoy|traefik|caddy|httpd|openresty)$")
_FRONTEND: Final = re.compile(r"(?:^|[-_])(?:frontend|front-end|web-?ui|ui|client|webapp|spa)(?:$|[-_])")
_JOB: Final = re.compile(
    r"migrat|(?:^|[-_])(?:init|seed|seeder|populate|load-?gen(?:erator)?|loadtest|locust|e2e|tests?|smoke|backup|bootstrap)"
    r"(?:$|[-_.])"
)


def store_kind(image: str) -> str:
    """`postgresql` and the like for the image of a store, else empty. Exporters and consoles of a store are none."""
    name = image.rpartition("/")[2].partition("@")[0].lower()
    name = name.partition(":")[0] or image.rpartition("/")[2]
    if _TOOLS.search(name) or re.search(r"-(?:ui|web|admin|console|commander|insight)\b", name):
        return ""
    return next((kind for part, kind in STORES.items() if part in name), "")


def is_tool(image: str) -> bool:
    """Whether an image is a product that systems use, and no part of one."""
    return bool(_TOOLS.search(image.rpartition("/")[2].partition(":")[0].lower()))


def is_proxy(image: str) -> bool:
    """Whether an image made from this one passes requests on, or files, and has no code of its own."""
    return bool(_PROXIES.match(image.rpartition("/")[2].partition("@")[0].partition(":")[0].lower()))


def role(name: str, *, python: bool) -> str:
    """What a service is by its name. A Python service called `frontend` serves requests like any other."""
    lowered = name.lower()
    if _JOB.search(lowered):
        return "job"
    if _GATEWAY.search(lowered):
        return "gateway"
    return "frontend" if _FRONTEND.search(lowered) and not python else "service"


def bare(name: str) -> str:
    """A name as others may spell it: without case, dashes and the word service."""
    text = re.sub(r"[^a-z0-9]", "", name.lower())
    for ending in ("microservice", "service", "svc", "server", "api", "app", "srv"):
        if text.endswith(ending) and len(text) > len(ending) + 1:
            text = text.removesuffix(ending)
            break
    return text


def singular(name: str) -> str:
    """`orders` and `order` are one name."""
    return name[:-1] if name.endswith("s") and len(name) > 3 and not name.endswith("ss") else name
