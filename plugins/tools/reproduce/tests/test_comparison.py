"""Verdicts: a number is reproduced only where it can be compared and lies inside the interval."""

from dataclasses import replace
from pathlib import Path

import pytest

from heatproof.errors import ConfigError
from heatproof_reproduce.comparison import Own, judged, own_number
from heatproof_reproduce.published import COLUMNS, Published, published
from heatproof_reproduce.reproduction import Reproduction

ROW = Published("t", "q", "0.5", None, None, None, "", "scores", "summary.csv", {"measure": "accuracy"}, "value", "")
OWN = Own("0.45", 0.4, 0.6, 10)


@pytest.fixture
def real(reproduction: Reproduction) -> Reproduction:
    """The toy on its real data."""
    return replace(reproduction, profile_name="real")


def of_paper(reproduction: Reproduction, **changes: object) -> Reproduction:
    """A reproduction of a paper with changes."""
    return replace(reproduction, paper=reproduction.paper.model_copy(update=changes))


@pytest.mark.parametrize(
    ("value", "verdict"), [("0.4", "reproduced"), ("0.6", "reproduced"), ("0.39", "differs"), ("0.61", "differs")]
)
def test_inside_the_interval_or_not(real: Reproduction, value: str, verdict: str) -> None:
    assert judged(real, replace(ROW, value=value), OWN) == (verdict, "")


def test_nothing_on_a_twin_is_reproduced(reproduction: Reproduction) -> None:
    assert judged(reproduction, ROW, OWN) == ("cannot be compared", "the data are a synthetic twin")


def test_misprints_and_missing_numbers_are_not_compared(real: Reproduction) -> None:
    misprint = judged(real, replace(ROW, misprint="not centred"), OWN)
    assert misprint == ("cannot be compared", "the published number is a documented misprint: not centred")
    assert judged(real, ROW, Own(problem="no row")) == ("cannot be compared", "no row")
    assert judged(real, ROW, Own("nan", 0.4, 0.6, 0)) == ("cannot be compared", "our value is undefined")
    assert judged(real, ROW, Own("0.5")) == ("cannot be compared", "our number has no interval")


def test_other_data_and_networks_are_not_compared(real: Reproduction) -> None:
    [data] = real.paper.data
    verdict, reason = judged(of_paper(real, data=(data.model_copy(update={"paper": False}),)), ROW, OWN)
    assert (verdict, reason) == ("cannot be compared", "the data (kaggle_dr) are not those of the paper")
    profiles = {"real": real.profile.model_copy(update={"networks": "they are narrow"})}
    verdict, reason = judged(of_paper(real, profiles=profiles), ROW, OWN)
    assert (verdict, reason) == ("cannot be compared", "the networks are not those of the paper: they are narrow")


def test_counts_and_names_are_compared_without_an_interval(real: Reproduction) -> None:
    assert judged(real, replace(ROW, value="54"), Own("54", exact=True)) == ("reproduced", "")
    assert judged(real, replace(ROW, value="54"), Own("53", exact=True)) == ("differs", "")
    assert judged(real, replace(ROW, value="LRP"), Own("LRP")) == ("reproduced", "")
    assert judged(real, replace(ROW, value="LRP"), Own("Grad-CAM")) == ("differs", "")


def test_a_number_of_a_table_is_the_one_row_that_fits(tmp_path: Path) -> None:
    text = "model,measure,value,low,high,n_valid\nVGG,a,1,0,2,7\nVGG,b,3,,,8\nnet(size=1),a,5,4,6,9\n"
    (tmp_path / "summary.csv").write_text(text)

    def own(**select: str) -> Own:
        return own_number(tmp_path, replace(ROW, select=select))

    assert own(model="VGG", measure="a") == Own("1", 0, 2, 7)
    assert own(model="VGG", measure="b") == Own("3", None, None, 8)
    assert own(model="net*", measure="a") == Own("5", 4, 6, 9)
    assert own_number(tmp_path, replace(ROW, select={"measure": "b"}, column="n_valid")) == Own("8", exact=True)
    assert "has no row model=net; measure=a" in own(model="net", measure="a").problem
    assert "has no column modell" in own(modell="net").problem
    assert "has written no other.csv" in own_number(tmp_path, replace(ROW, file="other.csv")).problem
    with pytest.raises(ConfigError, match=r"2 rows of .* have model=VGG"):
        own(model="VGG")


def test_all_mistakes_of_published_numbers_are_told_with_their_lines(tmp_path: Path) -> None:
    lines = [
        ",".join(COLUMNS), "t,q,1,low,,,,stpe,summary.csv,measure=a,,", "t,,1,,,,,,,,,", "t,q,1,,,,,step,,,,",
        "t,q,1,,,,,step,f,measure,,",
    ]  # fmt: skip
    (tmp_path / "published.csv").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as error:
        published(tmp_path, ("step",))
    text = str(error.value)
    for problem in (
        "published.csv:2: low is 'low', not a number", "published.csv:2: there is no step 'stpe'; did you mean 'step'?",
        "published.csv:3: quantity is empty", "published.csv:3: a row without a step has a reason",
        "published.csv:4: a row with a step also has file and select", "published.csv:5: select is 'measure'",
    ):  # fmt: skip
        assert problem in text


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_text("table,quantity\nt,q\n")
    with pytest.raises(ConfigError, match=r"published.csv:1: the columns are table, quantity"):
        published(tmp_path, ())
