"""Variants of models, and models of networks at hand: what changes, what is shared, and what stays as it is."""

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
from heatproof.passes import gradients
from heatproof.records import Sample
from heatproof.testing.toys import Blocks, Residual

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def weights(model: Model) -> dict[str, Tensor]:
    return model.network.state_dict()


def changed(one: Model, other: Model) -> set[str]:
    """The modules whose weights differ."""
    pairs = {name: (value, weights(other)[name]) for name, value in weights(one).items()}
    return {name.rpartition(".")[0] for name, pair in pairs.items() if not torch.equal(*pair)}


def emptied(model: Model, *modules: str) -> Model:
    """The model with zeros for the weights of these modules."""

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
    made = emptied(model, "head", "last")
    assert changed(model, made) == {"head", "last"}
    assert changed(made, emptied(made, "stem")) == {"stem"}
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert not made.network.training


def test_both_views_are_those_of_the_new_network() -> None:
    made = emptied(Residual(), "block", "block_norm", "head")
    expected = copy.deepcopy(made.network)(IMAGES)
    for folded in (True, False):
        found, _ = made.view(IMAGES, {}, folded)(IMAGES, {})
        assert found["logits"].detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-5)


def test_what_is_not_changed_lies_in_the_memory_of_the_model() -> None:
    model = Residual()
    made = emptied(model, "head")
    views = [each.view(IMAGES, {}).module for each in (model, made)]
    for one, other in ((model.network, made.network), views):
        pairs = zip(one.named_parameters(), other.parameters())
        shared = {name: a.data_ptr() == b.data_ptr() for (name, a), b in pairs}
        assert {name for name, same in shared.items() if not same} == {"head.weight", "head.bias"}
        assert all(a is not b for a, b in zip(one.parameters(), other.parameters()))


def test_equal_tensors_alone_are_shared() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.bias.data = one.bias.data.clone()
    other.extra = nn.Parameter(torch.zeros(1))
    share(other, one)
    assert other.bias.data_ptr() == one.bias.data_ptr()
    assert other.weight.data_ptr() != one.weight.data_ptr()


def test_it_is_made_once_and_anew_when_the_weights_changed() -> None:
    model = Residual()
    made = emptied(model, "head")
    assert emptied(model, "head") is made
    assert emptied(model, "stem") is not made
    with torch.no_grad():
        model.network.stem.weight.mul_(2)
    again = emptied(model, "head")
    assert again is not made
    assert changed(model, again) == {"head"}


def test_it_has_an_identity_of_its_own() -> None:
    model = Residual()
    identities = [
        each.identity
        for each in (model, emptied(model, "head"), emptied(model, "head", "stem"), emptied(model, "stem"))
    ]
    assert len(set(identities)) == 4
    assert emptied(model, "head").identity == emptied(Residual(), "head").identity
    assert emptied(model, "head").layers() == model.layers()
    assert emptied(model, "head").classes == model.classes


def test_weights_that_an_explainer_spoils_are_forgotten_by_the_model_too() -> None:
    class Spoiling(Explainer):
        def explain(self, batch: Batch) -> Tensor:
            with torch.no_grad():
                batch.model.network.stem.weight.zero_()
            return gradients(batch).images

    model = Residual()
    expected = weights(Residual())["stem.weight"]
    made = emptied(model, "head")
    with pytest.raises(PluginError, match="changes weights"):
        Spoiling()(Batch(made, ["a", "b"], IMAGES, [0, 0]))
    assert torch.equal(weights(model)["stem.weight"], expected)
    assert changed(model, emptied(model, "head")) == {"head"}


# a network at hand


def at_hand(seed: int = 0, **settings: Any) -> Model:
    return Model.of(Residual(seed=seed).build(), **{"classes": Residual.classes, "preparation": Blocks()} | settings)


def test_a_network_at_hand_is_used_as_it_is() -> None:
    network = Residual().build().train()
    model = Model.of(network, "abc", Blocks(), head="sigmoid", outputs=["scores"])
    assert model.network is network
    assert not network.training
    assert (model.classes, model.head, model.outputs) == (("a", "b", "c"), "sigmoid", ("scores",))
    assert model.grid == Blocks().identity
    assert model.short == "_Residual"
    assert torch.equal(model.forward(IMAGES)["scores"], network(IMAGES))


def test_its_identity_follows_from_weights_structure_and_arguments() -> None:
    doubled = at_hand()
    with torch.no_grad():
        doubled.network.last_norm.running_mean.mul_(2)
    other_slope = [Model.of(nn.Sequential(nn.Flatten(), nn.LeakyReLU(slope)), "a") for slope in (0.1, 0.2)]
    models = [
        at_hand(), at_hand(1), doubled, at_hand(classes="abc"), at_hand(head="sigmoid"), at_hand(outputs=("mask",)),
        at_hand(preparation=None), Model.of(nn.Sequential(Residual().build()), Residual.classes, Blocks()),
        *other_slope,
    ]  # fmt: skip
    assert len({model.identity for model in models}) == len(models)
    assert at_hand().identity == at_hand().identity
    assert at_hand().network is not at_hand().network
    assert at_hand().with_(head="sigmoid").identity == at_hand(head="sigmoid").identity


def test_its_identity_is_the_same_in_every_process() -> None:
    script = "from heatproof.model import Model; from heatproof.testing.toys import Residual, Blocks; "
    script += "print(Model.of(Residual().build(), Residual.classes, Blocks()).identity)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == at_hand().identity


def test_it_is_described_and_travels_to_a_worker() -> None:
    model = at_hand()
    described = json.loads(json.dumps(model.describe()))
    assert described["network"].startswith("_Residual ")
    assert described["preparation"] == Blocks().describe()
    copied = pickle.loads(pickle.dumps(model))
    assert copied.identity == model.identity
    assert torch.equal(copied.network(IMAGES), model.network(IMAGES))


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(HeatproofError, match="network: Input should be an instance of Module"):
        Model.of(torch.relu, "abc")  # type: ignore[arg-type]


# what a subclass may override


@pytest.mark.parametrize("name", ["forward", "network", "outline", "require_layers"])
def test_what_no_run_would_honour_cannot_be_overridden(name: str) -> None:
    with pytest.raises(PluginError, match=f"Overriding overrides Model.{name}, which is final"):
        type("Overriding", (Residual,), {name: lambda self: None})


def test_the_guard_of_an_explainer_cannot_be_overridden() -> None:
    with pytest.raises(PluginError, match=r"Overriding overrides Explainer\.__call__, which is final"):
        type("Overriding", (Explainer,), {"__call__": lambda self, batch: None})


def test_a_model_that_prepares_its_own_way_has_a_grid_of_its_own() -> None:
    class Brighter(Residual):
        def prepare(self, sample: Sample) -> Sample:
            prepared = super().prepare(sample)
            return replace(prepared, image=prepared.image + 1)

    assert Residual().grid == Blocks().identity
    assert Brighter().grid == Brighter().identity
