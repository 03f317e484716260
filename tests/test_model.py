"""Variants of models, and models of existing networks: what changes, what is shared, and what stays the same."""

import copy
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import HeatproofError, PluginError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.network.weights import share
from heatproof.notices import notice
from heatproof.passes import gradients
from heatproof.records import Sample
from heatproof.testing.toys import Blocks, Residual

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def weights(model: Model) -> dict[str, Tensor]:
    return model.network.state_dict()


def changed(first: Model, second: Model) -> set[str]:
    """The modules whose weights differ."""
    pairs = {name: (value, weights(second)[name]) for name, value in weights(first).items()}
    return {name.rpartition(".")[0] for name, pair in pairs.items() if not torch.equal(*pair)}


def emptied(model: Model, *modules: str) -> Model:
    """A variant of the model with zeros as weights of these modules."""

    def change(network: nn.Module) -> nn.Module:
        copied = copy.deepcopy(network)
        with torch.no_grad():
            for name in modules:
                for parameter in copied.get_submodule(name).parameters():
                    parameter.zero_()
        return copied

    return model.variant(["emptied", *modules], change)


def test_only_the_copy_is_changed() -> None:
    model = Residual()
    before = {name: value.clone() for name, value in weights(model).items()}
    variant = emptied(model, "head", "last")
    assert changed(model, variant) == {"head", "last"}
    assert changed(variant, emptied(variant, "stem")) == {"stem"}
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert not variant.network.training


def test_both_views_equal_the_new_network() -> None:
    variant = emptied(Residual(), "block", "block_norm", "head")
    expected = copy.deepcopy(variant.network)(IMAGES)
    for folded in (True, False):
        outputs, _ = variant.view(IMAGES, {}, folded)(IMAGES, {})
        assert outputs["logits"].detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)


def test_unchanged_weights_share_memory_with_the_model() -> None:
    model = Residual()
    variant = emptied(model, "head")
    views = [member.view(IMAGES, {}).module for member in (model, variant)]
    for original, changed_network in ((model.network, variant.network), views):
        pairs = zip(original.named_parameters(), changed_network.parameters())
        shared = {name: a.data_ptr() == b.data_ptr() for (name, a), b in pairs}
        assert {name for name, same in shared.items() if not same} == {"head.weight", "head.bias"}
        assert all(a is not b for a, b in zip(original.parameters(), changed_network.parameters()))


def test_only_equal_tensors_are_shared() -> None:
    original = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    other.bias.data = original.bias.data.clone()
    other.extra = nn.Parameter(torch.zeros(1))
    share(other, original)
    assert other.bias.data_ptr() == original.bias.data_ptr()
    assert other.weight.data_ptr() != original.weight.data_ptr()


def test_a_variant_is_built_once_and_again_after_a_change_of_weights() -> None:
    model = Residual()
    variant = emptied(model, "head")
    assert emptied(model, "head") is variant
    assert emptied(model, "stem") is not variant
    with torch.no_grad():
        model.network.stem.weight.mul_(2)
    again = emptied(model, "head")
    assert again is not variant
    assert changed(model, again) == {"head"}


def test_variants_have_different_identities() -> None:
    model = Residual()
    identities = [
        member.identity
        for member in (model, emptied(model, "head"), emptied(model, "head", "stem"), emptied(model, "stem"))
    ]
    assert len(set(identities)) == 4
    assert emptied(model, "head").identity == emptied(Residual(), "head").identity
    assert emptied(model, "head").layers() == model.layers()
    assert emptied(model, "head").classes == model.classes


def test_the_model_also_drops_weights_that_an_explainer_changed() -> None:
    class Spoiling(Explainer):
        def explain(self, batch: Batch) -> Tensor:
            with torch.no_grad():
                batch.model.network.stem.weight.zero_()
            return gradients(batch).images

    model = Residual()
    expected = weights(Residual())["stem.weight"]
    variant = emptied(model, "head")
    with pytest.raises(PluginError, match="changes weights"):
        Spoiling()(Batch(variant, ["a", "b"], IMAGES, [0, 0]))
    assert torch.equal(weights(model)["stem.weight"], expected)
    assert changed(model, emptied(model, "head")) == {"head"}


# models of existing networks


def existing(seed: int = 0, **settings: Any) -> Model:
    return Model.of(Residual(seed=seed).build(), **{"classes": Residual.classes, "preparation": Blocks()} | settings)


def test_the_network_is_not_copied() -> None:
    network = Residual().build().train()
    model = Model.of(network, "abc", Blocks(), head="sigmoid", outputs=["scores"])
    assert model.network is network
    assert not network.training
    assert (model.classes, model.head, model.outputs) == (("a", "b", "c"), "sigmoid", ("scores",))
    assert model.grid == Blocks().identity
    assert model.short == "_Residual"
    assert torch.equal(model.forward(IMAGES)["scores"], network(IMAGES))


def test_the_identity_follows_from_weights_structure_and_arguments() -> None:
    doubled = existing()
    with torch.no_grad():
        doubled.network.last_norm.running_mean.mul_(2)
    other_slope = [Model.of(nn.Sequential(nn.Flatten(), nn.LeakyReLU(slope)), "a") for slope in (0.1, 0.2)]
    models = [
        existing(), existing(1), doubled, existing(classes="abc"), existing(head="sigmoid"),
        existing(outputs=("mask",)), existing(preparation=None),
        Model.of(nn.Sequential(Residual().build()), Residual.classes, Blocks()), *other_slope,
    ]  # fmt: skip
    assert len({model.identity for model in models}) == len(models)
    assert existing().identity == existing().identity
    assert existing().network is not existing().network
    assert existing().with_(head="sigmoid").identity == existing(head="sigmoid").identity


@pytest.mark.slow
def test_the_identity_is_the_same_in_every_process() -> None:
    script = "from heatproof.model import Model; from heatproof.testing.toys import Residual, Blocks; "
    script += "print(Model.of(Residual().build(), Residual.classes, Blocks()).identity)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == existing().identity


def test_a_model_can_be_described_and_pickled() -> None:
    model = existing()
    description = json.loads(json.dumps(model.describe()))
    assert description["network"].startswith("_Residual ")
    assert description["preparation"] == Blocks().describe()
    copied = pickle.loads(pickle.dumps(model))
    assert copied.identity == model.identity
    assert torch.equal(copied.network(IMAGES), model.network(IMAGES))


def test_anything_but_a_network_is_refused() -> None:
    with pytest.raises(HeatproofError, match="network: should be an instance of Module"):
        Model.of(torch.relu, "abc")  # type: ignore[arg-type]


# what a subclass may override


@pytest.mark.parametrize("name", ["forward", "network", "outline", "require_layers"])
def test_methods_that_no_run_would_call_cannot_be_overridden(name: str) -> None:
    with pytest.raises(PluginError, match=f"Overriding overrides Model.{name}, which is final"):
        type("Overriding", (Residual,), {name: lambda self: None})


def test_the_guard_of_an_explainer_cannot_be_overridden() -> None:
    with pytest.raises(PluginError, match=r"Overriding overrides Explainer\.__call__, which is final"):
        type("Overriding", (Explainer,), {"__call__": lambda self, batch: None})


def test_a_model_that_overrides_prepare_has_another_grid() -> None:
    class Brighter(Residual):
        def prepare(self, sample: Sample) -> Sample:
            prepared = super().prepare(sample)
            return replace(prepared, image=prepared.image + 1)

    assert Residual().grid == Blocks().identity
    assert Brighter().grid == Brighter().identity


def test_what_is_said_while_a_network_is_built_is_a_notice_of_its_model() -> None:
    class Talking(Residual):
        def build(self) -> nn.Module:
            notice("the weights were guessed.")
            return super().build()

    model = Talking()
    assert model.network is not None
    assert model.notices() == ["the weights were guessed."]
    with pytest.warns(UserWarning, match="the weights were guessed"):
        model.build()
