"""The kit with and without pytest, and the toys against second implementations."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError, PluginError
from heatproof.passes import gradients
from heatproof.testing import (
    ConformanceError,
    NotApplicable,
    check_dataset,
    check_explainer,
    check_metric,
    check_model,
    check_plugin,
    checks,
    conforms,
    toys,
)
from heatproof.testing.bench import in_float64
from heatproof.testing.check import Check, Violation, claim, run
from heatproof.testing.toys import GRID, SPANS, Blobs, Blocks, Linear, Piecewise, Regions, Residual, Slope, region


class Backwards(Slope):
    """An explainer with the wrong sign."""

    traits = frozenset({"signed"})

    def explain(self, batch):
        return -super().explain(batch)


WRONG = {
    "heat lies on the region that decides": "it points away on purpose",
    "signs follow the weights of a linear model": "so do its signs",
}


def holds(bench):
    """A law that holds."""


def breaks(bench):
    """A law that is broken."""
    claim(False, "seen 3, allowed 2")


def does_not_apply(bench):
    """A law that does not apply."""
    raise NotApplicable("no trait")


def raises(bench):
    """A law that raises an error."""
    raise KeyError("layer")


def test_a_failure_lists_every_broken_law_and_keeps_all_results():
    with pytest.raises(ConformanceError) as caught:
        run("toy", [Check(law, None) for law in (holds, breaks, does_not_apply, raises)])
    outcomes = [(result.name, result.outcome, result.reason) for result in caught.value.results]
    assert outcomes == [
        ("holds", "passed", ""),
        ("breaks", "failed", "seen 3, allowed 2"),
        ("does not apply", "skipped", "no trait"),
        ("raises", "failed", "KeyError: 'layer'"),
    ]
    assert str(caught.value).splitlines() == [
        "toy fails 2 of 4 checks:", "- breaks: seen 3, allowed 2", "- raises: KeyError: 'layer'",
    ]  # fmt: skip


def test_an_announced_failure_is_expected():
    (result,) = run("toy", [Check(breaks, None)], {"breaks": "known"})
    assert (result.outcome, result.reason, result.passed) == ("expected", "known", True)


def test_an_announced_failure_must_fail():
    with pytest.raises(ConformanceError, match=r"it passes, although it was announced to fail \(known\)"):
        run("toy", [Check(holds, None)], {"holds": "known"})


def test_an_announcement_of_no_check_suggests_names():
    with pytest.raises(HeatproofError, match="no check is called 'brakes'; did you mean 'breaks'"):
        run("toy", [Check(breaks, None)], {"brakes": "known"})


def test_a_broken_law_is_an_assertion_for_pytest_too():
    with pytest.raises(AssertionError, match="seen 3, allowed 2"):
        Check(breaks, None)()
    assert issubclass(Violation, AssertionError)


@conforms(Backwards(), expected=WRONG)
def test_expected_failures_become_strict_expected_failures_of_pytest(check):
    check()


@pytest.mark.slow
def test_the_same_expected_failures_without_pytest():
    results = check_explainer(Backwards(), expected=WRONG)
    assert {result.name for result in results if result.outcome == "expected"} == set(WRONG)


@pytest.mark.slow
def test_the_decorator_runs_in_a_file_of_a_third_party(pytester_free_run):
    outcome = pytester_free_run(
        "from heatproof.testing import conforms\n"
        "from heatproof.testing.toys import Slope, Linear\n"
        "@conforms(Slope(), Linear())\n"
        "def test_conformance(check):\n"
        "    check()\n"
    )
    assert outcome == pytest.ExitCode.OK


@pytest.fixture
def pytester_free_run(tmp_path):
    """Run a test file in this process."""

    def run_file(text):
        path = tmp_path / "test_third_party.py"
        path.write_text(text)
        return pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(path)])

    return run_file


def test_only_components_of_a_known_kind_have_checks():
    with pytest.raises(PluginError, match="Blocks is not a dataset, model, explainer, metric or reader"):
        checks(Blocks())


def test_every_check_is_named_by_a_sentence_and_described():
    for subject in (Slope(), Residual(), Blobs()):
        for check in checks(subject):
            assert " " in check.name
            assert check.law.__doc__


@pytest.mark.slow
def test_an_installed_plugin_is_checked_by_the_name_of_its_distribution():
    results = check_plugin("heatproof-baseline")
    assert results
    assert all(result.passed for result in results)
    assert {result.name.split(": ")[0] for result in results} == {
        "explainer centre", "explainer input_edges",
    }  # fmt: skip


def test_a_component_is_checked_by_its_name():
    names = {result.name.split(":")[0] for result in check_plugin("gradient")}
    assert names == {"explainer gradient"}


def test_an_unknown_plugin_suggests_names():
    with pytest.raises(PluginError, match="did you mean 'gradcam'"):
        check_plugin("gradcan")


def test_the_checks_of_each_kind_return_results():
    assert all(result.passed for result in check_model(Residual()))
    assert all(result.passed for result in check_dataset(Blobs()))


def test_a_component_of_another_kind_is_refused():
    with pytest.raises(PluginError, match="Slope is not of kind metric"):
        check_metric(Slope())


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("side", [0, 1])
def test_the_linear_toy_has_its_weights_for_gradient(dimensions, side):
    gradient = gradients(batch_of(Linear(dimensions=dimensions), [side] * 4)).images[0]
    expected = np.zeros((3, *(GRID,) * dimensions))
    for index, (start, stop) in enumerate(SPANS):
        expected[(slice(None), *(slice(start, stop),) * dimensions)] = 3 if index == side else -1
    assert np.array_equal(gradient.numpy(), expected)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("side", [0, 1])
def test_the_score_of_the_regions_toy_depends_on_its_blob_only(dimensions, side):
    batch = batch_of(Regions(dimensions=dimensions), [side] * 4)
    inside = torch.from_numpy(region(side, dimensions))
    without = torch.where(inside, 0.1, batch.images)
    only = torch.where(inside, batch.images, 0.1)
    score = batch.score(batch.images)
    assert (score > 0).all()
    assert (batch.score(without) <= 0.05 * score).all()
    assert (batch.score(only) >= 0.95 * score).all()


def test_the_piecewise_toy_is_homogeneous():
    batch = batch_of(Piecewise(), [0, 1, 0, 1])
    score = batch.score(batch.images)
    torch.testing.assert_close(batch.score(3 * batch.images), 3 * score, rtol=1e-12, atol=0)
    torch.testing.assert_close((batch.images * gradients(batch).images).sum((1, 2, 3)), score, rtol=1e-12, atol=0)


def test_blocks_are_means():
    sample = Blobs().load("blob-003")
    expected = functional.avg_pool2d(torch.from_numpy(sample.image / 255)[None], 4)[0]
    np.testing.assert_allclose(Blocks()(sample).image, expected, rtol=1e-6)
    with pytest.raises(DataError, match="multiple of 16"):
        Blocks()(Blobs(size=40).load("blob-000"))


def test_the_brighter_blob_is_the_label():
    for id in Blobs().ids():
        sample = Blobs().load(id)
        brightness = [sample.image[side][sample.annotations[side].values > 0].mean() for side in range(2)]
        assert int(np.argmax(brightness)) == sample.label
        assert all(
            not (annotation.values[~region(side, size=64)]).any() for side, annotation in enumerate(sample.annotations)
        )


def batch_of(model: toys.Toy, targets: list[int]) -> Batch:
    """Four toy images in float64."""
    samples = model.samples(4)
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).double()
    return Batch(in_float64(model), [sample.id for sample in samples], images, targets)
