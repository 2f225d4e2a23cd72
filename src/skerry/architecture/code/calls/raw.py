"""What one file alone says of its calls: the expressions that matter, as plain values that can be kept by content."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expr:
    """An expression as far as it is followed.

    `op` is `num`, `none`, `bool`, `text` (`name` has `{}` for each of `args`), `name` (dotted), `attr` (`name` of `args[0]`),
    `call` (`args[0]` is called with the others, `keys` are theirs: empty by position, `*`, `**`), `item`, `dict`, `list`, `or`,
    `each` (an element of), `lambda`, `arith` or `other`.
    """

    op: str
    name: str = ""
    args: tuple[Expr, ...] = ()
    keys: tuple[str, ...] = ()
    line: int = 0

    def keyword(self, name: str) -> Expr | None:
        """The argument of a call, or the value of a dict, that is given by this name."""
        values = self.args[1:] if self.op == "call" else self.args
        return next((value for key, value in zip(self.keys, values, strict=False) if key == name), None)

    def positional(self, index: int) -> Expr | None:
        """The argument of a call at a position, where no star stands before it."""
        for at, (key, value) in enumerate(zip(self.keys, self.args[1:], strict=False)):
            if key != "":
                return None
            if at == index:
                return value
        return None

    def given(self, name: str, index: int = -1) -> Expr | None:
        """The argument by its name, else by its position."""
        found = self.keyword(name)
        return found if found is not None or index < 0 else self.positional(index)

    @property
    def spread(self) -> tuple[Expr, ...]:
        """What is passed as `**`."""
        return tuple(value for key, value in zip(self.keys, self.args[1:], strict=False) if key == "**")


@dataclass(frozen=True, slots=True)
class RawParameter:
    """A parameter of a function, `self` and `cls` left out."""

    name: str
    default: Expr | None = None
    annotation: Expr | None = None
    by_name: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFunction:
    """A function; `name` is qualified. `sets` are the values that its body gives to an item or a name `timeout`."""

    name: str
    line: int
    cls: str = ""
    parameters: tuple[RawParameter, ...] = ()
    rest: str = ""
    """The name of `**kwargs`."""
    decorators: tuple[Expr, ...] = ()
    returns: tuple[Expr, ...] = ()
    sets: tuple[Expr, ...] = ()
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class RawClass:
    """A class with what it is made from."""

    name: str
    line: int
    bases: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class RawBind:
    """`name` is given `value` in the function, class or module `scope`; what a method gives to `self` is in its class.

    What is given to an attribute of something else, or to an item with a name, has the scope `*`.
    """

    scope: str
    name: str
    value: Expr
    line: int
    function: str = ""
    """Where it is done."""


@dataclass(frozen=True, slots=True)
class RawLoop:
    """`over` as in `facts.Loop`; `iterated` where it has to be looked up what is gone through."""

    line: int
    over: str
    varies: bool
    iterated: Expr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCall:
    """A call that may leave the process; `within` are the calls that stand around it, the innermost last."""

    expr: Expr
    line: int
    function: str
    cls: str = ""
    within: tuple[Expr, ...] = ()
    loop: RawLoop | None = None
    awaited: bool = False
    by_hand: bool = False
    """Whether it stands where a file is run by itself."""
    likely: bool = False
    """Whether it looks like a call of a library that waits for somebody else."""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBody:
    """Everything of one file that is followed."""

    functions: tuple[RawFunction, ...] = ()
    classes: tuple[RawClass, ...] = ()
    binds: tuple[RawBind, ...] = ()
    calls: tuple[RawCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCalls:
    """What one file says of its calls. Most files are only asked for what is in front; `body` is unpacked when it is needed."""

    imports: tuple[tuple[str, str], ...] = ()
    """Local name, and what it stands for: dotted, with leading dots where it is relative."""
    called: tuple[str, ...] = ()
    """The last names of what it calls."""
    starred: tuple[str, ...] = ()
    """Names of attributes and items that it gives a value to."""
    likely: bool = False
    """Whether one of its calls may leave the process."""
    is_command: bool = False
    """Whether it does something when it is run by itself."""
    body: str = ""
    """A `RawBody` as `source.values` writes it."""
