"""The manifests of the Gateway API (v1, with the experimental parts that are read): each key with its kind. Others are errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from skerry.gateway.model import METHODS
from skerry.gateway.reading.document import Document, Steps
from skerry.gateway.reading.kinds import Definitions, Field, Flag, Kind, ListOf, MapOf, Record, Text, Word, whole
from skerry.gateway.reading.syntax import HEADER_HINT, HEADER_NAME, HOST, HOST_HINT, HOSTNAME, HOSTNAME_HINT

DURATION: Final = Text(r"(?:[0-9]{1,5}(?:ms|h|m|s)){1,4}", "a duration such as 500ms or 1m30s")
NAME: Final = Text(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", "a name of Kubernetes")
GROUP: Final = Text(r"[a-z0-9.-]*", "a group")
KIND: Final = Text(r"[A-Za-z0-9]+", "a kind")
PORT: Final = whole(1, 65535)
_HOSTS: Final = ListOf(Text(HOSTNAME, HOSTNAME_HINT), 64, least=0)
_HEADER: Final = Text(HEADER_NAME, HEADER_HINT)
_PATH: Final = Text(r"/[^\x00-\x20\x7f]*", "a path that begins with a slash", 1024)
_ANY: Final = Text(r"[^\x00-\x1f\x7f]*", "text in one line", 4096)


@dataclass(frozen=True)
class Anything(Kind):
    """What does not matter here: a scalar as it is written, else None."""

    def read(self, node: yaml.Node, at: Steps, document: Document) -> str | None:  # noqa: ARG002 - nothing is refused
        return str(node.value) if isinstance(node, yaml.ScalarNode) else None

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        return {}


@dataclass(frozen=True)
class Unread(Kind):
    """What matters and is not read: always a mistake, for leaving it out would change what is served."""

    why: str

    def read(self, node: yaml.Node, at: Steps, document: Document) -> None:
        document.refuse(f"is not read: {self.why}", at, node)

    def schema(self, defs: Definitions) -> dict[str, Any]:  # noqa: ARG002
        return {"not": {}}


def _object(name: str, spec: Record | Kind) -> Record:
    return Record(
        name,
        {
            "apiVersion": Field(Anything(), required=True),
            "kind": Field(Anything(), required=True),
            "metadata": Field(METADATA, required=True),
            "spec": Field(spec, required=True),
            "status": Field(Anything()),
        },
    )


METADATA: Final = Record(
    "metadata",
    {
        "name": Field(NAME, required=True),
        "namespace": Field(NAME),
        "labels": Field(MapOf(_ANY, 1000, r".{1,400}", "a label", least=0)),
        "creationTimestamp": Field(Anything()),
    },
    loose=True,
)
_PARENT: Final = Record(
    "parentRef",
    {
        "group": Field(GROUP),
        "kind": Field(KIND),
        "namespace": Field(NAME),
        "name": Field(NAME, required=True),
        "sectionName": Field(NAME),
        "port": Field(PORT),
    },
)
_WANTED_HEADER: Final = Record(
    "headerMatch",
    {
        "type": Field(Word(("Exact", "RegularExpression"))),
        "name": Field(_HEADER, required=True),
        "value": Field(_ANY, required=True),
    },
)
_WANTED_QUERY: Final = Record(
    "queryParamMatch",
    {
        "type": Field(Word(("Exact", "RegularExpression"))),
        "name": Field(Text(r"[^\x00-\x1f\x7f&=#]{1,256}", "a parameter's name"), required=True),
        "value": Field(_ANY, required=True),
    },
)
_MATCH: Final = Record(
    "match",
    {
        "path": Field(
            Record(
                "pathMatch",
                {"type": Field(Word(("Exact", "PathPrefix", "RegularExpression"))), "value": Field(_ANY)},
            )
        ),
        "headers": Field(ListOf(_WANTED_HEADER, 16, least=0)),
        "queryParams": Field(ListOf(_WANTED_QUERY, 16, least=0)),
        "method": Field(Word(METHODS)),
    },
)
_PAIRS: Final = ListOf(
    Record("header", {"name": Field(_HEADER, required=True), "value": Field(_ANY, required=True)}), 64, least=0
)
_EDIT: Final = Record(
    "headerFilter",
    {"set": Field(_PAIRS), "add": Field(_PAIRS), "remove": Field(ListOf(_HEADER, 64, least=0))},
)
_NEW_PATH: Final = Record(
    "pathModifier",
    {
        "type": Field(Word(("ReplaceFullPath", "ReplacePrefixMatch")), required=True),
        "replaceFullPath": Field(_ANY),
        "replacePrefixMatch": Field(_ANY),
    },
)
_SERVICE: Final = {
    "group": Field(GROUP),
    "kind": Field(KIND),
    "name": Field(NAME, required=True),
    "namespace": Field(NAME),
    "port": Field(PORT),
}
_FILTERS: Final = {
    "requestHeaderModifier": Field(_EDIT),
    "responseHeaderModifier": Field(_EDIT),
    "requestRedirect": Field(
        Record(
            "requestRedirect",
            {
                "scheme": Field(Word(("http", "https"))),
                "hostname": Field(Text(HOST, HOST_HINT)),
                "path": Field(_NEW_PATH),
                "port": Field(PORT),
                "statusCode": Field(Word((301, 302, 303, 307, 308))),
            },
        )
    ),
    "urlRewrite": Field(Record("urlRewrite", {"hostname": Field(Text(HOST, HOST_HINT)), "path": Field(_NEW_PATH)})),
    "requestMirror": Field(
        Record(
            "requestMirror",
            {
                "backendRef": Field(Record("mirrorRef", _SERVICE), required=True),
                "percent": Field(whole(0, 100)),
                "fraction": Field(
                    Record(
                        "fraction",
                        {
                            "numerator": Field(whole(0, 2**31 - 1), required=True),
                            "denominator": Field(whole(1, 2**31 - 1)),
                        },
                    )
                ),
            },
            not_both=(("percent", "fraction"),),
        )
    ),
    "cors": Field(
        Record(
            "cors",
            {
                "allowOrigins": Field(ListOf(_ANY, 64, least=0)),
                "allowCredentials": Field(Flag()),
                "allowMethods": Field(ListOf(Word((*METHODS, "CONNECT", "TRACE", "*")), 9, least=0)),
                "allowHeaders": Field(ListOf(_HEADER, 64, least=0)),
                "exposeHeaders": Field(ListOf(_HEADER, 64, least=0)),
                "maxAge": Field(whole(1, 2**31 - 1)),
            },
        )
    ),
    "extensionRef": Field(Unread("what it means is up to another program")),
    "externalAuth": Field(Unread("another program would decide")),
}
FILTER_TYPES: Final = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "RequestMirror": "requestMirror",
    "CORS": "cors",
    "ExtensionRef": "extensionRef",
    "ExternalAuth": "externalAuth",
}
"""The types of filters, and under which key each keeps what it says."""
_FILTER: Final = Record("filter", {"type": Field(Word(tuple(FILTER_TYPES)), required=True), **_FILTERS})
_RULE: Final = Record(
    "rule",
    {
        "name": Field(NAME),
        "matches": Field(ListOf(_MATCH, 128, least=0)),
        "filters": Field(ListOf(_FILTER, 32, least=0)),
        "backendRefs": Field(
            ListOf(
                Record(
                    "backendRef",
                    {
                        **_SERVICE,
                        "weight": Field(whole(0, 1_000_000)),
                        "filters": Field(ListOf(_FILTER, 32, least=0)),
                    },
                ),
                32,
                least=0,
            )
        ),
        "timeouts": Field(Record("timeouts", {"request": Field(DURATION), "backendRequest": Field(DURATION)})),
        "retry": Field(
            Record(
                "retry",
                {
                    "codes": Field(ListOf(whole(400, 599), 200, least=0)),
                    "attempts": Field(whole(0, 9)),
                    "backoff": Field(DURATION),
                },
            )
        ),
        "sessionPersistence": Field(Unread("a gateway.yaml has 'sticky'")),
    },
    keep_line=True,
)
HTTP_ROUTE: Final = _object(
    "HTTPRoute",
    Record(
        "httpRouteSpec",
        {
            "parentRefs": Field(ListOf(_PARENT, 32)),
            "hostnames": Field(_HOSTS),
            "rules": Field(ListOf(_RULE, 64, least=0)),
            "useDefaultGateways": Field(Unread("say which Gateway is meant in parentRefs")),
        },
    ),
)
_SELECTOR: Final = Record(
    "selector",
    {
        "matchLabels": Field(MapOf(_ANY, 100, r".{1,400}", "a label", least=0)),
        "matchExpressions": Field(Unread("only matchLabels are")),
    },
)
_LISTENER: Final = Record(
    "listener",
    {
        "name": Field(NAME, required=True),
        "hostname": Field(Text(HOSTNAME + "|", HOSTNAME_HINT)),
        "port": Field(PORT, required=True),
        "protocol": Field(Word(("HTTP",)), required=True),
        "tls": Field(Unread("certificates are in Secrets; a gateway.yaml names their files")),
        "allowedRoutes": Field(
            Record(
                "allowedRoutes",
                {
                    "namespaces": Field(
                        Record(
                            "namespaces",
                            {"from": Field(Word(("All", "Same", "Selector", "None"))), "selector": Field(_SELECTOR)},
                        )
                    ),
                    "kinds": Field(
                        ListOf(Record("routeKind", {"group": Field(GROUP), "kind": Field(KIND)}), 8, least=0)
                    ),
                },
            )
        ),
    },
)
GATEWAY: Final = _object(
    "Gateway",
    Record(
        "gatewaySpec",
        {
            "gatewayClassName": Field(Anything()),
            "listeners": Field(ListOf(_LISTENER, 64), required=True),
            "infrastructure": Field(Anything()),
            "addresses": Field(Unread("--address says where to listen")),
            "backendTLS": Field(Unread("a gateway.yaml says services by https and their 'ca'")),
            "tls": Field(Unread("a gateway.yaml has 'tls' for each listener")),
            "allowedListeners": Field(Unread("listeners are those of the Gateway")),
            "defaultScope": Field(Unread("routes name their Gateway in parentRefs")),
        },
    ),
)
GRANT: Final = _object(
    "ReferenceGrant",
    Record(
        "referenceGrantSpec",
        {
            "from": Field(
                ListOf(Record("grantFrom", {"group": Field(GROUP), "kind": Field(KIND), "namespace": Field(NAME)}), 64),
                required=True,
            ),
            "to": Field(
                ListOf(Record("grantTo", {"group": Field(GROUP), "kind": Field(KIND), "name": Field(NAME)}), 64),
                required=True,
            ),
        },
    ),
)
NAMESPACE: Final = Record("Namespace", {"metadata": Field(METADATA, required=True)}, loose=True)
HEAD: Final = Record("object", {"apiVersion": Field(Anything()), "kind": Field(Anything())}, loose=True)
