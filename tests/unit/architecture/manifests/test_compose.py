from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import Memory

from skerry.architecture.manifests import read
from skerry.architecture.manifests.variables import expand
from skerry.architecture.model import Setting

WEB = "services:\n  web:\n    build: ./web\n"


def env(texts: dict[str, str], name: str = "web") -> dict[str, Setting]:
    found = {each.workload.name: each for each in read(Memory(texts)).deployed}
    return dict(found[name].workload.env)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("$A/$B", "1/${B}"),
        ("${B:-2}", "2"),
        ("${E:-2}${E-2}", "2"),
        ("${B:-${C:-3}}", "3"),
        ("${A:+yes}${B:+no}", "yes"),
        ("$$A", "$A"),
        ("${B:?must be set}", "${B}"),
    ],
)
def test_variables_are_replaced_as_compose_does(text: str, expected: str) -> None:
    """Defaults, alternatives and escapes; what has no value stays, so that equal unknowns are equal."""
    assert expand(text, {"A": "1", "E": ""}) == expected


def test_environment_wins_over_env_file_and_dotenv_fills_variables() -> None:
    """`environment` stands above `env_file`; `.env` only gives values to `${NAME}`."""
    found = env(
        {
            "compose.yaml": WEB + "    env_file: [one.env, two.env]\n    environment:\n      A: ${X}\n",
            ".env": "X=dot\nB=unused\n",
            "one.env": "A=file\nC=one\n",
            "two.env": "C=two\n",
        }
    )
    assert {name: setting.value for name, setting in found.items()} == {"A": "dot", "C": "two"}
    assert str(found["C"].place) == "two.env:1"


def test_a_bare_name_takes_its_value_from_dotenv() -> None:
    """`- NAME` without a value is that variable's; without any it is unknown and equal to itself elsewhere."""
    found = env({"compose.yaml": WEB + "    environment: [A, B]\n", ".env": "A=1\n"})
    assert found["A"].value == "1"
    assert found["B"] == Setting(None, found["B"].place, secret="./${B}")


def test_the_plain_file_wins_and_others_add() -> None:
    """Override and production files add variables and services; what the plain file says stays."""
    texts = {
        "docker-compose.yml": WEB + "    environment: {A: plain}\n",
        "docker-compose.override.yml": "services: {web: {environment: {B: over}}}\n",
        "docker-compose-prod.yml": "services: {web: {environment: {A: prod}}, worker: {image: own/web}}\n",
    }
    assert {name: setting.value for name, setting in env(texts).items()} == {"A": "plain", "B": "over"}
    assert {each.workload.name for each in read(Memory(texts)).deployed} == {"web", "worker"}


def test_extends_and_anchors_are_followed() -> None:
    """A service has what it extends, from another file too, and what it merges."""
    texts = {
        "compose.yaml": "x-env: &env {A: merged}\nservices:\n  web:\n    extends: {file: base/common.yml, service: base}\n"
        "    environment:\n      <<: *env\n",
        "base/common.yml": "services: {base: {build: ../web, environment: {B: base}}}\n",
    }
    (web,) = (each for each in read(Memory(texts)).deployed if each.workload.name == "web")
    assert {name: setting.value for name, setting in web.workload.env.items()} == {"A": "merged", "B": "base"}
    assert web.context == "web"


def test_a_service_that_extends_itself_ends() -> None:
    """A cycle of `extends` is followed a bounded number of times."""
    texts = {"compose.yaml": "services: {web: {build: web, extends: {service: web}}}\n"}
    assert [each.workload.name for each in read(Memory(texts)).deployed] == ["web"]


def test_what_cannot_be_read_is_said() -> None:
    """A broken file is listed with its line and nothing is raised."""
    found = read(Memory({"compose.yaml": "services: [\n"}))
    assert [each.file for each in found.unread] == ["compose.yaml"]


def test_the_working_folder_is_beside_the_file_or_the_root() -> None:
    """`$PWD` in a context is the folder that is there; where neither is, it is the one beside the file, and never outside."""
    text = "services:\n  web: {build: $PWD/shop/web}\n  own: {build: '${PWD}/own'}\n  no: {build: $PWD/gone}\n"
    text += "  out: {build: $PWD/../../etc}\n"
    files = {"deploy/compose.yaml": text, "shop/web/app.py": "", "deploy/own/app.py": "", "own/app.py": ""}
    contexts = {each.workload.name: each.context for each in read(Memory(files)).deployed}
    assert contexts == {"web": "shop/web", "own": "deploy/own", "no": "deploy/gone", "out": None}


def test_paths_out_of_the_repository_are_not_followed() -> None:
    """A context or an env_file above the root is nobody's folder."""
    (web,) = read(Memory({"compose.yaml": "services: {web: {build: ../../etc, env_file: /etc/passwd}}\n"})).deployed
    assert web.context is None
    assert not web.workload.env


def test_a_file_is_known_by_what_is_in_it() -> None:
    """Services with images make a Compose file under any name; other YAML with that word does not."""
    texts = {
        "deploy/local.yml": WEB,
        ".github/workflows/ci.yml": WEB,
        "settings.yml": "services:\n  web:\n    timeout: 3\n",
        "pipeline.yml": "jobs:\n  test:\n    services:\n      db:\n        image: postgres\n",
    }
    assert [(each.workload.name, each.system) for each in read(Memory(texts)).deployed] == [("web", "deploy")]
