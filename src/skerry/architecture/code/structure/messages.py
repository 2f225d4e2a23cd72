"""Messages that a file sends and takes, by the client libraries of brokers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.facts import Kind, Message, Role, Route
from skerry.architecture.code.structure.walk import Walk, argument, text_of
from skerry.architecture.source import Place


@dataclass(frozen=True, slots=True)
class _Verb:
    libraries: tuple[str, ...]
    sends: bool
    position: int
    names: tuple[str, ...]


_KAFKA: Final = ("kafka", "aiokafka", "confluent_kafka")
_VERBS: Final = {
    "basic_publish": (_Verb(("pika", "aio_pika", "aiormq", "amqp"), True, 1, ("routing_key",)),),
    "basic_consume": (_Verb(("pika", "aio_pika", "aiormq", "amqp"), False, 0, ("queue",)),),
    "produce": (_Verb(("confluent_kafka",), True, 0, ("topic",)),),
    "send": (_Verb(("kafka", "aiokafka"), True, 0, ("topic",)),),
    "send_and_wait": (_Verb(("aiokafka",), True, 0, ("topic",)),),
    "subscribe": (
        _Verb(_KAFKA, False, 0, ("topics", "topic")),
        _Verb(("redis", "aioredis", "nats"), False, 0, ("subject",)),
    ),
    "publish": (
        _Verb(("nats", "redis", "aioredis", "aiobotocore"), True, 0, ("subject", "channel")),
        _Verb(("boto3",), True, -1, ("TopicArn",)),
        _Verb(("kombu", "aio_pika", "pika"), True, 1, ("routing_key",)),
        _Verb(("google.cloud.pubsub", "google.cloud.pubsub_v1", "faststream", "propan"), True, 0, ("topic",)),
    ),
    "xadd": (_Verb(("redis", "aioredis"), True, 0, ("name",)),),
    "xreadgroup": (_Verb(("redis", "aioredis"), False, 2, ("streams",)),),
    "send_message": (_Verb(("boto3",), True, -1, ("QueueUrl",)),),
    "send_task": (_Verb(("celery",), True, 0, ("name",)),),
    "consume": (_Verb(("aio_pika",), False, -1, ("queue",)),),
}
_NO_SENDERS: Final = frozenset(
    ("session", "client", "self", "requests", "httpx", "sock", "socket", "websocket", "ws", "smtp")
)


def read(found: Walk, role: Role, routes: tuple[Route, ...]) -> tuple[Message, ...]:
    """Every message, in the order of the file."""
    libraries = {name.lstrip(".") for name in found.aliases.values()}
    messages = [*_sent(found, role, libraries), *_taken(found, role, routes)]
    return tuple(sorted(messages, key=lambda each: each.place))


def _sent(found: Walk, role: Role, libraries: set[str]) -> Iterator[Message]:
    dispatchers = {name for (_, name), made in found.instances.items() if made.endswith("EventDispatcher")}
    for function, call in found.calls:
        if isinstance(call.func, ast.Attribute):
            yield from _by_verb(found, function, call, role, libraries)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in {"Consumer", "KafkaConsumer", "AIOKafkaConsumer"}:
            library = found.dotted(call.func).partition(".")[0]
            if library in {"kafka", "aiokafka"}:
                for each in call.args:
                    yield _message(found, function, call, _name(found, function, each), library, role, sends=False)
        elif name in dispatchers and call.args:
            yield _message(found, function, call, text_of(call.args[0]) or "", "nameko", role, sends=True)
        elif name in {"record", "record_sync"} and _is_outbox(found, call) and len(call.args) > 1:
            yield _message(found, function, call, _event(found, function, call.args[1]), "skerry", role, sends=True)


def _is_outbox(found: Walk, call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and found.dotted(call.func.value).rpartition(".")[2].endswith("outbox")


def _by_verb(found: Walk, function: str, call: ast.Call, role: Role, libraries: set[str]) -> Iterator[Message]:
    assert isinstance(call.func, ast.Attribute)
    for verb in _VERBS.get(call.func.attr, ()):
        library = next((each for each in verb.libraries if _uses(libraries, each)), None)
        if library is None:
            continue
        owner = found.dotted(call.func.value).rpartition(".")[2].lower()
        if call.func.attr == "send" and (owner in _NO_SENDERS or "produc" not in owner):
            continue
        given = argument(call, verb.position, *verb.names)
        if given is None and library in {"aio_pika", "pika", "kombu"}:
            given = argument(call, -1, "routing_key", "exchange")
        topics = given.elts if isinstance(given, (ast.List, ast.Tuple)) else [given]
        for topic in topics or [None]:
            name = _name(found, function, topic)
            yield _message(found, function, call, name, library.partition(".")[0], role, sends=verb.sends)
        return


def _uses(libraries: set[str], library: str) -> bool:
    return any(each == library or each.startswith(f"{library}.") for each in libraries)


def _taken(found: Walk, role: Role, routes: tuple[Route, ...]) -> Iterator[Message]:
    libraries = {name.lstrip(".").partition(".")[0] for name in found.aliases.values()}
    known = next((each for each in ("nameko", "skerry", "celery", "faststream", "kafka") if each in libraries), "")
    for route in routes:
        if route.kind is Kind.BROKER and (known or route.method == "on"):
            topic, library = route.path, "celery" if route.method == "task" else known or "skerry"
            yield Message(
                place=route.place, function=route.function, topic=topic, library=library, sends=False, role=role
            )


def _message(
    found: Walk, function: str, call: ast.Call, topic: str, library: str, role: Role, *, sends: bool
) -> Message:
    place = Place(found.path, call.lineno)
    return Message(place=place, function=function, topic=topic, library=library, sends=sends, role=role)


def _event(found: Walk, function: str, node: ast.expr) -> str:
    """The class of an event that is made here, or was a few lines above."""
    if isinstance(node, ast.Call):
        return found.dotted(node.func).rpartition(".")[2]
    if isinstance(node, ast.Name):
        return found.instances.get((function, node.id), "").rpartition(".")[2]
    return ""


def _name(found: Walk, function: str, node: ast.expr | None) -> str:
    """A topic that is a text, or a name that was given one in this file."""
    text = text_of(node)
    if text is not None or not isinstance(node, (ast.Name, ast.Attribute)):
        return text or ""
    wanted = node.attr if isinstance(node, ast.Attribute) else node.id
    for scope, value in found.given.get(wanted, ()):
        given = text_of(value) if scope in {"", function, function.rpartition(".")[0]} else None
        if given:
            return given
    return ""
