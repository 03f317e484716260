"""Which cases belong to which group, and what cannot be divided."""

from collections.abc import Mapping
from typing import Any

import pytest

from heatproof.config.entries import Grouping
from heatproof.dataset import Dataset
from heatproof.errors import ConfigError
from heatproof.plan.groups import MOST, Traits, grouped, require_groups
from heatproof.plan.task import Source
from heatproof.records import Sample

VALUES: Mapping[str, Mapping[str, Any]] = {
    "a": {"site": "b", "age": 41, "mixed": 2, "grade": 10.0},
    "b": {"site": "a", "age": 60.0, "mixed": "x", "grade": 9},
    "c": {"site": "b", "age": 39.5, "mixed": 2.5, "grade": 10},
    "d": {"age": 40, "grade": float("nan")},
}


class Listed(Dataset):
    """Four samples, or as many as there are numbers."""

    classes = ("no", "mild", "severe")
    findings = ("spot", "scar")
    attributes = ("site", "age", "mixed", "grade", "number", "blank")

    def ids(self, split: str | None = None) -> list[str]:
        return list(VALUES)

    def load(self, id: str) -> Sample:
        raise NotImplementedError

    def attributes_of(self, id: str) -> Mapping[str, Any]:
        return VALUES.get(id, {"number": id})


class Bare(Listed):
    classes = ()
    findings = ()
    attributes = ()


def groups(of: str, edges: tuple[float, ...] | None = None, **cases: Traits) -> dict[str, list[str]]:
    return grouped(Grouping(of=of, edges=edges), Listed(), cases or dict.fromkeys(VALUES, Traits()))


def test_labels_have_the_order_of_classes_and_a_case_all_of_its_own() -> None:
    cases = {"a": Traits([2]), "b": Traits([0, 2]), "c": Traits([]), "d": Traits(None), "e": Traits([7])}
    assert list(groups("label", **cases).items()) == [("no", ["b"]), ("severe", ["a", "b"])]


def test_what_was_not_examined_is_in_no_group_of_findings() -> None:
    cases = {
        "a": Traits(None, ["scar"]),
        "b": Traits(None, []),
        "c": Traits(None, None),
        "d": Traits([1], ["scar", "spot"]),
    }
    assert list(groups("finding", **cases).items()) == [("spot", ["d"]), ("scar", ["a", "d"]), ("none", ["b"])]


def test_numbers_are_ordered_by_value_before_text() -> None:
    assert list(groups("grade").items()) == [("9", ["b"]), ("10", ["a", "c"])]
    assert list(groups("mixed")) == ["2", "2.5", "x"]
    assert list(groups("site").items()) == [("a", ["b"]), ("b", ["a", "c"])]


def test_an_interval_contains_its_lower_edge() -> None:
    expected = {"below 40": ["c"], "40 to below 60": ["d", "a"], "60 or more": ["b"]}
    assert list(groups("age", (40, 60)).items()) == list(expected.items())
    assert groups("age", (40.5,)) == {"below 40.5": ["c", "d"], "40.5 or more": ["a", "b"]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("grde", r"by names 'grde', by which Listed cannot be divided; did you mean 'grade'\?"),
        ("sex", r"by names 'sex', .*; allowed: age, blank, finding, grade, label, mixed, number, site"),
        ("blank", r"by: blank of Listed is unknown for all 4 samples; leave it out\."),
        ({"of": "mixed", "edges": [3]}, r"by: mixed of Listed cannot have edges, .*, such as 'x'; leave edges out\."),
    ],
)
def test_what_cannot_be_divided_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        require_groups([Grouping.model_validate(entry)], [Source(Listed(), "all", tuple(VALUES))])


def test_a_dataset_without_labels_is_not_divided_by_them() -> None:
    with pytest.raises(ConfigError, match=r"by names 'label', by which Bare cannot be divided; allowed: none") as error:
        require_groups([Grouping(of="label"), Grouping(of="finding")], [Source(Bare(), "all", tuple(VALUES))])
    assert len(str(error.value).splitlines()) == 2


def test_many_values_need_edges() -> None:
    class Numbered(Listed):
        def attributes_of(self, id: str) -> Mapping[str, Any]:
            return {"number": int(id), "site": f"site {id}"}

    def require(entry: Any, count: int) -> None:
        source = Source(Numbered(), "all", tuple(map(str, range(count))))
        require_groups([Grouping.model_validate(entry)], [source])

    require("number", MOST)
    require({"of": "number", "edges": [17, 34]}, 1000)
    with pytest.raises(ConfigError, match=r"has 51 different .* {of: number, edges: \[17, 34\]}\.$"):
        require("number", MOST + 1)
    with pytest.raises(
        ConfigError, match=r"by: site of .*Numbered has 51 different values, .*; choose another name\.$"
    ):
        require("site", MOST + 1)
