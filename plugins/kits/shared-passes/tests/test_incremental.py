"""Incremental forwards against full ones for every kind of node, and the boxes and memory that they take."""

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from heatproof.network.canonical import canonical
from heatproof_shared_passes.boxes import Box, Spans, Windows, cut, merged
from heatproof_shared_passes.incremental import Changes, WindowEffects
from heatproof_shared_passes.receptive_field import ReceptiveField, receptive_fields


def randomized(network: nn.Module) -> nn.Module:
    """The network in float64 with random weights and statistics; variances are positive."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.double().state_dict().items():
        if not value.is_floating_point():
            continue
        low = -0.4
        if name.endswith("running_var"):
            low = 0.5
        value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) + low)
    return network.eval()


def random_image(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 0.3


def planned(network: nn.Module, windows: Windows) -> WindowEffects:
    module = canonical(network)
    (output,) = module.graph.find_nodes(op="output")
    return WindowEffects(module, output.args[0], windows)


def perturbed(image: Tensor, windows: Windows, replacement: Tensor) -> Tensor:
    """One copy of the image per window, with the replacement in the window."""
    images = []
    for index in itertools.product(*(range(count) for count in windows.shape)):
        inside = (..., *(slice(span.low[i], span.high[i]) for span, i in zip(windows.spans, index)))
        images.append(image.clone())
        images[-1][inside] = replacement.expand_as(image)[inside]
    return torch.cat(images)


@torch.no_grad()
def assert_exact(network: nn.Module, image: Tensor, size: int, stride: int, step: int = 100) -> WindowEffects:
    """Check that the outputs of all windows are those of full forwards, in pieces and parts of ``step`` windows."""
    windows = Windows.sliding(image.shape[2:], size, stride)
    plan = planned(network, windows)
    replacement = random_image(*image.shape, seed=2)
    changes = Changes(plan, image, replacement, {})
    outputs = []
    for row, piece in itertools.product(plan.rows, slices(windows.shape[-1], step + 1)):
        boxes = changes.boxes(row, piece)
        parts = slices(len(range(windows.shape[-1])[piece]), step)
        outputs += [changes.outputs(row, piece, boxes, part) for part in parts]
    expected = network(perturbed(image, windows, replacement))
    assert float(expected.std(0).max()) > 1e-6
    torch.testing.assert_close(torch.cat(outputs), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(changes.output, network(image), rtol=1e-10, atol=1e-12)
    return plan


def slices(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def names(nodes) -> set[str]:
    return {node.name for node in nodes}


class Headed(nn.Module):
    """A layer between two convolutions, flattened into three classes."""

    def __init__(self, layer: nn.Module, dimensions: int = 2):
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.first = convolution(3, 4, 3, padding=1)
        self.layer = layer
        self.last = convolution(4, 4, 2)
        self.head = nn.LazyLinear(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.last(self.layer(self.first(images))).relu().flatten(1))


LOCAL = {
    "strided": nn.Conv2d(4, 4, 3, stride=2, padding=1),
    "oblong": nn.Conv2d(4, 4, (1, 5), stride=(2, 1), padding=(0, 2)),
    "dilated": nn.Conv2d(4, 4, 3, dilation=2),
    "same": nn.Conv2d(4, 4, 4, padding="same"),
    "valid": nn.Conv2d(4, 4, 3, padding="valid"),
    "grouped": nn.Conv2d(4, 4, 3, groups=4, padding=2),
    "skipping": nn.Conv2d(4, 4, 1, stride=3),
    "maximum": nn.MaxPool2d(3, 2, padding=1),
    "maximum_dilated": nn.MaxPool2d(2, 1, dilation=2),
    "average": nn.AvgPool2d(3, 2, padding=1),
    "average_unpadded": nn.AvgPool2d(2, count_include_pad=False),
    "average_divided": nn.AvgPool2d((2, 3), 1, divisor_override=5),
    "norm": nn.BatchNorm2d(4),
    "gelu": nn.GELU(),
    "prelu": nn.PReLU(4),
    "identity": nn.Sequential(nn.Identity(), nn.Dropout()),
}
GLOBAL = {
    "ragged": nn.MaxPool2d(3, 2, ceil_mode=True),
    "average_ragged": nn.AvgPool2d(3, 2, ceil_mode=True),
    "average_without_padding": nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "reflecting": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "transposed": nn.ConvTranspose2d(4, 4, 2),
    "normalised": nn.InstanceNorm2d(4),
    "grouped": nn.GroupNorm(2, 4),
    "softmax": nn.Softmax(-1),
    "upsampled": nn.Upsample(scale_factor=2),
}


@pytest.mark.parametrize("name", LOCAL)
def test_layers_whose_change_is_a_box(name):
    image = random_image(1, 3, 17, 21)
    network = Headed(LOCAL[name])
    network(image.float())
    plan = assert_exact(randomized(network), image, 4, 3)
    middle = plan.rows[len(plan.rows) // 2]
    assert "last" in names(middle.boxed)
    assert names(middle.dense) == {"flatten", "head", "output"} - {"output"}


@pytest.mark.parametrize("name", GLOBAL)
def test_other_layers_are_computed_in_full(name):
    image = random_image(1, 3, 17, 21)
    network = Headed(GLOBAL[name])
    network(image.float())
    plan = assert_exact(randomized(network), image, 4, 3)
    assert {"first"} == names(plan.rows[2].boxed) - {"images"}


@pytest.mark.parametrize("step", [1, 2, 5])
def test_pieces_and_parts_of_any_size(step):
    image = random_image(1, 3, 17, 21)
    network = Headed(nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.MaxPool2d(3, 2, padding=1)))
    network(image.float())
    assert_exact(randomized(network), image, 5, 3, step)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 2), (7, 7), (6, 4), (16, 5), (17, 1)])
def test_windows_of_any_size(size, stride):
    image = random_image(1, 3, 17, 19)
    network = Headed(nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AvgPool2d(2, 1)))
    network(image.float())
    assert_exact(randomized(network), image, size, stride)


@pytest.mark.parametrize(
    "layer", [nn.Conv3d(4, 4, 3, stride=(1, 2, 2), padding=1), nn.MaxPool3d(2), nn.AvgPool3d(3, 1, padding=1)]
)
def test_volumes(layer):
    image = random_image(1, 3, 7, 10, 13)
    network = Headed(layer, 3)
    network(image.float())
    plan = assert_exact(randomized(network), image, 2, 2)
    assert len(plan.rows) == 4 * 5
    assert "last" in names(plan.rows[0].boxed)


class Branches(nn.Module):
    """Residual, dense and gated connections, one selected channel, constants, and a size that is read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3])[:, None, None])
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 5, padding=2)
        self.wide = nn.Conv2d(9, 4, 3, stride=2)
        self.gate = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        scaled = (images - self.mean) / 0.7
        red = torch.unsqueeze(scaled[:, 0], 1) * 0.4 + 0.1
        values = self.stem(scaled).relu()
        values = values + self.side(values)
        values = torch.cat([values, functional.max_pool2d(values, 3, 1, 1), red], 1)
        values = self.wide(values)
        values = values * self.gate(values).sigmoid()
        values = functional.interpolate(values, size=images.shape[2:])
        return self.head(values.mean((2, 3)))


def test_branches_meet_in_boxes_and_reading_a_size_needs_no_whole_map():
    plan = assert_exact(randomized(Branches()), random_image(1, 3, 22, 30), 4, 4)
    row = plan.rows[2]
    assert {"sub", "truediv", "getitem", "unsqueeze", "cat", "wide", "mul_1"} <= names(row.boxed)
    assert names(row.joints) == {"mul_1"}


def test_a_gate_from_the_whole_map_changes_the_whole_map():
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.excite = nn.Conv2d(4, 4, 1)
            self.last = nn.Conv2d(4, 3, 3)

        def forward(self, images: Tensor) -> Tensor:
            values = self.first(images)
            return self.last(values * self.excite(values.mean((2, 3), keepdim=True)).sigmoid()).mean((2, 3))

    plan = assert_exact(randomized(Squeezed()), random_image(1, 3, 16, 16), 4, 4)
    assert names(plan.rows[0].joints) == {"first"}


def test_an_output_that_windows_do_not_reach_is_unchanged():
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, images: Tensor, other: Tensor) -> Tensor:
            return self.head(other)

    network = randomized(Aside())
    plan = planned(network, Windows.sliding((6, 6), 2, 2))
    other = random_image(1, 2)
    changes = Changes(plan, random_image(1, 3, 6, 6), torch.zeros(()).expand(1, 3, 6, 6), {"other": other})
    row = plan.rows[0]
    outputs = changes.outputs(row, slice(0, 3), changes.boxes(row, slice(0, 3)), slice(1, 3))
    assert torch.equal(outputs, network(None, other).expand(2, -1))


def test_other_inputs_are_the_same_for_every_window():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(7, 2)

        def forward(self, images: Tensor, other: Tensor, scale: float = 2.0) -> Tensor:
            return self.head(torch.cat([self.first(images).mean((2, 3)) * scale, other], 1))

    network = randomized(Both())
    windows = Windows.sliding((9, 9), 3, 3)
    image = random_image(1, 3, 9, 9)
    other = random_image(1, 3)
    plan = planned(network, windows)
    zero = torch.zeros_like(image)
    changes = Changes(plan, image, zero, {"other": other})
    outputs = [changes.outputs(row, slice(0, 3), changes.boxes(row, slice(0, 3)), slice(0, 3)) for row in plan.rows]
    expected = network(perturbed(image, windows, zero), other.expand(9, -1))
    torch.testing.assert_close(torch.cat(outputs), expected, rtol=1e-12, atol=0)


def test_only_activations_that_are_read_are_stored_and_their_memory_is_counted():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 3), nn.Flatten(),
        nn.LazyLinear(2),
    )  # fmt: skip
    network(torch.zeros(1, 3, 30, 30))
    plan = assert_exact(randomized(network), random_image(1, 3, 30, 30), 4, 4)
    changes = Changes(plan, random_image(1, 3, 30, 30), torch.zeros(1, 3, 30, 30), {})
    # Windows read more than their boxes of the image, of the inputs of the pooling and of the last convolution, and of
    # the last convolution's output; a ReLU or a 1 x 1 convolution reads only the box.
    assert names(plan.stored) == {"input_1", "_3", "_4", "_5"}
    assert changes.bytes == 8 * (3 * 30**2 + 5 * 28**2 + 5 * 14**2 + 4 * 12**2)


def test_values_are_freed_with_their_last_reader():
    network = randomized(nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(6)), nn.Flatten()))
    windows = Windows.sliding((40, 40), 4, 12)
    plan = planned(network, windows)
    changes = Changes(plan, random_image(1, 3, 40, 40), torch.zeros(1, 3, 40, 40), {})
    counts = []
    box = Changes._box

    def counted(self, node, grid_slice, values):
        counts.append(len(values))
        return box(self, node, grid_slice, values)

    changes._box = partial(counted, changes)
    assert names(changes.boxes(plan.rows[1], slice(0, 4))) == {"_5"}
    assert counts == [1] * 6
    assert changes.interpreter.env == {}


def test_the_number_of_windows_that_fit_the_memory_of_a_full_forward():
    network = randomized(nn.Sequential(nn.Conv2d(3, 8, 1), nn.MaxPool2d(4), nn.Conv2d(8, 4, 1), nn.Flatten()))
    plan = planned(network, Windows.sliding((32, 32), 8, 8))
    changes = Changes(plan, random_image(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), {})
    row = plan.rows[0]
    largest = 8 * 32 * 32
    assert changes.boxes_at_once(row, 1) == largest // (8 * 8 * 8) == 16
    assert changes.outputs_at_once(row, 1) == largest // (4 * 8 * 8) == 32
    assert changes.boxes_at_once(row, 3) == 48


def test_spans_are_where_the_output_of_a_convolution_changes():
    """By brute force: the outputs of a sum over the kernel that differ when an interval of the input differs."""
    length = 11
    for kernel, stride, padding, dilation in itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)):
        reach = ReceptiveField(kernel, stride, padding, padding, dilation)
        weight = torch.ones(1, 1, kernel)
        for low, high in itertools.combinations(range(length + 1), 2):
            signal = torch.zeros(1, 1, length)
            signal[..., low:high] = 1
            output = functional.conv1d(signal, weight, None, stride, padding, dilation)[0, 0]
            changed = output.nonzero().flatten().tolist()
            span = Spans((low,), (high,), length).through(reach)
            assert 0 <= span.low[0] < span.high[0] <= span.length
            assert all(span.low[0] <= position < span.high[0] for position in changed)
            if dilation == 1 and changed:
                assert (span.low[0], span.high[0] - 1) == (changed[0], changed[-1])


def test_boxes_are_copied_with_padding_and_changed_values():
    values = torch.arange(20.0).reshape(1, 1, 4, 5)
    changed_values = -torch.ones(2, 1, 2, 2) * torch.tensor([1.0, 2.0])[:, None, None, None]
    changed = Box(((1,), (0, 3)), (2, 2))
    copies = merged(values, changed_values, changed, Box(((2,), (-1, 2)), (3, 4)), fill=99.0)
    full = functional.pad(values, (1, 1, 0, 1), value=99.0).expand(2, -1, -1, -1).clone()
    full[0, :, 1:3, 1:3] = -1.0
    full[1, :, 1:3, 4:6] = -2.0
    assert torch.equal(copies, torch.stack([full[0, :, 2:5, 0:4], full[1, :, 2:5, 3:7]]))
    assert torch.equal(cut(values, Box(((1,), (0, 2, 3)), (2, 2)))[2], values[0, :, 1:3, 3:5])


def test_receptive_fields_of_other_modules_are_unknown():
    assert receptive_fields(nn.Linear(2, 2), 2) is None
    assert receptive_fields(None, 2) is None
    assert receptive_fields(nn.Conv2d(1, 1, 4, padding="same"), 2) == (ReceptiveField(4, 1, 1, 2, 1),) * 2
    assert not any(GLOBAL[name] and receptive_fields(GLOBAL[name], 2) for name in GLOBAL)


def residual(classes: int) -> nn.Module:
    from torchvision.models import resnet50

    return resnet50(num_classes=classes)


def chain(classes: int) -> nn.Module:
    from torchvision.models import vgg16

    return vgg16(num_classes=classes)


def inception(classes: int) -> nn.Module:
    from torchvision.models import inception_v3

    return inception_v3(num_classes=classes, aux_logits=False, init_weights=False, transform_input=True)


def efficient(classes: int) -> nn.Module:
    import timm

    return timm.create_model("efficientnet_b0", num_classes=classes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "size", "last"),
    [(chain, 75, "features_9"), (residual, 75, "layer1_2_conv3"), (inception, 96, "cat"), (efficient, 40, "bn1_act")],
)
def test_published_networks(make, size, last):
    torch.manual_seed(0)
    network = make(3).double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        network(random_image(2, 3, size, size))
    plan = assert_exact(network.eval(), random_image(1, 3, size, size), 12, 21)
    assert last in names(plan.rows[1].boxed)


def test_the_module_graph_is_not_changed():
    network = randomized(Branches())
    module = canonical(network)
    code = module.code
    padding = module.get_submodule("stem").padding
    (output,) = module.graph.find_nodes(op="output")
    plan = WindowEffects(module, output.args[0], Windows.sliding((16, 16), 4, 4))
    Changes(plan, random_image(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), {})
    assert isinstance(module, fx.GraphModule)
    assert (module.code, module.get_submodule("stem").padding) == (code, padding)
