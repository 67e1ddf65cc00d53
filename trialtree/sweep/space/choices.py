"""One of several items: literals, several keys at once, or a space of its own."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, model_validator

from trialtree.sweep.space.expressions import Expression, Positive


def _some(values: list[Any]) -> list[Any]:
    if not values:
        raise ValueError("must have at least one item")
    return values


class Choice(Expression):
    """One item of several; what is drawn is its place, from 0."""

    name: ClassVar[str] = "choice"
    short: ClassVar[tuple[str, ...]] = ()
    values: Annotated[list[Any], AfterValidator(_some)]
    weights: list[Positive] | None = None  # how often each is drawn, as shares of their sum
    ordered: bool = False  # neighbours are alike: a sampler that learns takes places for numbers

    @model_validator(mode="after")
    def _weigh_every_item(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.values):
            raise ValueError(f"weights must be one for each item: {len(self.weights)} for {len(self.values)} items")
        return self

    @property
    def size(self) -> int:
        return len(self.values)

    def at(self, place: int) -> int:
        return place

    def draw(self, u: float) -> int:
        if self.weights is None:
            return min(int(u * len(self.values)), len(self.values) - 1)
        left = u * sum(self.weights)
        for place, weight in enumerate(self.weights):
            left -= weight
            if left < 0:
                return place
        return len(self.weights) - 1

    def value(self, raw: int | float) -> Any:
        return self.values[int(raw)]

    def find(self, value: Any) -> int | None:
        alike = [place for place, item in enumerate(self.values) if same(item, value)]
        return next((place for place in alike if type(self.values[place]) is type(value)), next(iter(alike), None))


def same(one: Any, other: Any) -> bool:
    """Say whether two literals are equal; true is not 1, and 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
