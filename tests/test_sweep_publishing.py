"""The trials of a sweep are in MLflow while it runs, below a run of their own, and Git makes all of it again."""

from contextlib import chdir
from typing import Any

from tests import many
from tests.conftest import Repo
from trialtree.sweep import journal
from trialtree.sweep.publishing import Publishing

ID = "iris-k3f9"


def begun(ran: Repo, name: str = ID) -> journal.Journal:
    """Return the journal of a sweep that begins."""
    import yaml

    params = yaml.safe_load((ran.path / "params.yaml").read_text(encoding="utf-8"))
    made = journal.Journal(ran.path / journal.SWEEPS / name)
    head = ran.git("rev-parse", "HEAD")
    made.add(
        "sweep", id=name, time=1790000000000, section=params["sweep"], params=params, experiment=params["experiment"],
        baseline=head, tree=ran.git("rev-parse", "HEAD^{tree}"), changed=[], seed=0, executor="engine", dvc="3.67.1",
    )  # fmt: skip
    return made


def ended(made: journal.Journal, number: int, state: str = "done", **fields: Any) -> None:
    """Let a trial end."""
    made.add("asked", number=number, values={"train.hyperparameters.C": number + 2.5}, raw={}, source="sampler")
    made.add("began", number=number, attempt=1, time=1790000000000 + 1000 * number)
    made.add("ended", number=number, state=state, seconds=0.5, **fields)


def test_trials_of_a_sweep_are_published_and_track_has_nothing_to_add(ran: Repo, monkeypatch: Any) -> None:
    for name, value in ran.env.items():
        monkeypatch.setenv(name, value)
    with chdir(ran.path), begun(ran) as made:
        publishing = Publishing(made.folder)
        publishing.start()
        for number, (name, commit) in many.sweep(ran, ID, range(3)).items():
            ended(made, number, name=name, commit=commit)
        made.add("finished", reason="limits.trials", time=1790000010000)
        said = publishing.finish()
    assert (said.count, said.notes) == (3, ())
    print(ran.run("trialtree", "track", "--all").stdout)
