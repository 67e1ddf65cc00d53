"""What dvc.yaml says of the stages that are to run, as plain values, and whether the engine can do it exactly."""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.logs import ORDER
from trialtree.sweep.engine.hashes import Hash, md5_of
from trialtree.sweep.journal import SweepError

TARGET = "evaluate"
_TEMPLATED = re.compile(r"\$\{|^\s+(foreach|matrix):", re.MULTILINE)


@dataclass(frozen=True)
class Out:
    """An output of a stage."""

    path: str
    cached: bool  # in DVC's cache; else in Git
    metric: bool
    plot: bool


@dataclass(frozen=True)
class Stage:
    """A stage with a command."""

    name: str
    cmd: str | list[str]
    deps: tuple[str, ...]  # paths, sorted
    params: Mapping[str, tuple[str, ...]]  # dotted keys by file, sorted
    outs: tuple[Out, ...]  # sorted by path
    locked: Mapping[str, Any] | None  # its entry in dvc.lock
    always: bool  # it runs whether anything changed or not

    @property
    def kept(self) -> bool:
        """Whether DVC keeps its results in the run cache."""
        return (
            not self.always
            and bool(self.deps and self.outs)
            and all(out.cached or out.metric or out.plot for out in self.outs)
        )

    @property
    def is_module(self) -> bool:
        """Whether its command is that of a module of stages/, which a warm process can run."""
        return self.cmd == f"python -m stages.{self.name}"

    @property
    def reads_its_deps(self) -> bool:
        """Whether it is known to read nothing but what it depends on."""
        return self.is_module and self.name in ORDER[:-1]


@dataclass(frozen=True)
class Pipeline:
    """The stages that are to run, in order."""

    stages: tuple[Stage, ...]
    sources: Mapping[str, Hash]  # files and folders that `dvc add` keeps
    code: Mapping[str, Hash]  # dependencies that Git keeps
    lock: Mapping[str, Any]  # content of dvc.lock
    inexact: str | None  # why DVC itself must run them; None where the engine can

    def made_by(self) -> dict[str, Stage]:
        """Return the stage of each output, by path."""
        return {out.path: stage for stage in self.stages for out in stage.outs}


def read(repo: Any, targets: Sequence[str] = (TARGET,)) -> Pipeline:
    """Return the pipeline of an open `dvc.repo.Repo` up to these stages; without any, all of dvc.yaml's.

    Raises:
        SweepError: dvc.yaml has no stage evaluate, or DVC refuses it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo.reproduce import get_active_graph, plan_repro

    try:
        wanted = _wanted(repo, targets)
        steps = plan_repro(get_active_graph(repo.index.graph), wanted)
        stages = [step for step in steps if step.cmd]
        sources = dict(_sources([step for step in steps if not step.cmd]))
    except DvcException as error:
        raise SweepError(
            f"dvc.yaml: a sweep runs the pipeline up to {TARGET}: {' '.join(str(error).split())}"
        ) from None
    text = Path(repo.root_dir, "dvc.yaml").read_text(encoding="utf-8")
    reasons = [reason for step in steps for reason in _reasons(repo, step)]
    if _TEMPLATED.search(text):
        reasons.append("dvc.yaml has templates")
    if set(repo.index.graph.nodes) and any(stage.path_in_repo != "dvc.yaml" for stage in stages):
        reasons.append("stages stand in several dvc.yaml files")
    lock: Mapping[str, Any] = stages[0].dvcfile.lockfile_contents if stages else {}
    locked = lock.get("stages", {})
    plain = () if reasons else tuple(_stage(stage, locked.get(stage.name)) for stage in stages)
    code: dict[str, Hash] = {}
    if not reasons:
        code, reasons = _code(stages, {out.path for stage in plain for out in stage.outs} | sources.keys())
    return Pipeline(plain, sources, code, lock, reasons[0] if reasons else None)


def _code(stages: list[Any], data: Set[str]) -> tuple[dict[str, Hash], list[str]]:
    """Return the hashes of the dependencies that no stage makes, by path, and why one cannot be had."""
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException

    found: dict[str, Hash] = {}
    for dep in (dep for stage in stages for dep in stage.deps if not isinstance(dep, ParamsDependency)):
        path = dep.def_path
        if path in data or path in found:
            continue
        if any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in data):
            return {}, [f"{path} is a part of data, or has data in it"]
        try:
            found[path] = _hashed(dep)
        except DvcException as error:
            return {}, [" ".join(str(error).split())]
    return found, []


def _hashed(dep: Any) -> Hash:
    """Return the hash of a dependency.

    Raises:
        DvcException: it is not there, or only DVC itself notes it exactly.
    """
    from dvc.exceptions import DvcException

    file = Path(dep.fs_path)
    if file.is_file() and not file.is_symlink() and not file.stat().st_mode & stat.S_IEXEC:
        return Hash(*md5_of(file))
    dep.save()
    if dep.hash_name != "md5" or dep.meta.isexec:
        raise DvcException(f"{dep.def_path} is an executable, or of an old form")
    return Hash(dep.hash_info.value, dep.meta.size or 0, dep.meta.nfiles)


def _wanted(repo: Any, targets: Sequence[str]) -> list[Any]:
    """Return DVC's stages of these names; those of the index, for DVC parses all files again where it is asked.

    Raises:
        DvcException: there is no such stage.
    """
    of_file = [stage for stage in repo.index.stages if stage.path_in_repo == "dvc.yaml"]
    named = {stage.name: stage for stage in of_file if stage.cmd}
    if all(target in named for target in targets):
        return [named[target] for target in targets] or of_file
    return [stage for target in targets for stage in repo.stage.collect(target)]


def _stage(stage: Any, locked: Mapping[str, Any] | None) -> Stage:
    """Return a stage of DVC's as plain values."""
    from dvc.stage.utils import split_params_deps

    params, deps = split_params_deps(stage)
    return Stage(
        stage.name,
        stage.cmd,
        tuple(sorted(dep.def_path for dep in deps)),
        {param.def_path: tuple(sorted(param.params)) for param in params},
        tuple(
            Out(out.def_path, bool(out.use_cache), bool(out.metric), bool(out.plot))
            for out in sorted(stage.outs, key=lambda out: out.def_path)
        ),
        locked,
        bool(stage.always_changed),
    )


def _sources(steps: list[Any]) -> Iterator[tuple[str, Hash]]:
    for step in steps:
        for out in step.outs:
            if out.hash_info:
                yield (
                    out.def_path if step.wdir == step.repo.root_dir else _in_repo(step, out),
                    Hash(out.hash_info.value, out.meta.size or 0, out.meta.nfiles),
                )


def _in_repo(step: Any, out: Any) -> str:
    """Return the path of an output in the repository."""
    return Path(out.fs_path).relative_to(step.repo.root_dir).as_posix()


def _reasons(repo: Any, step: Any) -> Iterator[str]:
    """Yield why the engine cannot do a step exactly."""
    from dvc.dependency import Dependency, ParamsDependency

    if step.is_import or step.is_repo_import:
        yield f"{step.addressing} is an import"
        return
    if not step.cmd:
        return
    named = {
        "is frozen": step.frozen,
        "has a wdir": step.wdir != repo.root_dir,
    }
    yield from (f"stage {step.name} {what}" for what, holds in named.items() if holds)
    for dep in step.deps:
        if type(dep) not in (Dependency, ParamsDependency) or dep.protocol != "local" or not dep.is_in_repo:
            yield f"stage {step.name} depends on {dep}, which is not a file of the repository"
        elif isinstance(dep, ParamsDependency) and not dep.params:
            yield f"stage {step.name} depends on the whole of {dep.def_path}"
    for out in step.outs:
        odd = out.persist or out.remote or out.protocol != "local" or not out.is_in_repo or out.files
        if odd or out.hash_name != "md5":
            yield f"stage {step.name}: its output {out.def_path} is persistent, elsewhere or of an old form"
