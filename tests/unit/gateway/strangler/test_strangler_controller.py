"""The controller on virtual time: what gateways count becomes decisions, each once, whoever dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from strangling_stage import Gateway, Stage, stage, write_spec

from skerry import signals
from skerry.cli.main import main
from skerry.errors import ConfigurationError
from skerry.gateway import reading
from skerry.gateway.strangler import deciding, shares, tally
from skerry.gateway.strangler.applying import plans
from skerry.gateway.strangler.deciding import Place
from skerry.gateway.strangler.handing_over import OVERDUE
from skerry.gateway.strangler.picture import page
from skerry.gateway.strangler.ramp_rows import Change, Ramp
from skerry.gateway.strangler.ramps import Ramps
from skerry.gateway.strangler.reporting import report
from skerry.gateway.strangler.shares import Share

SERVICES = ("monolith", "catalogue")


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as made:
        yield made


def begin(staged: Stage) -> Ramp:
    plan = plans(reading.read(staged.spec))["books"]
    with Ramps(staged.folder) as ramps:
        return ramps.start("books", plan, deciding.begun(plan), at=staged.clock.now(), reason="a test")


def known(ramps: Ramps) -> Ramp:
    found = ramps.find("books")
    assert found is not None
    return found


def verdicts(staged: Stage) -> list[str]:
    return [each.verdict for each in report(staged.controller.ramps, "books").decisions]


def test_a_good_candidate_gets_to_the_end(staged: Stage) -> None:
    """Without failures it takes every step, is watched at 100 %, and is then left alone."""
    begin(staged)
    for _ in range(60):
        staged.second(100, 0, 900)
    assert verdicts(staged) == ["start", "promote", "promote"]
    assert staged.share == Share(100.0, False, "control", *SERVICES)
    told = report(staged.controller.ramps, "books")
    assert (told.state, told.needs) == ("done", "")


def test_a_bad_candidate_goes_back(staged: Stage) -> None:
    """One that fails more often is without requests again, and the decision is confirmed once gateways serve it."""
    begin(staged)
    for _ in range(12):
        staged.second(20, 2, 180)
    assert verdicts(staged) == ["start", "roll_back"]
    assert staged.share == Share(0.0, False, "control", *SERVICES)
    last = report(staged.controller.ramps, "books").decisions[-1]
    assert (last.by, last.before, last.after) == ("evidence", 10.0, 0.0)
    assert last.effective is not None


def test_the_guard_does_not_wait_for_the_interval(staged: Stage) -> None:
    """When more than a fifth of fifty requests fail it goes back at the next look."""
    begin(staged)
    staged.gateway.serve()
    staged.gateway.count(60, 40, 10)
    staged.pass_time(0.2)
    assert verdicts(staged) == ["start", "roll_back"]


def test_every_change_is_one_signal(staged: Stage) -> None:
    """Who subscribes is told of each decision once."""
    told: list[signals.Signal] = []
    end = signals.subscribe(told.append)
    try:
        begin(staged)
        for _ in range(12):
            staged.second(20, 2, 180)
    finally:
        end()
    assert [(each.verdict, each.after) for each in told if isinstance(each, signals.RampChanged)] == [
        ("start", 10.0),
        ("roll_back", 0.0),
    ]


def test_a_killed_controller_loses_and_doubles_nothing(staged: Stage) -> None:
    """Killed between any two looks, another one counts every request once, and takes each decision once."""
    begin(staged)
    for _ in range(60):
        staged.gateway.serve()
        staged.gateway.count(100, 0, 900)
        staged.pass_time(0.5)
        staged.kill()
        staged.pass_time(1.2)
    assert verdicts(staged) == ["start", "promote", "promote"]
    intervals = report(staged.controller.ramps, "books").intervals
    counted = sum(each.candidate.requests for each in intervals)
    assert counted == 100 * len({each.at for each in intervals})


def test_shares_that_were_not_written_follow_at_the_next_look(staged: Stage) -> None:
    """A crash between the commit and the file is mended: the database says what holds."""
    begin(staged)
    before = (staged.folder / shares.FILE).read_bytes()
    with Ramps(staged.folder) as ramps:
        back = Change("roll_back", "person", Place("rolled_back", 0.0), "a test", {})
        ramps.change(known(ramps), back, at=staged.clock.now())
    (staged.folder / shares.FILE).write_bytes(before)
    staged.kill()
    assert staged.share == Share(0.0, False, "control", *SERVICES)


def test_a_file_of_shares_that_is_broken_is_written_anew(staged: Stage) -> None:
    """What somebody did to the file is undone."""
    begin(staged)
    (staged.folder / shares.FILE).write_text("{")
    staged.pass_time(0.1)
    assert staged.share.percent == 10.0


def test_processes_that_are_gone_are_counted_and_taken_away(staged: Stage) -> None:
    """What a worker counted before its end counts, once, and its file goes."""
    begin(staged)
    staged.gateway.serve()
    dead = Gateway(staged.folder, "dead")
    dead.count(30, 0, 270)
    dead.die()
    staged.pass_time(2.5)
    assert set(tally.read(staged.folder)) == {"a"}
    staged.second(10, 0, 90)
    found = staged.controller.ramps.find("books")
    assert found is not None
    assert found.evidence.candidate.requests == 40


def test_a_process_that_has_the_number_of_a_dead_one_is_another(staged: Stage) -> None:
    """In a container each life of a gateway has the same number; what the one before served is waited for by nobody."""
    before = Gateway(staged.folder, "before")
    before.serve()
    before.die()
    staged.gateway.serve()
    begin(staged)
    staged.gateway.serve()
    staged.pass_time(0.2)
    assert [each.effective is None for each in report(staged.controller.ramps, "books").decisions] == [False]


def test_what_somebody_else_did_meanwhile_is_not_undone_unseen(staged: Stage) -> None:
    """Of two operators, or one and the evidence, who looked before the other moved is told, and moves nothing."""
    seen = begin(staged)
    step = Change("step", "person", Place("ramping", 100.0), "a test", {})
    with Ramps(staged.folder) as ramps:
        ramps.change(
            seen, Change("roll_back", "person", Place("rolled_back", 0.0), "a test", {}), at=staged.clock.now()
        )
        with pytest.raises(ConfigurationError, match="moved meanwhile: it is rolled_back at 0 % now"):
            ramps.change(seen, step, at=staged.clock.now())
    assert verdicts(staged) == ["start", "roll_back"]


@pytest.mark.parametrize(("guard", "shadow"), [("alpha: 0.2", "false"), ("interval: 1", "true")])
def test_a_ramp_is_judged_by_what_it_began_with(staged: Stage, guard: str, shadow: str) -> None:
    """Who changes alpha, or the number of tests, after a look at the evidence changes the next ramp, and is told so."""
    before = begin(staged).plan
    write_spec(staged.spec, shadow=shadow, guard=guard)
    staged.second(20, 0, 180)
    told = report(staged.controller.ramps, "books")
    assert known(staged.controller.ramps).plan.guard == before.guard
    assert {each.limit for each in told.intervals} == {before.limit}
    assert "next start" in told.note
    with Ramps(staged.folder) as ramps:
        back = Change("roll_back", "person", Place("rolled_back", 0.0), "a test", {})
        ramps.change(known(ramps), back, at=staged.clock.now())
    after = begin(staged).plan
    assert (after.limit, after.overruled) != (before.limit, True)
    assert not report(staged.controller.ramps, "books").note


def test_a_decision_whose_file_cannot_be_written_is_taken_once(staged: Stage) -> None:
    """A full disk is an error that says where; gateways are told as soon as there is room, and nothing is decided twice."""
    begin(staged)
    staged.gateway.serve()
    staged.gateway.count(50, 30, 450)
    in_the_way = staged.folder / f".{shares.FILE}.new"
    in_the_way.mkdir()
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="state cannot be written"):
            staged.pass_time(1.3)
    assert staged.share.percent == 10.0
    in_the_way.rmdir()
    staged.pass_time(0.2)
    assert staged.share.percent == 0.0
    assert verdicts(staged) == ["start", "roll_back"]


def test_what_is_not_compared_is_told_with_why(staged: Stage) -> None:
    """A client that asks `If-None-Match` only gives no pairs: who waits for them sees why there are none."""
    begin(staged)
    compared = staged.gateway.tally.route("books").compared
    compared.unfit, compared.unread = 1200, 3
    staged.second(20, 0, 180)
    command = ["strangle", "status", "books", "--state", str(staged.folder)]
    text = CliRunner().invoke(main, command).output
    assert "not compared: 1,200 conditional, for a part, or to be upgraded; 3 an answer was too long" in text
    told = json.loads(CliRunner().invoke(main, [*command, "-o", "json"]).output)
    assert told["left_out"] == {"unfit": 1200, "shed": 0, "unread": 3}
    assert "1,203" in page(report(staged.controller.ramps, "books"))


def test_what_was_counted_before_a_ramp_is_none_of_its_own(staged: Stage) -> None:
    """A ramp that begins again begins at nothing."""
    staged.gateway.count(100, 90, 100)
    begin(staged)
    staged.second(10, 0, 90)
    found = staged.controller.ramps.find("books")
    assert found is not None
    assert (found.evidence.candidate.requests, found.evidence.candidate.errors) == (10, 0)


def test_a_step_counts_as_confirmed_when_every_gateway_serves_it(staged: Stage) -> None:
    """Two gateways confirm a version when both have it."""
    other = Gateway(staged.folder, "b")
    other.write()
    begin(staged)
    staged.gateway.serve()
    staged.pass_time(0.1)
    assert report(staged.controller.ramps, "books").decisions[0].effective is None
    other.serve()
    staged.pass_time(0.1)
    assert report(staged.controller.ramps, "books").decisions[0].effective is not None


def test_no_requests_are_told_as_what_is_missing(staged: Stage) -> None:
    """A ramp without traffic says that there is none."""
    begin(staged)
    staged.gateway.serve()
    staged.pass_time(5)
    told = report(staged.controller.ramps, "books")
    assert told.needs.startswith("requests: there are none now; 200 more requests to catalogue at 10 %")
    assert told.intervals == ()


def test_what_a_person_does_counts_from_the_next_look_on(staged: Stage) -> None:
    """A controller that looked away finds a ramp where a command put it."""
    begin(staged)
    staged.second(10, 0, 90)
    with Ramps(staged.folder) as ramps:
        ramps.change(known(ramps), Change("hold", "person", Place("held", 10.0), "a test", {}), at=staged.clock.now())
    for _ in range(30):
        staged.second(100, 0, 900)
    assert verdicts(staged) == ["start", "hold"]
    assert staged.share == Share(10.0, True, "control", *SERVICES)


def test_a_route_that_the_specification_lost_is_shown_as_gone(staged: Stage) -> None:
    """Its ramp stays, moves no more, and comes back with the route."""
    begin(staged)
    write_spec(staged.spec, route="others")
    staged.pass_time(0.1)
    assert "the specification" in report(staged.controller.ramps, "books").needs
    staged.second(20, 20, 180)
    assert verdicts(staged) == ["start"]
    write_spec(staged.spec)
    staged.pass_time(0.1)
    assert report(staged.controller.ramps, "books").needs == ""


def test_a_specification_that_is_wrong_changes_nothing(staged: Stage) -> None:
    """The ramp goes on by the one before."""
    begin(staged)
    staged.spec.write_text("routes: nonsense")
    for _ in range(12):
        staged.second(20, 2, 180)
    assert verdicts(staged) == ["start", "roll_back"]


def test_writes_that_nobody_owns_for_long_go_back_to_who_had_them(staged: Stage) -> None:
    """Who handed them over is gone, and unsafe requests do not wait for ever."""
    begin(staged)
    with Ramps(staged.folder, clock=staged.clock) as ramps:
        ramps.own("books", "nobody", before="control", verdict=None, reason="a test", numbers={})
    staged.pass_time(OVERDUE - 1)
    assert staged.share.owner == "nobody"
    staged.pass_time(2)
    assert staged.share.owner == "control"


def test_a_ramp_that_is_under_way_is_not_begun_again(staged: Stage) -> None:
    """Who wants another one takes this one back first."""
    begin(staged)
    with pytest.raises(ConfigurationError, match="'books' is ramping already, at 10 %"):
        begin(staged)


def test_a_ramp_begins_anew_after_it_went_back(staged: Stage) -> None:
    """The one before stays in the database; the new one has its own evidence."""
    for _ in range(2):
        begin(staged)
        for _ in range(12):
            staged.second(20, 2, 180)
    assert verdicts(staged) == ["start", "roll_back"]


def test_a_report_of_what_was_never_begun_says_which_there_are(staged: Stage) -> None:
    """A name that is wrong is answered with those that are right."""
    begin(staged)
    with pytest.raises(ConfigurationError, match="those that have one: books"):
        report(staged.controller.ramps, "book")


def test_intervals_beyond_the_bound_are_merged(staged: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded, and no request is lost by it."""
    monkeypatch.setattr("skerry.gateway.strangler.ramps.MOST_INTERVALS", 10)
    begin(staged)
    with Ramps(staged.folder) as ramps:
        ramps.change(known(ramps), Change("hold", "person", Place("held", 10.0), "a test", {}), at=staged.clock.now())
    for _ in range(40):
        staged.second(10, 0, 90)
    intervals = report(staged.controller.ramps, "books").intervals
    assert len(intervals) <= 10
    assert sum(each.candidate.requests for each in intervals) == 400
