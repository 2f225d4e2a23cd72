"""Whatever is in a file, reading it ends with a specification or with an error that says where."""

from __future__ import annotations

import random
import re

from gateway_documents import FULL
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.errors import ConfigurationError
from skerry.gateway import reading

WORDS = [
    *(
        "null",
        "true",
        "-1",
        "0",
        "1e999",
        ".nan",
        "''",
        '"\\0"',
        "{}",
        "[]",
        "&a [*a]",
        "*b",
        "<<",
        "? x",
        "2026-01-01",
        "!!binary x",
    ),
    *(
        "{a: b}",
        "[a, b]",
        "/",
        "/%zz",
        "/../x",
        "{regex: '('}",
        "*.a",
        "https://*",
        "9" * 400,
        "\u2028",
        "0x1f",
        "1_0",
        "~",
    ),
]
PLACES = [match.span() for match in re.finditer(r"(?<=[:,\[{] )[^\s,\[\]{}]+", FULL)]


def read(text: str) -> None:
    try:
        told = reading.parse(text).source
    except ConfigurationError as error:
        told = str(error)
    assert told.startswith("<spec>")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_a_value_that_does_not_belong_there_is_an_error_or_fits(seed: int) -> None:
    """A document in which some values are replaced by others never ends in anything but a specification or an error."""
    chosen = random.Random(seed)
    text = FULL
    for begin, end in sorted(chosen.sample(PLACES, chosen.randint(1, 3)), reverse=True):
        text = text[:begin] + chosen.choice(WORDS) + text[end:]
    read(text)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_lines_that_are_gone_or_moved_are_an_error_or_fit(seed: int) -> None:
    """The same for a document whose lines were shuffled about."""
    chosen = random.Random(seed)
    lines = FULL.splitlines(keepends=True)
    for _ in range(chosen.randint(1, 4)):
        line = lines.pop(chosen.randrange(len(lines)))
        if chosen.random() < 0.5:
            lines.insert(chosen.randrange(len(lines)), line)
    read("".join(lines))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_an_error_or_fits(text: str) -> None:
    """The same for a text that is no specification at all."""
    read(text)
