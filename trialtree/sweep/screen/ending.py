"""What a sweep says at its end, and `trialtree sweep show` of one that has ended."""

from collections.abc import Iterator

from trialtree.sweep.ranking import Best
from trialtree.sweep.records import ENDED, Sweep, Trial
from trialtree.sweep.screen import standing, words
from trialtree.sweep.screen.influence import influence
from trialtree.sweep.screen.standing import Goals

_REASONS = 5  # of failures that are told one by one
_TOLD = 0.05  # share of a param that is worth a line
_SHARES = 5  # params in it
_FRONT = 10  # trials of a Pareto front that are told
_EQUAL = 8  # trials of the same objective that are named


def final(sweep: Sweep, goals: Goals, seconds: float | None = None) -> list[str]:
    """Return the lines at the end of a sweep: what came of it, an empty one, and what may come next.

    Args:
        sweep: as it ended.
        goals: its section, or what its journal says of it.
        seconds: that it took; None leaves the rate out.
    """
    best = standing.best(sweep, goals)
    lines = [*_best(sweep, best, goals), *_influence(sweep, goals)] if best else ["no trial is done"]
    return [*lines, counts(sweep, seconds), *_failures(sweep), why(sweep), "", *_next(sweep, best)]


def _influence(sweep: Sweep, goals: Goals) -> Iterator[str]:
    """Yield how much the params count, where that can be told."""
    shares = influence(sweep.of("done"))
    if any(share >= _TOLD for _, share in shares):
        names = words.short(key for key, _ in shares)
        said = ", ".join(f"{names[key]} {100 * share:.0f} %" for key, share in shares[:_SHARES])
        yield f"importance: {said} (of the ranking by {goals.objectives[0].metric}, each alone)"


def _best(sweep: Sweep, best: Best, goals: Goals) -> Iterator[str]:
    """Yield which trial is the best, why, and what its params are."""
    yield from standing.explain(best, goals)
    if len(best.equal) > 1:
        others = ", ".join(str(trial.number) for trial in best.equal[:_EQUAL])
        more = f" and {len(best.equal) - _EQUAL} more" if len(best.equal) > _EQUAL else ""
        yield f"as good: {words.count(len(best.equal), 'trial')}, {others}{more}"
    for trial in best.front[1:_FRONT]:
        yield f"on the front: trial {trial.number}: {words.objective(trial, goals.objectives)}; {_params(trial)}"
    if len(best.front) > _FRONT:
        yield f"and {len(best.front) - _FRONT} more; `trialtree best {sweep.head.id}` lists them"
    yield f"params: {_params(best.trial)}"


def _params(trial: Trial) -> str:
    return words.params(trial.values)


def counts(sweep: Sweep, seconds: float | None = None) -> str:
    """Return how many trials there are of each kind, and how long they took."""
    by_state = [(state, len(sweep.of(state))) for state in (*ENDED, "running", "waiting")]
    said = ", ".join(f"{count:,} {state}" for state, count in by_state if count)
    line = f"{words.count(len(sweep.trials), 'trial')}" + (f": {said}" if said else "")
    if sweep.repeats:
        line += f"; {words.count(sweep.repeats, 'draw')} of a point that was known"
    if seconds:
        line += f"; {words.seconds(seconds)}, {len(sweep.of(*ENDED)) / seconds:.3g} trials a second"
    return line


def _failures(sweep: Sweep) -> Iterator[str]:
    """Yield why trials failed, each reason once, and where their logs are."""
    reasons: dict[str, list[Trial]] = {}
    for trial in sweep.of("failed"):
        reasons.setdefault(words.ended(trial), []).append(trial)
    for reason, trials in [*reasons.items()][:_REASONS]:
        first = trials[0].number
        which = f"trial {first} failed" if len(trials) == 1 else f"{len(trials)} trials failed, the first {first}"
        log = f"; `trialtree logs {sweep.head.id}/{first}`" if trials[0].log else ""
        yield f"{which}: {reason}{log}"
    if len(reasons) > _REASONS:
        others = sum(len(trials) for trials in [*reasons.values()][_REASONS:])
        yield f"and {others} more failed; `trialtree sweep show {sweep.head.id}` lists them"
    if reasons:
        yield f"`trialtree sweep --rerun-failed {sweep.head.id}` tries them again"


def why(sweep: Sweep) -> str:
    """Return why a sweep is over, or how it goes on."""
    if sweep.finished is not None:
        return f"ended: {sweep.finished}"
    said = sweep.interrupted or "its driver was killed"
    return f"not finished: {said}; `trialtree sweep --resume {sweep.head.id}` goes on"


def _next(sweep: Sweep, best: Best | None) -> Iterator[str]:
    """Yield the commands that may come next."""
    commands = {f"trialtree sweep show {sweep.head.id}": "all trials, and pictures"}
    if best is not None:
        commands = {
            f"trialtree best {sweep.head.id} --apply": "its params and results into the workspace",
            f"trialtree best {sweep.head.id} --register": "its model into the registry",
            "dvc exp show --only-changed": "the trials as experiments",
            **commands,
        }
    width = max(map(len, commands))
    for command, what in commands.items():
        yield f"{command:{width}}  # {what}"
