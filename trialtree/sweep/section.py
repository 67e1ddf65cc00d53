"""The sweep section of params.yaml."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from stages import params
from stages.recipes import size_in_bytes
from trialtree.sweep.stopping.rules import EarlyTermination

NAME = "sweep"

Goal = Literal["maximize", "minimize"]
SAMPLERS = ("grid", "random", "sobol", "bayesian", "gp", "cmaes")
MODELLED = ("bayesian", "gp", "cmaes")  # samplers that learn from the trials before

_OPTIONS = ("startup", "multivariate", "candidates")  # the first of all that learn, the others of bayesian

Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _one_of(known: Sequence[str]) -> BeforeValidator:
    """Return a check that a text is one of those known."""

    def check(value: Any) -> Any:
        if value not in known:
            near = params.nearest(str(value), known)
            said = near if near.startswith("did") else ""
            raise ValueError(f"must be one of {', '.join(known)}{said and f' ({said})'}")
        return value

    return BeforeValidator(check)


def _form(value: Any) -> str:
    """Return which of its forms a value has, as pydantic takes it and as `params` leaves it out of a message."""
    return "(list)" if isinstance(value, list) else "(options)" if isinstance(value, Mapping) else "(one)"


def _size(size: str) -> str:
    size_in_bytes(size)
    return size


def _some(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not value:
        raise ValueError("must have at least one key, with what it is drawn from")
    return value


def _one_at_least(value: list[Any]) -> list[Any]:
    if not value:
        raise ValueError("must have at least one item")
    return value


class Objective(params.Section):
    """A metric by its part and name, as in reports/metrics.json, and where it should go."""

    metric: str
    goal: Goal

    @model_validator(mode="before")
    @classmethod
    def _be_a_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | cls):
            raise ValueError("must be a mapping such as {metric: cv.accuracy, goal: maximize}")
        return value


class Sampling(params.Section):
    """A sampler and its options; those but the first are of samplers that learn."""

    sampler: Annotated[str, _one_of(SAMPLERS)] = "random"
    startup: Annotated[int, Field(ge=1)] | None = None  # trials drawn before the sampler learns; default its own
    multivariate: Literal["auto"] | bool = "auto"  # bayesian: keys together, not one by one
    candidates: Annotated[int, Field(ge=1)] | None = None  # bayesian: draws of which the best is taken

    @model_validator(mode="after")
    def _take_what_is_its_own(self) -> Self:
        own = _OPTIONS if self.sampler == "bayesian" else _OPTIONS[:1] if self.sampler in MODELLED else ()
        for name in _OPTIONS:
            if name in self.model_fields_set and name not in own:
                raise ValueError(f"{name} is no option of {self.sampler}")
        return self


class Limits(params.Section):
    """When the sweep ends, and what a trial may take."""

    trials: Count | None = None  # default the whole grid
    concurrent: Count | None = None  # trials at once; default by the machine's cores
    timeout: Seconds | None = None  # of the sweep
    trial_timeout: Seconds | None = None
    retries: Annotated[int, Field(ge=0)] = 0  # of a failed trial
    failures: Count | None = None  # failed trials after which the sweep is given up
    target: Finite | None = None  # of the objective, which ends the sweep when it is reached
    patience: Count | None = None  # trials that may end without a better one
    memory: Annotated[str, AfterValidator(_size)] | None = None  # of a trial, such as 2GB


_Start = Annotated[
    Annotated[str, Tag("(one)")] | Annotated[dict[str, Any], Tag("(options)")],
    Discriminator(lambda value: "(options)" if isinstance(value, Mapping) else "(one)"),
]


class SweepParams(params.Section):
    """The sweep section. What `space` and `where` say is read by `space.read`."""

    objective: Annotated[
        Annotated[Objective, Tag("(options)")]
        | Annotated[list[Objective], AfterValidator(_one_at_least), Tag("(list)")],
        Discriminator(lambda value: "(list)" if isinstance(value, list) else "(options)"),
    ]
    allow_test: bool = False  # let the test part choose the best trial
    tie_break: list[Objective] = []
    space: Annotated[dict[str, Any], AfterValidator(_some)]
    where: Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = []
    sampling: Annotated[
        Annotated[str, _one_of(SAMPLERS), Tag("(one)")] | Annotated[Sampling, Tag("(options)")],
        Discriminator(lambda value: "(options)" if isinstance(value, Mapping | Sampling) else "(one)"),
    ] = "random"
    seed: int = Field(default=0, ge=0, lt=2**32)
    order: Literal["free", "fixed"] = "free"  # fixed: the same trials whatever the timing
    start_from: Annotated[
        Annotated[str, Tag("(one)")]
        | Annotated[dict[str, Any], Tag("(options)")]
        | Annotated[list[_Start], Tag("(list)")],
        Discriminator(_form),
    ] = []
    early_termination: EarlyTermination | None = None
    limits: Limits = Limits()
    isolation: Literal["warm", "trial"] = "warm"
    keep_pruned: bool = False

    @property
    def objectives(self) -> list[Objective]:
        """The objectives; with several, the sweep looks for the Pareto front."""
        return self.objective if isinstance(self.objective, list) else [self.objective]

    @property
    def sampler(self) -> Sampling:
        """The sampler with its options."""
        return Sampling(sampler=self.sampling) if isinstance(self.sampling, str) else self.sampling

    @property
    def starts(self) -> list[str | dict[str, Any]]:
        """What start_from names, one by one."""
        return self.start_from if isinstance(self.start_from, list) else [self.start_from]

    @model_validator(mode="after")
    def _end_some_time(self) -> Self:
        limits = self.limits
        if self.sampler.sampler != "grid" and limits.trials is None and limits.timeout is None:
            raise ValueError("limits.trials is required: only a grid ends by itself")
        if len(self.objectives) > 1 and limits.target is not None:
            raise ValueError("limits.target is for one objective, and there are several")
        return self


def read(content: Mapping[str, Any]) -> SweepParams:
    """Return the sweep section of all of params.yaml, its space read too.

    Raises:
        ParamsError: every fault that the section has by itself, one line each.
    """
    from trialtree.sweep import space

    if not content.get(NAME):
        raise params.ParamsError(f"{params.PATH}: {NAME}: is missing: there is nothing to search")
    faults: list[str] = []
    section: SweepParams | None = None
    try:
        section = params.parse(NAME, content[NAME], SweepParams)
    except params.ParamsError as error:
        faults += str(error).splitlines()
    given = content[NAME] if isinstance(content[NAME], Mapping) else {}
    if isinstance(given.get("space"), Mapping):
        faults += space.faults(given["space"], given.get("where"), content)
    if section is None or faults:
        raise params.ParamsError("\n".join(dict.fromkeys(faults)))
    return section


def check(section: SweepParams, content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a section in view of all of params.yaml, one line each; imports its estimators."""
    from trialtree.sweep.space import checking

    return checking.check(section, content)


def advice(section: SweepParams, content: Mapping[str, Any]) -> list[str]:
    """Return what a person may want to know of a section with which nothing is wrong, one line each."""
    from trialtree.sweep.space import checking

    return checking.advice(section, content)
