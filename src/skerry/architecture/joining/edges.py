"""Who reaches whom: calls by URL, variable, stub or name, and messages from those who send to those who take."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from skerry.architecture.code.facts import Call, Code, Kind, Message, Role
from skerry.architecture.joining import addresses, images
from skerry.architecture.joining.routed import routed
from skerry.architecture.joining.services import Found
from skerry.architecture.manifests import Manifests
from skerry.architecture.model import Edge, Evidence, Observed, Source, SystemModel

_ASIDE: Final = frozenset({Role.TEST, Role.EXAMPLE, Role.GENERATED})
_REMOTE: Final = frozenset({Kind.HTTP, Kind.GRPC, Kind.RPC})
_ENDINGS: Final = re.compile(
    r"_?(?:(?:BASE|ROOT|INTERNAL|API|GRPC|HTTP|REST)_?)*(?:SERVICE|SVC)?_?(?:(?:BASE|ROOT|INTERNAL|API|GRPC|HTTP|REST)_?)*"
    r"(?:URL|URI|HOST(?:NAME)?|ADDR(?:ESS)?|ENDPOINT|PORT|TARGET|SERVICE|SVC|SERVER)$",
    re.IGNORECASE,
)
_CLIENTS: Final = re.compile(r"(?:Api|API|Http|HTTP|Rest|Service|Async)*(?:Client|Gateway|Proxy|Adapter|Api|API)$")
"""What a class that asks another service is called after that service's name."""
_INTERNAL: Final = frozenset({"cluster", "consul", "internal", "intranet", "lan", "local", "localdomain", "mesh"})
"""Last parts of hosts that no public name has."""
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "host.docker.internal"})  # noqa: S104 - addresses that are read, not bound


@dataclass(slots=True)
class _Draft:
    protocol: str
    calls: list[Call] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    evidence: dict[tuple[str, object], Evidence] = field(default_factory=dict)
    observed: Observed | None = None


class Edges:
    """The edges of a system, as they are found."""

    def __init__(self, found: Found, code: Code, manifests: Manifests) -> None:
        self.externals: set[str] = set()
        self._found = found
        self.routed: dict[str, tuple[Call, ...]]
        self.unknown: list[Evidence]
        self.routed, self.unknown = routed(found, manifests)
        self._code = code
        self._owner = SystemModel(services=found.services).service_of
        self._drafts: dict[tuple[str, str, bool, str], _Draft] = {}
        self._names = self._spellings()
        self._parts: dict[str, set[str]] | None = None
        self._namespaces = {system for system, _ in found.hosts} | {"default"}
        self._protos = [each.name for each in manifests.interfaces if each.kind == "proto"]

    def read(self) -> None:
        """From declarations, calls and messages."""
        self._declared()
        for call in self._code.calls:
            caller = self._owner(call.place.file) if call.kind in _REMOTE and call.role not in _ASIDE else None
            if caller is not None:
                self._call(caller, call, Source.CODE)
        for caller, calls in self.routed.items():
            for call in calls:
                self._call(caller, call, Source.SPEC)
        self._messages()

    def add(
        self, caller: str, callee: str, evidence: Evidence, *, waits: bool, protocol: str, topic: str = ""
    ) -> _Draft:
        """Note one more reason for an edge."""
        draft = self._drafts.setdefault((caller, callee, waits, topic), _Draft(protocol))
        draft.evidence.setdefault((evidence.text, evidence.place), evidence)
        return draft

    def edges(self) -> tuple[Edge, ...]:
        """All of them, sorted."""
        return tuple(
            Edge(
                caller=caller,
                callee=callee,
                waits=waits,
                protocol=draft.protocol,
                topic=topic,
                calls=tuple(draft.calls),
                messages=tuple(draft.messages),
                observed=draft.observed,
                evidence=tuple(draft.evidence.values()),
            )
            for (caller, callee, waits, topic), draft in sorted(self._drafts.items())
        )

    def named(self, name: str) -> str | None:
        """The one service that a name means, spelt this way or that."""
        if name in self._found.services:
            return name
        for spelling in (images.bare(name), images.singular(images.bare(name))):
            known = self._names.get(spelling, set())
            if len(known) == 1:
                return next(iter(known))
        return None

    def _spellings(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for (_, host), service in self._found.hosts.items():
            found[images.bare(host)].add(service)
            found[images.singular(images.bare(host))].add(service)
        for service in self._found.services:
            found[images.bare(service)].add(service)
            found[images.singular(images.bare(service))].add(service)
        return found

    def _declared(self) -> None:
        """What a skerry.toml says."""
        for name, deployed in self._found.deployed.items():
            for each in deployed:
                place = each.workload.place
                for callee in each.calls:
                    other = self._found.hosts.get((each.system, callee.lower()))
                    if other and other != name:
                        text = f"{each.workload.name} is declared to call {callee}"
                        self.add(name, other, Evidence(text, Source.SPEC, place), waits=True, protocol="http")
                for topic in each.publishes:
                    for taker, others in self._found.deployed.items():
                        for other_one in others:
                            if other_one.system == each.system and topic in other_one.subscribes and taker != name:
                                text = f"{topic} goes from {name} to {taker}"
                                evidence = Evidence(text, Source.SPEC, place)
                                self.add(name, taker, evidence, waits=False, protocol="event", topic=topic)

    def _call(self, caller: str, call: Call, source: Source) -> None:
        callee, how = self._callee(caller, call)
        if callee is None:
            if how:
                self.externals.add(how)
            elif call.target.variables:
                text = f"{caller}: where {call.target.variables[0]} leads is not said in any manifest"
                self.unknown.append(Evidence(text, Source.CODE, call.place))
            return
        if callee == caller:
            return
        what = f"{call.operation} {call.path}".strip()
        text = f"{call.function or 'the module'} calls {callee}: {what} ({how})"
        draft = self.add(caller, callee, Evidence(text, source, call.place), waits=True, protocol=call.kind.value)
        draft.calls.append(call)
        if call.kind is not Kind.HTTP:
            draft.protocol = call.kind.value

    def _callee(self, caller: str, call: Call) -> tuple[str | None, str]:
        """The service that a call goes to and how it is known; or None and the host that is outside."""
        target = call.target
        if target.service:
            found = self.named(target.service) or self.named(
                re.sub(r"(?:Service)?(?:Async)?(?:Stub|Rpc|Proxy|Client)$", "", target.service)
            )
            if found:
                return found, f"by its name {target.service}"
        variables = self._made_of(caller, target.variables)
        for variable in variables:
            found, how = self._variable(caller, variable)
            if found or how:
                return found, how
        if target.url:
            found, how = self._address(caller, target.url)
            if found or how:
                return found, how
        # a name is a guess: it counts only where no manifest says another address and the code has no other default
        for variable in variables:
            by_name = self.named(_ENDINGS.sub("", variable)) if _ENDINGS.search(variable) else None
            if by_name and by_name != caller:
                return by_name, f"by the name of {variable}"
        return self._by_class(caller, call) if not variables and target.url.startswith("{}") else (None, "")

    def _by_class(self, caller: str, call: Call) -> tuple[str | None, str]:
        """The service that a `StockClient` asks whose address it is given, where that service answers such paths."""
        owner = call.function.rpartition(".")[0].rpartition(".")[2]
        found = self.named(_CLIENTS.sub("", owner)) if _CLIENTS.search(owner) else None
        first = next((part for part in call.path.split("/") if part and "{" not in part), "")
        if found is None or found == caller or first not in self._answered().get(found, {first}):
            return None, ""
        return found, f"by the name of {owner}"

    def _answered(self) -> dict[str, set[str]]:
        """By service, the parts of all paths that it answers."""
        if self._parts is None:
            self._parts = {}
            for route in self._code.routes:
                owner = self._owner(route.place.file) if route.kind is Kind.HTTP and route.path else None
                if owner:
                    self._parts.setdefault(owner, set()).update(route.path.split("/"))
        return self._parts

    def _made_of(self, caller: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Variables and settings, with the variables that the caller makes those settings from."""
        found = dict.fromkeys(names)
        for name in names:
            for file, variables in self._code.settings.get(name, ()):
                if self._owner(file) == caller:
                    found.update(dict.fromkeys(variables))
        return tuple(found)

    def _variable(self, caller: str, variable: str) -> tuple[str | None, str]:
        """The service that a variable of the caller leads to, or the host outside that a manifest gives it."""
        outside = ""
        for each in self._found.deployed.get(caller, []):
            setting = each.workload.env.get(variable)
            if setting and setting.value:
                found, how = self._address(caller, setting.value)
                if found:
                    return found, f"by {variable} in {setting.place}"
                host = addresses.host_of(setting.value) if "://" in setting.value else None
                outside = outside or how or (host[0] if host and host[0] not in _LOCAL else "")
        return None, outside

    def _address(self, caller: str, text: str) -> tuple[str | None, str]:
        found = addresses.host_of(text.replace("{}", "0") if not text.startswith("{}") else "")
        if found is None:
            return None, ""
        host, port = found
        if host in _LOCAL:
            others = self._found.ports.get(port, set()) - {caller}
            return (next(iter(others)), f"by port {port}") if len(others) == 1 else (None, "")
        names = [host, host.partition(".")[0]] if self._inside(host) else [host]
        service = self._by_host(caller, names)
        if service:
            return service, f"by the host {host}"
        if any(name == host for _, name in self._found.stores):
            return None, ""
        return None, host if "." in host else ""

    def _inside(self, host: str) -> bool:
        """Whether the first part of a host is a service's name: in a cluster, not on the internet, where `api.` is anybody's."""
        _, *rest = host.split(".")
        return bool(rest) and (
            rest[-1] in _INTERNAL or (len(rest) == 1 and rest[0] in self._namespaces) or "svc" in rest
        )

    def _by_host(self, caller: str, names: list[str]) -> str | None:
        """Within the caller's own system first, then wherever the name is the only one."""
        for each in self._found.deployed.get(caller, []):
            for name in names:
                service = self._found.hosts.get((each.system, name))
                if service:
                    return service
        for name in names:
            known = {service for (_, other), service in self._found.hosts.items() if other == name}
            if len(known) == 1:
                return next(iter(known))
        return None if self._found.hosts or len(names) > 1 or "." in names[0] else self.named(names[0])

    def _messages(self) -> None:
        sent: dict[str, list[tuple[str, Message]]] = defaultdict(list)
        taken: dict[str, list[tuple[str, Message]]] = defaultdict(list)
        for message in self._code.messages:
            owner = self._owner(message.place.file)
            if owner and message.topic and message.role not in _ASIDE:
                (sent if message.sends else taken)[message.topic].append((owner, message))
        for topic, senders in sent.items():
            for producer, message in senders:
                for consumer, other in taken.get(topic, []):
                    if consumer == producer:
                        continue
                    text = f"{producer} sends {topic}, {consumer} takes it"
                    evidence = Evidence(text, Source.CODE, message.place)
                    name = self._declared_topic(producer, consumer, topic)
                    draft = self.add(producer, consumer, evidence, waits=False, protocol=message.library, topic=name)
                    draft.evidence.setdefault((text, other.place), Evidence(text, Source.CODE, other.place))
                    draft.messages += [each for each in (message, other) if each not in draft.messages]

    def _declared_topic(self, producer: str, consumer: str, topic: str) -> str:
        """`shop.order.confirmed` for the class `OrderConfirmed`, where a skerry.toml declares it."""
        wanted = re.sub(r"\W", "", topic).lower()
        for caller, callee, waits, declared in self._drafts:
            same = (caller, callee, waits) == (producer, consumer, False)
            if same and re.sub(r"\W", "", declared).lower().endswith(wanted):
                return declared
        return topic
