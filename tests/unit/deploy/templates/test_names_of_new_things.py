"""What a new system or service may be called, and what may be answered."""

from __future__ import annotations

import pytest

from skerry.deploy.templates import read_data
from skerry.deploy.templates.answers import check_description, check_port, check_route
from skerry.deploy.templates.names import check_service, check_system, package_of
from skerry.errors import ConfigurationError

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "a b",
    "Ünï",
    "Demo",
    "-rf",
    "--help",
    "a-",
    "9to5",
    "a" * 41,
    "a" * 200,
]
HOSTILE += ["a\nb", "a\x00b", "a.b", "a_b", "a--b", "{{ 7 * 7 }}", "$(id)", "~", "con:", "\uff41"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_not_safe_is_refused_with_the_rule(name: str) -> None:
    """No path, no option, no template and no letter outside a-z gets further; the message has the rule and stays on a line."""
    for check in (check_system, check_service):
        with pytest.raises(
            ConfigurationError, match=r"is no name for a .*lower-case letters, digits and hyphens"
        ) as refused:
            check(name)
        assert len(str(refused.value)) < 250
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["class", "import", "lambda"])
def test_a_word_of_pythons_is_refused(name: str) -> None:
    """A keyword cannot be a package, and would be no part of anything else for long."""
    for check in (check_system, check_service):
        with pytest.raises(ConfigurationError, match="a word of Python's own"):
            check(name)


@pytest.mark.parametrize("name", ["json", "email", "skerry", "fastapi", "pytest"])
def test_a_service_does_not_take_the_place_of_a_module(name: str) -> None:
    """A package that would be found instead of one of Python's, or of an installed one, is refused."""
    with pytest.raises(ConfigurationError, match=f"Python has a module {name} already"):
        check_service(name)


@pytest.mark.parametrize("name", ["gateway", "tests", "var"])
def test_a_reserved_name_is_refused_with_what_it_stands_for(name: str) -> None:
    """What means something else in a system is no service."""
    with pytest.raises(ConfigurationError, match="it stands for"):
        check_service(name)


def test_a_name_that_is_taken_is_refused_also_under_another_spelling() -> None:
    """Two services cannot have one package."""
    assert package_of("stock-room") == "stock_room"
    with pytest.raises(ConfigurationError, match='there is a service "stock-room" in this system already'):
        check_service("stock-room", ["notes", "stock-room"])


@pytest.mark.parametrize("name", ["a", "demo", "stock-room", "x2", "a" * 40])
def test_a_plain_name_is_taken(name: str) -> None:
    """Letters, digits and single hyphens, up to forty."""
    assert check_system(name) == name
    assert check_service(name, ["notes"]) == name


def test_data_is_read_and_unknown_answers_are_refused() -> None:
    """NAME=VALUE, where the value may have an equals sign; a typo gets a suggestion."""
    assert read_data(["port=1", "description=a=b"], ["port", "description"]) == {"port": "1", "description": "a=b"}
    for wrong, message in [("port", "not NAME=VALUE"), ("prt=1", 'did you mean "port"')]:
        with pytest.raises(ConfigurationError, match=message):
            read_data([wrong], ["port", "description"])
    with pytest.raises(ConfigurationError, match="there twice"):
        read_data(["port=1", "port=2"], ["port"])


@pytest.mark.parametrize(
    "text", ["", " ", ".", 'say "x"', "a\\b", "two\nlines", "{{ 7*7 }}", "{% raw %}", "a" * 101, "\x1b[2J"]
)
def test_a_description_that_would_break_what_it_is_put_into_is_refused(text: str) -> None:
    """It stands in TOML, in a docstring and on a page."""
    with pytest.raises(ConfigurationError, match="description"):
        check_description(text)


def test_a_description_loses_its_full_stop() -> None:
    """The template sets its own."""
    assert check_description(" What we sell, für alle. ") == "What we sell, für alle"


@pytest.mark.parametrize("port", ["", "-1", "65536", "8080a", "٣", "1e3", "999999"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    """From 0 to 65535, in plain digits."""
    with pytest.raises(ConfigurationError, match="is no port"):
        check_port(port)
    assert (check_port("0"), check_port(65535)) == (0, 65535)


@pytest.mark.parametrize("path", ["api", "/", "/api/", "//x", "/a b", "/../x", "/A", "/x?y", "/{id}", "/" + "a" * 200])
def test_a_route_that_is_no_plain_path_is_refused(path: str) -> None:
    """A path of plain parts, or none at all."""
    with pytest.raises(ConfigurationError, match="is no path for a route"):
        check_route(path)
    assert (check_route(""), check_route("/api/stock")) == ("", "/api/stock")
