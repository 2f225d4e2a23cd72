"""Turns a group of the neutral table into what a user of the Gateway API would write: a Gateway and HTTPRoutes.

A group has `rules`, or `routes` with rules of their own, and may have `listeners`, which are host names or objects of `name`,
`host` and `port`. Rules that have the same `hostnames` and `listeners` and stand next to each other become one HTTPRoute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any

SERVICE_PORT = 8080
GATEWAY = "conformance"
MOST_RULES = 16
RULE = frozenset({
    "match", "backends", "hostnames", "listeners", "listener", "filters", "redirect", "rewrite", "request_headers",
    "response_headers", "mirror", "mirrors", "timeouts", "retry", "cors", "name", "note", "why",
})  # fmt: skip


class Unknown(ValueError):
    """The table holds a word that this suite does not know: better to stop than to pass over it."""


def manifests(group: Mapping[str, Any], *, port: int) -> str:
    """The documents as text: YAML, for JSON is a part of it."""
    documents = [_gateway(group, port)]
    batches: list[list[Mapping[str, Any]]] = []
    for _, rules in groupby(_all_rules(group), key=_attachment):
        each = list(rules)
        batches += [each[begin : begin + MOST_RULES] for begin in range(0, len(each), MOST_RULES)]
    documents += [_route(f"route-{number:02}", rules) for number, rules in enumerate(batches, 1)]
    return "\n---\n".join(json.dumps(document, indent=1) for document in documents) + "\n"


def _all_rules(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Each with the host names and listeners that it has from its route or group."""
    found = []
    for route in group.get("routes") or [group]:
        shared = {key: holder[key] for holder in (group, route) for key in ("hostnames",) if key in holder}
        shared |= {key: route[key] for key in ("listeners", "listener") if key in route and route is not group}
        found += [{**shared, **rule} for rule in route["rules"]]
    return found


def listener_ports(group: Mapping[str, Any]) -> list[Any]:
    """The ports that the group's listeners ask for, in the table's own words."""
    ports = [each["port"] for each in group.get("listeners", ()) if isinstance(each, Mapping) and "port" in each]
    return list(dict.fromkeys(ports))


def _attachment(rule: Mapping[str, Any]) -> str:
    return json.dumps([rule.get("hostnames"), rule.get("listeners"), rule.get("listener")])


def _gateway(group: Mapping[str, Any], port: int) -> dict[str, Any]:
    listeners = []
    for number, given in enumerate(group.get("listeners") or [{}], 1):
        each = {"host": given} if isinstance(given, str) else dict(given or {})
        listener = {"name": each.get("name", f"listener-{number}"), "port": each.get("port", port), "protocol": "HTTP"}
        if host := each.get("host") or each.get("hostname"):
            listener["hostname"] = host
        listeners.append(listener)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": GATEWAY},
        "spec": {"gatewayClassName": "skerry", "listeners": listeners},
    }


def _route(name: str, rules: list[Mapping[str, Any]]) -> dict[str, Any]:
    first = rules[0]
    sections = first.get("listeners") or ([first["listener"]] if "listener" in first else [])
    parents = [{"name": GATEWAY, "sectionName": section} for section in sections] or [{"name": GATEWAY}]
    spec: dict[str, Any] = {"parentRefs": parents, "rules": [_rule(rule) for rule in rules]}
    if first.get("hostnames"):
        spec["hostnames"] = first["hostnames"]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": spec,
    }


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    if more := set(rule) - RULE:
        raise Unknown(f"a rule has {', '.join(sorted(more))}")
    made: dict[str, Any] = {}
    if rule.get("match"):
        match = rule["match"]
        made["matches"] = [_match(each) for each in ([match] if isinstance(match, Mapping) else match)]
    if filters := _filters(rule):
        made["filters"] = filters
    if "backends" in rule:
        made["backendRefs"] = [_backend(each) for each in rule["backends"]]
    if timeouts := rule.get("timeouts"):
        words = {"request": "request", "backend": "backendRequest", "backend_request": "backendRequest"}
        made["timeouts"] = {_word(words, key, "timeouts"): value for key, value in timeouts.items()}
    if retry := rule.get("retry"):
        made["retry"] = {
            _word({w: w for w in ("codes", "attempts", "backoff")}, k, "retry"): v for k, v in retry.items()
        }
    return made


def _word(words: Mapping[str, str], key: str, where: str) -> str:
    if key not in words:
        raise Unknown(f"{where} has {key}")
    return words[key]


def _match(match: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in match.items():
        if key == "path":
            kinds = {"exact": "Exact", "prefix": "PathPrefix", "regex": "RegularExpression"}
            ((kind, text),) = value.items()
            made["path"] = {"type": _word(kinds, kind, "path"), "value": text}
        elif key == "method":
            made["method"] = value
        elif key in {"headers", "query"}:
            field = "headers" if key == "headers" else "queryParams"
            made[field] = [_value(n, each) for n, each in value.items()] if isinstance(value, Mapping) else value
        else:
            raise Unknown(f"a match has {key}")
    return made


def _value(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, str):
        return {"name": name, "value": value}
    ((kind, text),) = value.items()
    return {"type": _word({"exact": "Exact", "regex": "RegularExpression"}, kind, name), "name": name, "value": text}


def _backend(backend: Mapping[str, Any] | str) -> dict[str, Any]:
    if isinstance(backend, str):
        backend = {"name": backend}
    made: dict[str, Any] = {"name": backend.get("name") or "missing", "port": backend.get("port", SERVICE_PORT)}
    if "weight" in backend:
        made["weight"] = backend["weight"]
    for key in ("kind", "group", "namespace"):
        if key in backend:
            made[key] = backend[key]
    if filters := _filters(backend):
        made["filters"] = filters
    return made


def _filters(holder: Mapping[str, Any]) -> list[dict[str, Any]]:
    filters: list[dict[str, Any]] = []
    for key, kind, field in (
        ("request_headers", "RequestHeaderModifier", "requestHeaderModifier"),
        ("response_headers", "ResponseHeaderModifier", "responseHeaderModifier"),
    ):
        if edit := holder.get(key):
            filters.append({"type": kind, field: _edit(edit)})
    if rewrite := holder.get("rewrite"):
        filters.append({"type": "URLRewrite", "urlRewrite": _new_url(rewrite, host="hostname")})
    if redirect := holder.get("redirect"):
        filters.append({"type": "RequestRedirect", "requestRedirect": _new_url(redirect, host="hostname")})
    mirrors = holder.get("mirror") or holder.get("mirrors") or []
    for mirror in [mirrors] if isinstance(mirrors, Mapping | str) else mirrors:
        each = {"to": mirror} if isinstance(mirror, str) else mirror
        made: dict[str, Any] = {"backendRef": {"name": each.get("to") or each["name"], "port": SERVICE_PORT}}
        made |= {word: each[word] for word in ("percent", "fraction") if word in each}
        filters.append({"type": "RequestMirror", "requestMirror": made})
    if cors := holder.get("cors"):
        filters.append({"type": "CORS", "cors": _cors(cors)})
    return [*filters, *holder.get("filters", ())]


def _cors(cors: Mapping[str, Any]) -> dict[str, Any]:
    words = {
        "origins": "allowOrigins",
        "methods": "allowMethods",
        "headers": "allowHeaders",
        "expose": "exposeHeaders",
        "credentials": "allowCredentials",
        "max_age": "maxAge",
    }
    return {words.get(key, key): value for key, value in cors.items()}


def _edit(edit: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for verb in ("set", "add"):
        if verb in edit:
            made[verb] = [{"name": name, "value": value} for name, value in edit[verb].items()]
    if "remove" in edit:
        made["remove"] = edit["remove"]
    if more := set(edit) - {"set", "add", "remove"}:
        raise Unknown(f"an edit of headers has {', '.join(sorted(more))}")
    return made


def _new_url(given: Mapping[str, Any], *, host: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    flat = {key: value for key, value in given.items() if key != "path"}
    path = given.get("path", {})
    flat |= path if isinstance(path, Mapping) else {"full": path}
    for key, value in flat.items():
        if key == "prefix":
            made["path"] = {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}
        elif key == "full":
            made["path"] = {"type": "ReplaceFullPath", "replaceFullPath": value}
        elif key in {"host", "hostname"}:
            made[host] = value
        elif key in {"status", "status_code", "code"}:
            made["statusCode"] = value
        elif key in {"scheme", "port"}:
            made[key] = value
        else:
            raise Unknown(f"a rewrite or redirect has {key}")
    return made
