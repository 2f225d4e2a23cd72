"""The pytest plugin as users have it: in a folder of their own, with the other plugins that they have."""

from __future__ import annotations

import subprocess
import sys

import pytest

import skerry.testing.system  # noqa: F401 - before pytester looks which modules to forget again

pytest_plugins = ["pytester"]

LIGHT = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:timeout", "-p", "no:cacheprovider")

MAKE = """
import asyncio
import pytest
from skerry import Service

def make():
    return Service("stock", database="sqlite:///stock.db")

"""


def test_async_tests_run_on_virtual_time_without_another_plugin(pytester):
    """`async def` needs nothing but a fixture of ours, in a class too."""
    pytester.makepyfile(
        MAKE
        + """
async def test_function(skerry_system):
    async with skerry_system([make]) as system:
        await asyncio.sleep(86_400.0)
        assert system.clock.monotonic() >= 86_400.0

class TestIt:
    async def test_method(self, virtual_clock):
        await virtual_clock.sleep(86_400.0)
        assert asyncio.get_running_loop().time() == 86_400.0
"""
    )
    pytester.runpytest("-W", "error").assert_outcomes(passed=2)


def test_plain_tests_hand_over_what_they_do(pytester):
    """`run` takes a story for a test without `async`, and the clock can be moved by hand."""
    pytester.makepyfile(
        MAKE
        + """
def test_run(skerry_system):
    async def story(system):
        await system.advance(10.0)
        return system.clock.monotonic()

    assert skerry_system([make]).run(story) >= 10.0

def test_clock(virtual_clock):
    virtual_clock.advance(5.0)
    assert virtual_clock.monotonic() == 5.0
"""
    )
    pytester.runpytest("-W", "error").assert_outcomes(passed=2)


def test_other_plugins_for_async_tests_stand_aside(pytester):
    """A test that is marked for anyio, or wrapped into a plain function as asyncio's plugin does, runs on virtual time all the
    same; their own tests stay theirs.
    """
    pytester.makeconftest(
        """
import asyncio, functools, inspect, pytest

def pytest_configure(config):
    config.addinivalue_line("markers", "wrapped: what asyncio's plugin does")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    function = item.obj
    if item.get_closest_marker("wrapped") and inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        def wrapped(**arguments):
            asyncio.run(function(**arguments))
        item.obj = wrapped
"""
    )
    pytester.makepyfile(
        MAKE
        + """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_anyio(virtual_clock):
    await asyncio.sleep(86_400.0)

@pytest.mark.wrapped
async def test_wrapped(virtual_clock):
    await asyncio.sleep(86_400.0)

@pytest.mark.anyio
async def test_theirs():
    assert type(asyncio.get_running_loop()).__name__ != "SystemLoop"
"""
    )
    pytester.runpytest().assert_outcomes(passed=3)


def test_a_test_s_own_decorator_stays(pytester):
    """What a test wraps around itself, such as a patch, is in force while it runs, in a class too."""
    pytester.makepyfile(
        """
import os
from unittest import mock

patched = mock.patch("os.getcwd", lambda: "/patched")

@patched
async def test_function(virtual_clock):
    assert os.getcwd() == "/patched"

class TestIt:
    @patched
    async def test_method(self, virtual_clock):
        assert os.getcwd() == "/patched"
"""
    )
    pytester.runpytest("-W", "error").assert_outcomes(passed=2)


def test_a_failure_tells_the_story_and_the_seed(pytester):
    """What happened stands below a failed test, with the seed to repeat it."""
    pytester.makepyfile(
        MAKE
        + """
async def test_it(skerry_system, faults):
    system = skerry_system([make])
    await system.start()
    await system.advance(3.0)
    faults.kill("stock")
    assert system.clock.random() < 0
"""
    )
    done = pytester.runpytest("--skerry-seed", "41")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*skerry: what happened*", "*3.000  stock *killed", "to repeat: --skerry-seed 41"])


def test_what_is_left_at_the_end_fails_the_test(pytester):
    """A test that starts a system and says nothing about its end is checked all the same."""
    pytester.makepyfile(
        MAKE
        + """
from skerry import Saga
from skerry.resilience import Retry

def make_stuck():
    service = make()
    saga = Saga("never", input=str)

    @saga.retriable(retry=Retry(2))
    async def try_it(ctx, value):
        raise OSError("no")

    service.add(saga)
    service.never = saga
    return service

async def begin(service):
    async with service.transaction() as tx:
        await service.sagas.start(tx, service.never, "x", key="x")

async def test_it(skerry_system):
    system = skerry_system([make_stuck])
    await system.start()
    await system.inside("stock", begin)

async def test_allowed(skerry_system):
    system = skerry_system([make_stuck], allow=["stuck"])
    await system.start()
    await system.inside("stock", begin)
"""
    )
    done = pytester.runpytest()
    done.assert_outcomes(failed=1, passed=1)
    done.stdout.fnmatch_lines(
        ["*AssertionError: at the end stock has 1 stuck sagas*", "*SagaChanged saga=never*status=stuck*"]
    )


def test_seeds_come_from_the_marker_and_the_command(pytester):
    """A test's own seed counts more than that of the command; without either it is 0."""
    pytester.makepyfile(
        MAKE
        + """
drawn = {}

def test_default(virtual_clock):
    drawn["default"] = virtual_clock.random()

@pytest.mark.skerry(seed=5)
def test_marked(virtual_clock):
    drawn["marked"] = virtual_clock.random()

@pytest.mark.parametrize("seed", [pytest.param(s, marks=pytest.mark.skerry(seed=s)) for s in (0, 5)])
def test_same(virtual_clock, seed):
    assert virtual_clock.random() == drawn["marked" if seed else "default"]
"""
    )
    pytester.runpytest("-p", "no:randomly", "--strict-markers").assert_outcomes(passed=4)


@pytest.mark.timeout(600)  # three processes that start beside everything else
def test_it_works_with_xdist(pytester):
    """Tests with systems run in several processes at the same time."""
    pytester.makepyfile(
        MAKE
        + """
@pytest.mark.parametrize("n", range(2))
async def test_it(skerry_system, n):
    async with skerry_system([make]) as system:
        await system.advance(100.0)
"""
    )
    pytester.runpytest_subprocess("-n", "2", "-W", "error", *LIGHT).assert_outcomes(passed=2)


def test_pytest_s_start_is_not_held_up():
    """Where nobody uses the plugin, it brings along itself and pytest, and nothing else of skerry."""
    program = (
        "import pytest, sys\nbefore = set(sys.modules)\nimport skerry.testing.plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['skerry', 'skerry.testing', 'skerry.testing.plugin']"
