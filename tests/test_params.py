"""Reading params.yaml: the values that DVC records, and one line for each fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from stages import params


class Inner(params.Section):
    depth: int = Field(ge=1)


class Sample(params.Section):
    test: float = Field(default=0.25, gt=0, lt=1)
    by: Literal["random", "hash"] = "random"
    seed: int = 0
    on: bool = False
    name: str = ""
    inner: Inner | None = None
    many: dict[str, Inner] = {}


def read(folder: Path, text: str) -> Sample:
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return params.read("split", Sample)


def test_values_are_those_of_yaml_1_2(in_folder: Callable[[], Path]) -> None:
    assert read(in_folder(), "split: {test: 1e-3, name: no}") == Sample(test=0.001, name="no")


def test_all_faults_are_said_at_once_each_with_its_path_rule_and_value(in_folder: Callable[[], Path]) -> None:
    with pytest.raises(params.ParamsError) as error:
        read(
            in_folder(),
            "split: {test: 1.5, by: randm, seed: '1', on: 1, inner: {dept: 3}, many: {a: {depth: 0}}, tset: 1}",
        )
    assert str(error.value).splitlines() == [
        "params.yaml: split.test: must be less than 1, got 1.5",
        "params.yaml: split.by: must be 'random' or 'hash', got 'randm'",
        "params.yaml: split.seed: must be a whole number, got '1'",
        "params.yaml: split.on: must be true or false, got 1",
        "params.yaml: split.inner.depth: is required",
        "params.yaml: split.inner.dept is not a key; did you mean depth?",
        "params.yaml: split.many.a.depth: must be greater than or equal to 1, got 0",
        "params.yaml: split.tset is not a key; did you mean test?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "params.yaml: must be a mapping of sections, got nothing"),
        ("- 1", "params.yaml: must be a mapping of sections, got [1]"),
        ("split: 3", "params.yaml: split: must be a mapping, got 3"),
        ("splitt: {}", "params.yaml: splitt is not a section; did you mean split?"),
        ("split: {a: 1, a: 2}", 'params.yaml, line 1: found duplicate key "a" with value "2" (original value: "1")'),
        ("split: {a: [1", "params.yaml, line 1: expected ',' or ']', but got '<stream end>'"),
        ("split:\n\ttest: 1", "params.yaml, line 2: found character '\\t' that cannot start any token"),
    ],
)
def test_a_file_that_is_no_mapping_of_sections_is_one_line(in_folder: Callable[[], Path], text: str, said: str) -> None:
    with pytest.raises(params.ParamsError) as error:
        read(in_folder(), text)
    assert str(error.value) == said


def test_a_missing_file_and_a_wrong_encoding_are_one_line(in_folder: Callable[[], Path]) -> None:
    folder = in_folder()
    with pytest.raises(params.ParamsError, match=r"^params.yaml is not here; run this in the repository's top folder$"):
        params.load()
    (folder / "params.yaml").write_bytes(b"experiment: caf\xe9")
    with pytest.raises(params.ParamsError, match=r"^params.yaml: must be UTF-8, got the byte 0xe9$"):
        params.load()


def test_a_text_that_is_remembered_is_not_parsed_and_what_is_read_is_ones_own(in_folder: Callable[[], Path]) -> None:
    folder = in_folder()
    text = "split: {many: {a: {depth: 1}}}\nexperiment: remembered\n"
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    params.load()["split"]["many"].clear()
    assert params.load()["split"] == {"many": {"a": {"depth": 1}}}
    content = {"split": {"seed": 3}}
    params.remember(text, content)
    content["split"]["seed"] = 4
    params.load()["split"].clear()
    assert params.read("split", Sample) == Sample(seed=3)
    for number in range(20):
        read(folder, f"split: {{seed: {number}}}")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    assert params.load()["experiment"] == "remembered"
