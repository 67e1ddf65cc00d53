"""Where the time of a sweep went."""

from collections import Counter
from collections.abc import Mapping

from trialtree.sweep.records import Sweep

_LINEAGE = ("params", "plan", "place", "hash and link", "run cache", "dvc.lock", "commit", "exp show", "reference")


def lines(sweep: Sweep, driver: Mapping[str, float], seconds: float) -> list[str]:
    """Return a table: milliseconds a trial, `driver` being the seconds of the driver's own work by part."""
    trials = [trial for trial in sweep.trials.values() if trial.parts]
    count = max(len(trials), 1)
    spent: Counter[str] = Counter(driver)
    for trial in trials:
        spent.update(trial.parts)
    stages = {part: time for part, time in spent.items() if part.startswith("stage ")}
    lineage = {part: spent[part] for part in _LINEAGE if part in spent}
    others = {part: time for part, time in spent.items() if part not in stages and part not in lineage}
    made = ["", f"{'milliseconds a trial':<28}{1000 * seconds / count:>8.2f}  from shell to shell"]
    for title, parts in (("stages", stages), ("lineage", lineage), ("driver", others)):
        made.append(f"{title:<28}{1000 * sum(parts.values()) / count:>8.2f}")
        made += [
            f"  {part:<26}{1000 * time / count:>8.2f}" for part, time in sorted(parts.items(), key=lambda p: -p[1])
        ]
    return made
