"""The pytest plugin: `skerry_system`, `faults`, `virtual_clock`.

pytest imports it at every start, so nothing is imported here but pytest. A test that asks for one of these fixtures runs on
virtual time, be it `def` or `async def`, and whatever other plugin would run it: anyio's and asyncio's stand aside for it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from skerry.testing.system import Faults, Stage, System
    from skerry.testing.system.system import Sources
    from skerry.testing.virtual_time import VirtualClock

MARK: Final = "skerry"
_STAGE: Final = pytest.StashKey["Stage"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """--skerry-seed: for all tests that do not name their own."""
    group = parser.getgroup("skerry")
    group.addoption(
        "--skerry-seed",
        type=int,
        default=0,
        metavar="N",
        help="what decides every draw of a system under test (default: 0); a test may name its own by its marker",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line(
        "markers", f"{MARK}(seed=N): the seed of this test's system, instead of that of --skerry-seed"
    )


@pytest.fixture
def skerry_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Stage, None, None]:
    """What a test's system stands on: a loop, a clock, a network and an event log of its own. See `Stage`."""
    from skerry.testing.system import Stage

    mark = request.node.get_closest_marker(MARK)
    ordered = request.config.getoption("--skerry-seed")
    seed = int(mark.kwargs.get("seed", ordered) if mark else ordered)
    with Stage(seed=seed, folder=tmp_path / "skerry", root=request.config.rootpath) as stage:
        request.node.stash[_STAGE] = stage
        yield stage


@pytest.fixture
def skerry_system(skerry_stage: Stage) -> Callable[..., System]:
    """Makes a system of services in this process: `skerry_system(sources, allow=())`. See `System`.

    `sources` is the path of a `skerry.toml`, seen from pytest's root folder; a mapping of names to services; or a list of
    services. A service is `module:attribute`, a function that makes one, or a `Service`.
    """

    def make(sources: Sources, *, allow: Collection[str] = ()) -> System:
        return skerry_stage.system(sources, allow=allow)

    return make


@pytest.fixture
def faults(skerry_stage: Stage) -> Faults:
    """What goes wrong in the system of this test. See `Faults`."""
    return skerry_stage.faults


@pytest.fixture
def virtual_clock(skerry_stage: Stage) -> VirtualClock:
    """The time of this test, which stands still while anything can run. See `VirtualClock`."""
    return skerry_stage.clock


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Run the test on its stage, and check its system when it has passed."""
    stage = pyfuncitem.stash.get(_STAGE, None)
    if stage is None:
        return (yield)
    before = pyfuncitem.obj
    pyfuncitem.obj = _on(stage, before)
    try:
        return (yield)
    finally:
        pyfuncitem.obj = before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed tells what happened in its system."""
    report = yield
    stage = item.stash.get(_STAGE, None)
    if report.when == "call" and report.failed and stage is not None and stage.timeline.entries:
        story = "" if "\ntimeline:\n" in report.longreprtext else stage.timeline.text() + "\n"
        text = f"{story}to repeat: --skerry-seed {stage.seed}"
        report.sections.append(("skerry: what happened", text))
    return report


def _on(stage: Stage, function: Callable[..., Any]) -> Callable[..., Any]:
    """The test as a plain function. What another plugin has wrapped around a coroutine function is taken off again; a decorator
    of the test's own, itself a coroutine function, stays.
    """
    bare = inspect.unwrap(function, stop=inspect.iscoroutinefunction)
    if inspect.iscoroutinefunction(bare):
        owner = getattr(function, "__self__", None)
        bound = bare.__get__(owner) if owner is not None and not inspect.ismethod(bare) else bare

        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            async def whole() -> None:
                await bound(**arguments)
                await stage.finish()

            stage.run(whole)

        # neither anyio nor pytest may take it for a coroutine function
        del run.__wrapped__
        return run

    @functools.wraps(function)
    def call(**arguments: Any) -> Any:
        result = function(**arguments)
        stage.run(stage.finish)
        return result

    return call
