"""What one Python file says, and what all of them say together.

`FileFacts` come from one file alone, so they can be kept by its content. `Code` is what is left when the files are held
beside each other: a client's time-out that is set in another module is then known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from skerry.architecture.source import Place, Skipped


class Role(StrEnum):
    """When code runs; rules weigh what a request has to wait for more than the rest."""

    REQUEST = "request"
    JOB = "job"
    """A worker, a consumer, a scheduled task."""
    SCRIPT = "script"
    """A command that a person runs, such as `manage.py` or `scripts/load.py`."""
    MIGRATION = "migration"
    TEST = "test"
    EXAMPLE = "example"
    GENERATED = "generated"


class Kind(StrEnum):
    """What is on the other side of a call."""

    HTTP = "http"
    GRPC = "grpc"
    RPC = "rpc"
    """A message and the wait for its answer: nameko, a reply queue, a Celery result."""
    DATABASE = "database"
    CACHE = "cache"
    BROKER = "broker"
    SOCKET = "socket"


class Bound(StrEnum):
    """Whether a call ends by itself when nobody answers."""

    BOUNDED = "bounded"
    DEFAULT = "default"
    """By what the library does when it is told nothing."""
    UNBOUNDED = "unbounded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long a call may take, with the place that says so."""

    bound: Bound
    seconds: float | None = None
    why: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a call goes to, as far as the code says.

    `url` has `{}` for what is not known; `variables` are the environment variables and settings that it is made of, the host
    first; `service` is a name that stands for a service by itself, as in `service.client("payment")` or a stub `PaymentStub`.
    """

    url: str = ""
    variables: tuple[str, ...] = ()
    service: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """What surrounds a call: a breaker, a retry."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Loop:
    """The loop that a call is repeated by, at the line within it that asks.

    `over`: items (each with a call of its own), pages, attempts, polls, fixed (a few that the code lists), misses (what a local
    copy lacks).
    """

    place: Place
    over: str
    varies: bool
    """Whether what is asked depends on the loop's variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One place in the code that waits for somebody else."""

    place: Place
    function: str
    """Qualified, `Class.method` or `function`; `` for the module itself."""
    library: str
    kind: Kind
    operation: str
    """`GET`, `POST`, the name of the remote procedure, `execute`."""
    target: Target = Target()
    path: str = ""
    """The path of the URL, with `{}` for what varies."""
    timeout: Timeout = Timeout(Bound.UNKNOWN)
    breaker: Guard | None = None
    retry: Guard | None = None
    loop: Loop | None = None
    repeated: tuple[Loop, ...] = ()
    """Loops through items around the calls of the function that it stands in; each at the line that calls it."""
    writes: bool = False
    """Whether it changes something over there."""
    role: Role = Role.REQUEST
    text: str = ""
    """The call as it stands, on one line, at most 120 characters, without literals that look like secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Something the code answers: an HTTP route, a gRPC or RPC method, a handler of messages."""

    place: Place
    function: str
    kind: Kind
    method: str = ""
    path: str = ""
    """With `{}` for parameters."""
    router: str = ""
    """The name of what it is registered with in its file, where that can be put below a path elsewhere."""
    prefix: str = ""
    """What of the path is its router's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that is sent or taken without waiting for an answer."""

    place: Place
    function: str
    topic: str
    """Empty when the code does not say."""
    library: str
    sends: bool
    role: Role = Role.REQUEST


@dataclass(frozen=True, slots=True)
class ForeignKey:
    table: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that the code maps or makes: a model, a migration, SQL."""

    name: str
    place: Place
    model: str = ""
    keys: tuple[ForeignKey, ...] = ()
    abstract: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUse:
    """A statement or an ORM call that reads or writes a table or a collection."""

    table: str
    """The table, or the model's name where only that is known."""
    place: Place
    function: str
    writes: bool


@dataclass(frozen=True, slots=True)
class Import:
    """A module that is imported; `names` are what is taken from it, `level` the dots before it."""

    module: str
    place: Place
    names: tuple[str, ...] = ()
    level: int = 0
    typing_only: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A state change in the order of the code: `commit`, `remote`, `publish`, `outbox`, `undo`."""

    what: str
    place: Place
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A function, or a saga, that changes state in more than one place."""

    place: Place
    function: str
    changes: tuple[Change, ...]
    missing: tuple[Change, ...]
    """Changes that nothing undoes when a later one fails."""
    saga: bool = False
    role: Role = Role.REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """`# skerry: allow[rule] reason`; it holds for its line, or for the next when it stands alone."""

    place: Place
    rule: str
    reason: str
    lines: tuple[int, int] = (0, 0)
    """First and last line of the statement that it holds for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What all Python files of a repository say together. Every list is in the order of its places."""

    calls: tuple[Call, ...] = ()
    routes: tuple[Route, ...] = ()
    messages: tuple[Message, ...] = ()
    tables: tuple[Table, ...] = ()
    uses: tuple[TableUse, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    imports: Mapping[str, tuple[Import, ...]] = field(default_factory=dict)
    """By file."""
    reaches: Mapping[tuple[str, str], frozenset[tuple[str, str]]] = field(default_factory=dict)
    """(file, function) to the functions that it calls, as far as names tell."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """By file."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """By file; neither blank nor comment."""
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of environment variables, to the files that read them."""
    databases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By file, the MongoDB databases that it opens by their names."""
    settings: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = field(default_factory=dict)
    """Names of settings, to the files that make them and the environment variables that they are made from."""
    allowed: tuple[Allowed, ...] = ()
    unparsed: tuple[Skipped, ...] = ()
    """Files of which something could not be understood."""
