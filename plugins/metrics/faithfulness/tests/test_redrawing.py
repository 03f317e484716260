"""Models with weights drawn anew: which weights change, and their distribution."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heatproof.model import Model
from heatproof.testing.toys import Residual
from heatproof_faithfulness.model_randomization import randomized, redrawn


def weights(model: Model) -> dict[str, Tensor]:
    return model.network.state_dict()


def changed(first: Model, second: Model) -> set[str]:
    """The names of the modules with different weights."""
    pairs = {name: (value, weights(second)[name]) for name, value in weights(first).items()}
    return {name.rpartition(".")[0] for name, pair in pairs.items() if not torch.equal(*pair)}


def test_only_the_named_modules_are_drawn_anew() -> None:
    model = Residual()
    before = {name: value.clone() for name, value in weights(model).items()}
    redrawn_model = randomized(model, ["head", "last", "last_norm"], 0)
    assert changed(model, redrawn_model) == {"head", "last", "last_norm"}
    assert changed(redrawn_model, randomized(redrawn_model, ["stem"], 0)) == {"stem"}
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert not redrawn_model.network.training
    assert torch.equal(weights(redrawn_model)["last_norm.running_var"], torch.ones(8))


def test_weights_depend_on_seed_and_name_only() -> None:
    first = Residual()
    second = Residual(seed=3)
    _ = first.network, second.network
    torch.manual_seed(5)
    state = torch.get_rng_state()
    weight = weights(randomized(first, ["head"], 0))["head.weight"]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights(randomized(second, ["last", "head"], 0))["head.weight"], weight)
    assert not torch.equal(weights(randomized(first, ["head"], 1))["head.weight"], weight)
    both = redrawn(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), ["0", "1"], 0).state_dict()
    assert not torch.equal(both["0.weight"], both["1.weight"])


def test_drawn_weights_are_those_of_the_modules_own_initialisation() -> None:
    drawn = weights(randomized(Residual(), ["block"], 0))["block.weight"]
    bound = (6 * 9) ** -0.5
    assert drawn.abs().max() <= bound
    assert drawn.std() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_parameters_of_a_module_that_draws_none_keep_mean_and_deviation() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(3 + 0.5 * torch.randn(5000, generator=torch.Generator().manual_seed(1)))

    network = Scaled()
    scale = redrawn(network, [""], 0).scale.detach()
    assert not torch.equal(scale, network.scale)
    assert float(scale.mean()) == pytest.approx(3, abs=0.03)
    assert float(scale.std()) == pytest.approx(0.5, abs=0.03)


def test_tied_weights_stay_tied() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[1].weight = network[0].weight
    copied: Any = redrawn(network, ["0"], 0)
    assert copied[1].weight is copied[0].weight
    assert not torch.equal(copied[0].weight, network[0].weight)


def test_they_are_made_once_by_names_and_seed() -> None:
    model = Residual()
    redrawn_model = randomized(model, ["head"], 0)
    assert randomized(model, ("head",), 0) is redrawn_model
    others = [randomized(model, ["head"], 1), randomized(model, ["stem"], 0)]
    assert len({variant.identity for variant in (model, redrawn_model, *others)}) == 4
    assert redrawn_model.identity == randomized(Residual(), ["head"], 0).identity
