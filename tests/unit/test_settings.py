from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.settings import Settings, name_of, variable_for


def test_defaults_are_safe():
    """An empty environment means loopback, info, ten seconds to drain, the working folder."""
    settings = Settings.from_environ({})
    assert (settings.host, settings.port, settings.log_level, settings.drain) == ("127.0.0.1", 8000, "info", 10.0)
    assert (settings.data, settings.supervised, settings.urls) == (Path.cwd(), False, {})


def test_reads_every_variable(tmp_path):
    """Each SKERRY_ variable sets its field."""
    settings = Settings.from_environ(
        {
            "SKERRY_DATA": str(tmp_path),
            "SKERRY_HOST": "0.0.0.0",
            "SKERRY_PORT": "9000",
            "SKERRY_LOG_LEVEL": "DEBUG",
            "SKERRY_SUPERVISED": "1",
            "SKERRY_DRAIN": "3",
            "SKERRY_MIGRATE": "never",
            "SKERRY_URL_ORDER_HISTORY": "http://127.0.0.1:9001",
            "PATH": "/bin",
        }
    )
    assert settings == Settings(
        data=tmp_path.resolve(),
        host="0.0.0.0",
        port=9000,
        log_level="debug",
        supervised=True,
        drain=3.0,
        migrate="never",
        urls={"order-history": "http://127.0.0.1:9001"},
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SKERRY_PORT", "65536"),
        ("SKERRY_PORT", "-1"),
        ("SKERRY_PORT", "٨"),
        ("SKERRY_DRAIN", "1.5"),
        ("SKERRY_LOG_LEVEL", "loud"),
        ("SKERRY_MIGRATE", "sometimes"),
    ],
)
def test_wrong_values_name_the_variable(variable, value):
    """A value out of range is a ConfigurationError that names the variable."""
    with pytest.raises(ConfigurationError, match=variable):
        Settings.from_environ({variable: value})


def test_names_and_variables_are_inverse():
    """The variable of a service's address leads back to its name."""
    assert variable_for("order-history") == "SKERRY_URL_ORDER_HISTORY"
    assert name_of(variable_for("order-history")) == "order-history"
