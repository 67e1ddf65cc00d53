"""What a sweep shows while it runs, on a terminal, in a log and to a script; and the lines at its end."""

import fcntl
import io
import json
import math
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest

from tests import journals
from tests.journals import SECTION, C, done, failed, pruned
from trialtree.sweep import screen
from trialtree.sweep.records import Sweep, Trial
from trialtree.sweep.screen import Slot, ending, standing
from trialtree.sweep.screen.events import Events
from trialtree.sweep.screen.influence import influence
from trialtree.sweep.screen.lines import Lines
from trialtree.sweep.screen.table import Table
from trialtree.sweep.screen.tally import Tally
from trialtree.sweep.section import SweepParams

GOALS = standing.recorded(SECTION)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def end(sweep: Sweep, *trials: Trial) -> None:
    """Let trials end."""
    for trial in trials:
        sweep.trials[trial.number] = trial
        sweep.order = [number for number in sweep.order if number != trial.number] + [trial.number]


def tally(clock: Clock, total: int | None = 12, timeout: float | None = None) -> Tally:
    return Tally(GOALS, total, timeout, clock)


def begun(sweep: Sweep, number: int, clock: Clock, **more: Any) -> Slot:
    """Let a trial begin, and return what a driver tells of it."""
    sweep.trials[number] = Trial(number, {C: 8.5}, state="running", attempt=1)
    return Slot(number, since=clock.now, **more)


def text(table: Table, width: int, height: int) -> list[str]:
    """Return the lines of a screen of this size."""
    return table._text(table.frame(width, height), width).plain.split("\n")


@contextmanager
def terminal(columns: int, rows: int, encoding: str = "utf-8") -> Iterator[tuple[TextIO, list[bytes]]]:
    """Yield a real terminal of this size, and what was seen on it once the block is left."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    seen: list[bytes] = []
    with os.fdopen(child, "w", encoding=encoding) as stream:
        yield stream, seen
        os.set_blocking(parent, False)
        try:
            while part := os.read(parent, 65536):
                seen.append(part)
        except BlockingIOError:
            pass
    os.close(parent)


def test_the_table_says_how_far_it_is_what_is_best_what_runs_and_what_has_ended() -> None:
    clock, sweep = Clock(), journals.sweep([])
    table = Table(sweep, tally(clock), io.StringIO())
    clock.now += 2
    end(sweep, done(0, 0.95), failed(1, "train: ValueError: bad\nC"), pruned(2), done(3, 0.97, seconds=1.25))
    sweep.repeats = 2
    slots = [begun(sweep, 5, clock, stage="train", last=(120, 0.25)), begun(sweep, 4, clock)]
    clock.now += 1.5
    table.update(sweep, slots)
    assert text(table, 80, 24) == [
        "sweep iris-k3f9   4 of 12 trials, 4 s, 1.14 a second, 7 s left",
        "running 2   done 2   failed 1   pruned 1   repeats 2",
        "",
        "best #3  cv.accuracy 0.97",
        "  kernel=linear C=3.5",
        "",
        "    #4 running               1.5 s  C=8.5",
        "    #5 running  train        1.5 s  0.25 at 120  C=8.5",
        "    #3 done     0.97         1.2 s  kernel=linear C=3.5",
        "    #2 pruned   median_stopping at report 12: 0.5 against 0.75",
        "    #1 failed   train: ValueError: bad C",
        "    #0 done     0.95        0.25 s  kernel=linear C=0.5",
    ]


def test_the_table_keeps_to_a_small_screen() -> None:
    clock, sweep = Clock(), journals.sweep([])
    table = Table(sweep, tally(clock, None), io.StringIO())
    end(sweep, *(done(number, 0.9, values={C: 1.0, "fetch.source": "x" * 90}) for number in range(9)))
    clock.now += 1
    table.update(sweep, [begun(sweep, number, clock) for number in range(9, 40)])
    assert text(table, 30, 12) == [
        "sweep iris-k3f9   9 trials, 1…",
        "running 31   done 9",
        "",
        "best #0  cv.accuracy 0.9",
        "  C=1",
        "  source=xxxxxxxxxxxxxxxxxxxx…",
        "",
        "    #9 running               …",
        "  and 30 more that run",
        "    #8 done     0.9         0…",
        "    #7 done     0.9         0…",
        "    #6 done     0.9         0…",
    ]


def test_a_terminal_is_drawn_four_times_a_second_and_left_with_the_last_state() -> None:
    clock, sweep = Clock(), journals.sweep([])
    with terminal(60, 20) as (stream, seen):
        table = Table(sweep, tally(clock), stream)
        for number in range(12):
            clock.now += 0.125
            end(sweep, done(number, 0.9))
            table.update(sweep, [begun(sweep, number + 1, clock)] if number < 11 else [])
        table.note("said above")
        table.close("limits.trials: 12 trials")
    shown = b"".join(seen).decode()
    assert shown.count("best #") == 6 + 1  # and below what was said
    last = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown[shown.rindex("sweep iris-k3f9") :]).replace("\r", "")
    assert last.splitlines() == [
        "sweep iris-k3f9   12 of 12 trials, 2 s, 8 a second", "done 12", "ended: limits.trials: 12 trials",
    ]  # fmt: skip
    assert shown.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_a_terminal_that_goes_away_or_knows_few_letters_costs_the_sweep_nothing() -> None:
    clock, sweep = Clock(), journals.sweep([])
    with terminal(60, 20, "ascii") as (stream, seen):
        table = Table(sweep, tally(clock), stream)
        end(sweep, done(0, 0.9, values={"fetch.source": "Äpfel\x1b[2J.csv"}))
        clock.now += 1
        table.update(sweep, [])
    assert b"source=?pfel [2J.csv" in b"".join(seen)
    clock.now += 1
    table.update(sweep, [])  # it is closed
    table.note("said")
    table.close("stopped")


def test_lines_tell_each_new_best_the_first_failures_and_every_ten_seconds_how_far_it_is() -> None:
    clock, sweep, stream = Clock(), journals.sweep([]), io.StringIO()
    lines = Lines(sweep, tally(clock), "sweep iris-k3f9: random", stream)
    end(sweep, done(0, 0.5), done(1, 0.75), done(2, 0.25))
    lines.update(sweep, [])
    clock.now += 10
    lines.update(sweep, [begun(sweep, 9, clock)])
    end(sweep, *(failed(number, log=None if number == 4 else "x") for number in range(3, 9)))
    lines.update(sweep, [])
    lines.note("stopping")
    end(sweep, done(9, 0.875))
    lines.close("limits.failures")
    assert stream.getvalue().splitlines() == [
        "sweep iris-k3f9: random",
        "trial 1 is the best: cv.accuracy 0.75; kernel=linear C=1.5",
        "3 of 12 trials in 10 s: 3 done, 1 running; 30 s left",
        "trial 3 failed: train: ValueError: no; its log: trialtree logs iris-k3f9/3",
        "trial 4 failed: train: ValueError: no",
        "trial 5 failed: train: ValueError: no; its log: trialtree logs iris-k3f9/5",
        "trial 6 failed: train: ValueError: no; its log: trialtree logs iris-k3f9/6",
        "trial 7 failed: train: ValueError: no; its log: trialtree logs iris-k3f9/7",
        "more trials fail; from here on they are counted",
        "stopping",
        "trial 9 is the best: cv.accuracy 0.875; kernel=linear C=9.5",
        "10 of 12 trials in 10 s: 4 done, 6 failed; limits.failures",
    ]


def test_a_sweep_that_goes_on_counts_what_was_there_and_not_in_its_rate() -> None:
    clock, sweep, stream = Clock(), journals.sweep([done(0, 0.5), done(1, 0.75)]), io.StringIO()
    known = tally(clock)
    lines = Lines(sweep, known, "sweep iris-k3f9", stream)
    clock.now += 4
    end(sweep, done(2, 0.25))
    lines.update(sweep, [])
    assert (known.ended, known.rate, known.left, known.best) == (3, 0.25, 36.0, sweep.trials[1])
    assert stream.getvalue() == "sweep iris-k3f9; 2 trials from before\n"


def test_the_time_left_is_at_most_that_of_the_timeout() -> None:
    clock = Clock()
    known = tally(clock, total=None, timeout=60)
    clock.now += 45
    assert (known.rate, known.left) == (None, 15)


def test_a_trial_that_is_tried_again_is_counted_once_and_told_twice() -> None:
    clock, sweep, stream = Clock(), journals.sweep([]), io.StringIO()
    known = tally(clock)
    events = Events(sweep, known, stream)
    end(sweep, failed(0), done(1, 0.5))
    events.update(sweep, [])
    again = begun(sweep, 0, clock)
    sweep.trials[0].attempt = 2
    events.update(sweep, [again])
    assert (known.counts["failed"], known.counts["done"]) == (1, 1)
    second = done(0, 0.25)
    second.attempt = 2
    end(sweep, second)
    events.update(sweep, [])
    assert (known.counts["failed"], known.counts["done"], known.ended) == (0, 2, 2)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["event"], event.get("number"), event.get("state")) for event in told[1:]] == [
        ("began", 0, None), ("ended", 0, "failed"), ("began", 1, None), ("ended", 1, "done"), ("best", 1, None),
        ("began", 0, None), ("ended", 0, "done"),
    ]  # fmt: skip


def test_events_are_json_whatever_a_trial_holds() -> None:
    clock, sweep, stream = Clock(), journals.sweep([]), io.StringIO()
    events = Events(sweep, tally(clock), stream)
    end(sweep, done(0, 0.5, metrics={"cv.accuracy": 0.5, "cv.loss": math.nan}, values={"fetch.source": "ä"}))
    clock.now += 0.5
    events.update(sweep, [])
    events.note("stopping")
    sweep.finished = "limits.trials: 1 trial"
    events.close(sweep.finished)
    beginning, began, ended, best, note, last = (json.loads(line) for line in stream.getvalue().splitlines())
    assert beginning == {
        "event": "sweep", "sweep": "iris-k3f9", "experiment": "iris", "baseline": "b" * 40, "changed": [], "seed": 0,
        "executor": "engine", "trials": 12, "section": SECTION,
    }  # fmt: skip
    assert began == {"event": "began", "number": 0, "attempt": 1, "source": "sampler", "values": {"fetch.source": "ä"}}
    assert ended == {
        "event": "ended", "number": 0, "values": {"fetch.source": "ä"}, "source": "sampler", "state": "done",
        "attempt": 1, "seconds": 0.25, "objective": [0.5], "metrics": {"cv.accuracy": 0.5, "cv.loss": None},
        "name": "iris-k3f9-0000", "commit": "d" * 40, "model_bytes": None, "ran": [], "restored": [],
        "decision": None, "reason": None, "status": None, "stage": None, "log": None,
    }  # fmt: skip
    assert best == {
        "event": "best", "number": 0, "objective": [0.5], "values": {"fetch.source": "ä"}, "name": "iris-k3f9-0000",
    }  # fmt: skip
    assert note == {"event": "note", "text": "stopping"}
    assert last == {
        "event": "finished", "sweep": "iris-k3f9", "reason": "limits.trials: 1 trial", "done": 1, "pruned": 0,
        "failed": 0, "repeats": 0, "seconds": 0.5, "best": 0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [Events, Lines])
def test_who_reads_may_go_away(kind: type, tmp_path: Any) -> None:
    sweep = journals.sweep([])
    known = tally(Clock())
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "w") as stream:
        shown = Events(sweep, known, stream) if kind is Events else Lines(sweep, known, "sweep", stream)
        end(sweep, done(0, 0.5))
        shown.update(sweep, [])
        shown.close("stopped")
    assert known.ended == 1
    del tmp_path


@pytest.mark.parametrize(("kind", "made"), [("auto", Lines), ("lines", Lines), ("json", Events), ("table", Table)])
def test_what_is_no_terminal_gets_lines_unless_something_else_is_asked_for(
    kind: screen.Kind, made: type, capsys: pytest.CaptureFixture[str]
) -> None:
    section = SweepParams.model_validate(SECTION)
    assert isinstance(screen.make(kind, journals.sweep([]), section, 12, 4), made)
    if made is Lines:
        said = "sweep iris-k3f9: random, 12 trials, 4 at once, cv.accuracy (maximize)\n"
        assert capsys.readouterr().out == said


def test_a_sweep_without_a_terminal_imports_no_rich() -> None:
    import subprocess

    code = "import sys; from trialtree.sweep import screen; from trialtree.sweep.screen import ending, lines, events; "
    done = subprocess.run(
        [sys.executable, "-c", code + "print([m for m in ('rich', 'optuna', 'numpy') if m in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_the_end_tells_the_best_why_and_what_may_come_next() -> None:
    sweep = journals.sweep(
        [done(0, 0.75, model_bytes=900), done(1, 0.95, model_bytes=700), done(2, 0.95, model_bytes=800), pruned(3),
         failed(4), failed(5), failed(6, "killed by SIGKILL", log=None)],
        finished="limits.trials: 7 trials", repeats=1,
    )  # fmt: skip
    assert ending.final(sweep, GOALS, seconds=1.75) == [
        "best is trial 1: cv.accuracy 0.95",
        "2 trials have that; the smallest model decided, 700 bytes against 800 bytes of trial 2",
        "params: kernel=linear C=1.5",
        "7 trials: 3 done, 3 failed, 1 pruned; 1 draw of a point that was known; 1.8 s, 4 trials a second",
        "2 trials failed, the first 4: train: ValueError: no; `trialtree logs iris-k3f9/4`",
        "trial 6 failed: train: killed by SIGKILL",
        "`trialtree sweep --rerun-failed iris-k3f9` tries them again",
        "ended: limits.trials: 7 trials",
        "",
        "trialtree best iris-k3f9 --apply     # its params and results into the workspace",
        "trialtree best iris-k3f9 --register  # its model into the registry",
        "dvc exp show --only-changed          # the trials as experiments",
        "trialtree sweep show iris-k3f9       # all trials, and pictures",
    ]


@pytest.mark.parametrize(
    ("left", "said"),
    [("stopped", "not finished: stopped; `trialtree sweep --resume iris-k3f9` goes on"),
     (None, "not finished: its driver was killed; `trialtree sweep --resume iris-k3f9` goes on")],
)  # fmt: skip
def test_the_end_of_a_sweep_that_can_go_on_says_how(left: str | None, said: str) -> None:
    assert ending.final(journals.sweep([], interrupted=left), GOALS) == [
        "no trial is done", "0 trials", said, "", "trialtree sweep show iris-k3f9  # all trials, and pictures",
    ]  # fmt: skip


def test_the_end_of_several_goals_lists_the_front() -> None:
    objective = [{"metric": "cv.accuracy", "goal": "maximize"}, {"metric": "cv.seconds", "goal": "minimize"}]
    sweep = journals.sweep([done(0, 0.75, 2.0), done(1, 0.95, 4.0), done(2, 0.5, 3.0)], finished="done")
    assert ending.final(sweep, standing.recorded({"objective": objective}))[:4] == [
        "best is trial 1: cv.accuracy 0.95, cv.seconds 4",
        "2 trials are on the Pareto front; the best of them is that with the highest cv.accuracy, then the lowest "
        "cv.seconds",
        "on the front: trial 0: cv.accuracy 0.75, cv.seconds 2; kernel=linear C=0.5",
        "params: kernel=linear C=1.5",
    ]


def test_a_param_that_decides_explains_all_and_others_nothing() -> None:
    grid = [(kernel, size) for kernel in ("linear", "rbf", "poly", "sigmoid") for size in (0.5, 1.0, 1.5)]
    place = {"linear": 4, "rbf": 3, "poly": 2, "sigmoid": 1}
    trials = [done(n, float(place[kernel]), values={"kernel": kernel, "C": c}) for n, (kernel, c) in enumerate(grid)]
    assert influence(trials) == [("kernel", 1.0), ("C", 0.0)]
    assert influence(trials[:7]) == []


def test_a_number_of_many_values_and_a_param_of_some_trials_count_too() -> None:
    trials = [done(n, float(n), values={"rate": n / 100, **({"depth": n % 3} if n < 50 else {})}) for n in range(100)]
    (first, share), (second, other) = influence(trials)
    assert (first, second) == ("rate", "depth")
    assert round(share, 3) == 0.958  # five groups of equal size leave a twenty-fifth, less what chance explains
    assert other == 0.0
    assert influence([done(n, 0.5) for n in range(20)]) == [("train.hyperparameters.C", 0.0)]
