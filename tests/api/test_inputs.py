"""What callers bring: layouts, values, masks, labels and networks of every kind are read right, or refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from heatproof.api.images import _repeated
from heatproof.api.inputs import Given, parts
from heatproof.api.networks import device_of, in_single_precision, precision_of, restored
from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.imaging.transforms import Resize, Unchanged
from heatproof.registry.catalog import default

RNG = np.random.default_rng(0)
IMAGES = RNG.random((4, 3, 12, 16)).astype(np.float32)
MASK = np.zeros((12, 16), dtype=bool)
MASK[2:5, 3:9] = True


class Small(nn.Module):
    """A network of one convolution with a chosen form of output."""

    def __init__(self, channels=3, classes=3, output=lambda logits: logits):
        super().__init__()
        self.convolution = nn.Conv2d(channels, 4, 3, padding=1)
        self.linear = nn.Linear(4, classes)
        self.output = output

    def forward(self, images):
        return self.output(self.linear(torch.relu(self.convolution(images)).mean((2, 3))))


def read(images=IMAGES, network=None, **given):
    remarks = []
    annotations = {name: given.pop(name, None) for name in ("masks", "boxes", "densities")}
    pair = parts(network or Small(), images, Given(annotations=annotations, **given), default(), remarks.append)
    return *pair, " ".join(remarks)


def sample(index=0, **given):
    dataset, *_ = read(**given)
    return dataset.load(dataset.ids()[index])


class Torch(Dataset):
    """A torch dataset whose items are made by a function of the position."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.item(index)


LAST = IMAGES.transpose(0, 2, 3, 1)
FORMS = {
    "channels first": (IMAGES, "with the channels first"),
    "tensor": (torch.tensor(IMAGES), "with the channels first"),
    "channels last": (LAST, "with the channels last"),
    "list": (list(IMAGES), "with the channels first"),
    "list with a first axis": ([torch.tensor(image)[None] for image in IMAGES], "with the channels first"),
    "no first axis": (IMAGES[0], "Images: 1, with the channels first"),
    "no first axis, channels last": (LAST[0], "Images: 1, with the channels last"),
    "transparency": (np.concatenate([LAST, LAST[..., :1]], -1), "whose transparency is left out"),
    "torch dataset": (Torch(lambda index: IMAGES[index]), "Images: 4"),
    "loader": (DataLoader(Torch(lambda index: IMAGES[index]), batch_size=3, shuffle=True), "Images: 4"),
}


@pytest.mark.parametrize(("images", "remark"), FORMS.values(), ids=FORMS)
def test_every_layout_gives_the_same_picture(images, remark):
    dataset, _, remarks = read(images)
    np.testing.assert_array_equal(dataset.load(dataset.ids()[0]).image, IMAGES[0])
    assert remark in remarks


def test_as_many_grey_images_as_labels_are_no_colours():
    images = IMAGES[:3, 0]
    dataset, *_ = read(images, Small(channels=1), labels=[0, 1, 2])
    assert [dataset.load(id).image.shape for id in dataset.ids()] == [(1, 12, 16)] * 3


BYTES = np.rint(255 * IMAGES)


@pytest.mark.parametrize(
    "images", [BYTES.astype(np.uint8), BYTES, torch.tensor(BYTES).long()], ids=["uint8", "float", "int"]
)
def test_values_up_to_255_are_pictures(images):
    resize = Resize(size=(12, 16))
    dataset, model, _ = read(images, preparation=resize)
    prepared = model.prepare(dataset.load("1"))
    np.testing.assert_allclose(prepared.image, BYTES[1] / 255, atol=1e-6)


def test_a_dark_picture_is_read_on_the_scale_of_the_others():
    images = BYTES.copy()
    images[0] = np.rint(IMAGES[0])  # its values are 0 and 1
    dataset, model, _ = read(images, preparation=Resize(size=(12, 16)))
    assert model.prepare(dataset.load("0")).image.max() == pytest.approx(1 / 255)


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "RGBA"])
def test_pictures_of_pillow(mode):
    picture = Image.fromarray(BYTES[0].astype(np.uint8).transpose(1, 2, 0)).convert(mode)
    shown = np.asarray(picture.convert("L" if mode == "L" else "RGB"))
    image = sample(images=[picture], preparation=Resize(size=(12, 16), channels=3)).image
    np.testing.assert_array_equal(image, shown[None] if mode == "L" else shown.transpose(2, 0, 1))


def test_images_that_look_prepared_are_unchanged():
    _, model, remarks = read((IMAGES - 0.5) / 0.2)
    assert isinstance(model.preparation, Unchanged)
    assert "taken as prepared: their values are neither" in remarks


MASKS = {
    "bool": MASK, "0 and 1": MASK.astype(np.uint8), "0 and 255": 255 * MASK.astype(np.uint8),
    "float": MASK.astype(np.float32), "int64": torch.tensor(MASK).long(), "channel": MASK[None],
    "channel last": MASK[..., None], "Pillow": Image.fromarray(255 * MASK.astype(np.uint8)),
    "outline": [[(3, 2), (9, 2), (9, 5), (3, 5)]], "flat outline": [[3, 2, 9, 2, 9, 5, 3, 5]],
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masks_of_every_form_cover_the_same_pixels(mask):
    (annotation,) = sample(masks=[mask] * 4).annotations
    np.testing.assert_array_equal(annotation.values, MASK)
    assert (annotation.finding, annotation.kind) == ("finding", "mask")


def test_boxes_and_densities():
    boxes = {"nodule": [[(3, 2, 9, 5)], [], None, [(0, 0, 1, 1), (15.5, 11, 16, 12)]]}
    density = RNG.random((4, 12, 16))
    (box,) = sample(boxes=boxes).annotations
    np.testing.assert_array_equal(box.values, MASK)
    assert not sample(1, boxes=boxes).annotations[0].values.any()
    assert sample(2, boxes=boxes).annotations == ()
    assert sample(3, boxes=boxes).annotations[0].values.sum() == 1.5
    (gaze,) = sample(densities=density).annotations
    np.testing.assert_allclose(gaze.values, density[0], rtol=1e-6)


ITEMS = {
    "image and label": (lambda index: (IMAGES[index], 2), 2, 0),
    "image, mask and label": (lambda index: (IMAGES[index], MASK, torch.tensor(1)), 1, 1),
    "mapping": (lambda index: {"image": IMAGES[index], "label": 1, "mask": MASK[None]}, 1, 1),
    "target": (lambda index: (IMAGES[index], {"label": 2, "mask": MASK}), 2, 1),
}


@pytest.mark.parametrize(("item", "label", "count"), ITEMS.values(), ids=ITEMS)
def test_items_of_torch_datasets(item, label, count):
    dataset, *_ = read(Torch(item))
    loaded = dataset.load("3")
    assert loaded.label == label
    assert len(loaded.annotations) == count


def test_a_dataset_with_random_images_is_refused():
    with pytest.raises(DataError, match="take random transforms out"):
        read(Torch(lambda index: torch.rand(3, 12, 16)))


@pytest.mark.parametrize("drawn", [{2}, set()], ids=["one image", "a mask"])
def test_random_transforms_that_spare_the_first_image_are_refused(drawn):
    mask = set(range(4)) - drawn - {0}

    def item(index):
        image = torch.rand(3, 12, 16) if index in drawn else IMAGES[index]
        return image, (torch.rand(12, 16) > 0.5) if not drawn and index in mask else MASK

    with pytest.raises(DataError, match="take random transforms out"):
        read(Torch(item))


def test_many_images_of_a_torch_dataset_are_read_again_here_and_there():
    assert sorted(set(_repeated(4))) == [0, 1, 2, 3]
    assert len(_repeated(1)) == len(_repeated(4))
    assert _repeated(1000)[:3] == [0, 31, 62]


CT = np.stack([np.linspace(-1000, 2000, 12 * 16).reshape(12, 16)] * 3).astype(np.int16)


@pytest.mark.parametrize("image", [CT, torch.tensor(CT), CT.astype(np.float32)], ids=["int16", "tensor", "float32"])
def test_measured_images_are_seen_through_a_window(image):
    dataset, model, _ = read([image], preparation=Resize(size=(12, 16)), window=(-1000, 400))
    expected = np.clip((CT + 1000) / 1400, 0, 1)
    np.testing.assert_allclose(model.prepare(dataset.load("0")).image, expected, atol=1 / 65535)
    assert dataset.describe()["window"] == [-1000, 400]
    other, *_ = read([image], preparation=Resize(size=(12, 16)), window="percentiles")
    assert other.content() != dataset.content()


def test_classes_with_numbers_for_names():
    grades = ("1", "2", "3")
    dataset, model, _ = read(labels=["3", "1", 0, None], classes=grades)
    assert [dataset.load(id).label for id in dataset.ids()] == [2, 0, 0, None]
    assert model.target("2") == 1
    with pytest.raises(ModelError, match="the target 2 of Small is an index and the name of another class"):
        model.target(2)
    positions, same, _ = read(labels=[2, "1", 0, None])
    assert [positions.load(id).label for id in positions.ids()] == [2, 1, 0, None]
    assert same.target(2) == 2


def test_values_per_image_may_be_read_only_once():
    dataset, *_ = read(IMAGES[:1], labels=iter([1]), patients=iter(["p"]), ids=iter("x"))
    assert dataset.load("x").label == 1
    assert dataset.ids() == ["x"]
    assert dataset.patient("x") == "p"


def test_pictures_that_change_in_memory_are_refused():
    images = IMAGES.copy()
    dataset, *_ = read(images)
    images[2] = 0
    assert dataset.load("1") is not None
    with pytest.raises(DataError, match="image 2 is not what it was"):
        dataset.load("2")


def test_a_folder_of_pictures_with_a_folder_of_masks(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, values in zip(("été 1", "b"), BYTES.astype(np.uint8)):
        Image.fromarray(values.transpose(1, 2, 0)).save(tmp_path / "images" / f"{name}.png")
    for name in ("b", "stray"):
        Image.fromarray(255 * MASK.astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    dataset, _, remarks = read(tmp_path / "images", masks=tmp_path / "masks", preparation=Resize(size=(12, 16)))
    assert dataset.ids() == ["b", "été 1"]
    np.testing.assert_array_equal(dataset.load("b").annotations[0].values, MASK)
    assert dataset.load("été 1").annotations == ()
    assert "belong to no image: 1, such as stray.png" in remarks
    assert len(list(dataset.files_of("b"))) == 2


def test_a_folder_with_class_folders_is_a_dataset(tmp_path):
    for name in ("clear", "ill"):
        (tmp_path / name).mkdir()
        Image.fromarray(BYTES[0].astype(np.uint8).transpose(1, 2, 0)).save(tmp_path / name / f"{name} 1.png")
    dataset, model, _ = read(tmp_path, Small(classes=2), preparation=Resize(size=8))
    assert model.classes == ("clear", "ill")
    assert [dataset.load(id).label for id in dataset.ids()] == [0, 1]
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images, alone or in class folders"):
        read(tmp_path / "empty", preparation=Resize(size=8))


LABELS = {
    "names": (["b", "a", None, "c"], (1, 0, None, 2)),
    "columns": (np.eye(3)[[1, 0, 2, 2]], (1, 0, 2, 2)),
    "several": ([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], ((0, 2), (), (1,), (0, 1, 2))),
    "tensor": (torch.tensor([1, 0, 2, 2]), (1, 0, 2, 2)),
}


@pytest.mark.parametrize(("labels", "indices"), LABELS.values(), ids=LABELS)
def test_labels(labels, indices):
    dataset, *_ = read(labels=labels, classes=("a", "b", "c"))
    assert tuple(dataset.load(id).label for id in dataset.ids()) == indices
    assert dataset.multilabel == any(isinstance(label, tuple) for label in indices)


@pytest.mark.parametrize(("output", "outputs"), [
    (lambda logits: {"logits": logits, "features": logits.mean()}, ("logits", "features")),
    (lambda logits: (logits, logits), ("logits", "output1")),
], ids=["mapping", "tuple"])  # fmt: skip
def test_networks_with_several_outputs(output, outputs):
    _, model, _ = read(network=Small(output=output))
    assert model.outputs == outputs
    assert model.classes == ("0", "1", "2")


def test_one_output_is_a_sigmoid_unit():
    _, model, remarks = read(network=Small(classes=1))
    assert (model.head, model.classes) == ("sigmoid", ("0", "1"))
    assert "one sigmoid unit" in remarks


def test_a_series_is_read_by_position(tmp_path):
    pandas = pytest.importorskip("pandas")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, values in zip(paths, BYTES.astype(np.uint8)):
        Image.fromarray(values.transpose(1, 2, 0)).save(path)
    table = pandas.DataFrame({"path": map(str, paths), "label": [0, 1, 2]}).iloc[[2, 0]]
    given = {"labels": table["label"], "patients": pandas.Series([None, 7.5]), "preparation": Resize(size=8)}
    dataset, *_ = read(table["path"], **given)
    assert [(id, dataset.load(id).label) for id in dataset.ids()] == [("2", 2), ("0", 0)]
    assert [dataset.patient(id) for id in dataset.ids()] == ["2", "7.5"]


def test_missing_labels_and_patients_belong_to_nobody():
    dataset, *_ = read(labels=[0, float("nan"), None, 1], patients=[None, None, torch.tensor(3), "a"])
    assert [dataset.load(id).label for id in dataset.ids()] == [0, None, None, 1]
    assert [dataset.patient(id) for id in dataset.ids()] == ["0", "1", "3", "a"]


def test_a_colour_image_is_one_image_whatever_else_has_three_entries():
    dataset, *_ = read(IMAGES[0], boxes=[[(1, 1, 3, 3)]])
    assert dataset.load("0").image.shape == (3, 12, 16)
    last, *_ = read(IMAGES[0].transpose(1, 2, 0), masks=MASK)
    np.testing.assert_array_equal(last.load("0").annotations[0].values, MASK)


@pytest.mark.parametrize("images", [IMAGES > 0.5, torch.tensor(IMAGES > 0.5).long()], ids=["bool", "int64"])
def test_images_of_0_and_1_are_black_and_white(images):
    dataset, model, _ = read(images, preparation=Resize(size=(12, 16)))
    assert set(np.unique(model.prepare(dataset.load("0")).image)) == {0, 1}
    unchanged, other, _ = read(images, preparation="unchanged")
    np.testing.assert_array_equal(other.prepare(unchanged.load("0")).image, IMAGES[0] > 0.5)


def test_a_dark_type_is_said():
    _, _, remarks = read((4095 * IMAGES).astype(np.uint16), preparation=Resize(size=8))
    assert "where white is 65535" in remarks


def test_a_mask_as_nested_lists_is_a_mask():
    (annotation,) = sample(masks=[MASK.tolist()] * 4).annotations
    np.testing.assert_array_equal(annotation.values, MASK)


ROWS = [{"image": IMAGES[0], "label": MASK[None], "target": 2}, (IMAGES[1], 1)]


def test_entries_may_be_items_as_torch_datasets_give_them():
    dataset, *_ = read(ROWS)
    assert [dataset.load(id).label for id in dataset.ids()] == [2, 1]
    np.testing.assert_array_equal(dataset.load("0").annotations[0].values, MASK)


def loader(**options):
    return DataLoader(Torch(lambda index: IMAGES[index]), **options)


REFUSED = {
    "collate": (dict(images=loader(collate_fn=lambda batch: batch)), "collate_fn of its own"),
    "sampler": (dict(images=loader(sampler=torch.utils.data.SubsetRandomSampler([1, 2]))), "SubsetRandomSampler"),
    "two labels": (
        dict(images=Torch(lambda index: (IMAGES[index], index, 1))),
        "several values that could be its label",
    ),
    "masks twice": (dict(images=Torch(lambda index: (IMAGES[index], MASK)), masks=[MASK] * 4), "give them once"),
    "mixed labels": (dict(labels=[[0, 1], [1], [0], None], classes=("a", "b"), network=Small(classes=2)), "told apart"),
    "mapping": (dict(images={"a": IMAGES[0]}), "images are a dict"),
    "no masks": (dict(masks="/nowhere"), "/nowhere does not exist"),
    "lazy": (dict(network=nn.Sequential(nn.LazyConv2d(2, 3))), "lazy layers without weights"),
    "output object": (dict(network=Small(output=lambda logits: slice(logits))), "answers by a slice"),
    "one output": (dict(network=Small(classes=1), classes=("a", "b", "c")), "classes: 3, outputs of the network: 1"),
    "a preparation as the network": (dict(network=Resize(size=8)), "a Resize is no model"),
    "generator": (dict(images=iter(IMAGES)), "which can be read only once; give list(images)"),
    "measured": (dict(images=[CT], preparation=Resize(size=8)), "from -1000 to 2000, neither from 0 to 1 nor"),
    "names of numbers": (dict(labels=[3, 1, 2, 1], classes=("1", "2", "3")), "the name of another class; give the"),
    "raw": (dict(images=BYTES.astype(np.uint8)), "nothing tells how these images become the input"),
    "prepared twice": (dict(images=IMAGES - 0.5, preparation=Resize(size=8)), "would be prepared twice"),
    "NaN": (dict(images=np.full((1, 3, 4, 4), np.nan)), "image 0 holds values that are NaN"),
    "no channels": (dict(images=np.zeros((2, 7, 8, 9), np.float32)), "neither the first nor the last axis"),
    "many axes": (dict(images=np.zeros((1, 2, 3, 4, 5, 6))), "give (n, channel, height, width)"),
    "text": (dict(images=np.array(["a"])), "have the type"),
    "none": (dict(images=[]), "there are no images"),
    "nowhere": (dict(images="/nowhere/at/all"), "does not exist"),
    "number": (dict(images=3), "images are a int"),
    "classes": (dict(classes=("a", "b")), "classes: 2, outputs of the network: 3"),
    "unnamed label": (dict(labels=["cat"] * 4), "give classes="),
    "label outside": (dict(labels=[0, 1, 2, 3]), "label 3 of image 3 is outside the 3 classes"),
    "label between": (dict(labels=[0.5, 1, 2, 0]), "is no class"),
    "fewer labels": (dict(labels=[0, 1]), "labels: 2, images: 4"),
    "fewer masks": (dict(masks=[MASK]), "annotations of finding: 1, images: 4"),
    "ids": (dict(ids=["a", "a", "b", "c"]), "'a' occurs more than once"),
    "function": (dict(network=lambda images: images), "the network is a function"),
    "a number": (dict(network=Small(output=lambda logits: logits.sum())), "by an output of ()"),
    "other images": (dict(network=nn.Linear(5, 2)), "does not take an image of shape (1, 3, 12, 16)"),
    "transform": (dict(images=BYTES.astype(np.uint8), preparation=abs), "is no preparation that is known here"),
}


@pytest.mark.parametrize(("given", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_runs(given, sentence):
    with pytest.raises(HeatproofError) as error:
        read(**given)
    assert sentence in str(error.value)


MARKS = {
    "classes in one mask": (dict(masks=[3 * MASK.astype(np.uint8)] * 4), "one mask per finding"),
    "size": (dict(masks=[MASK.T] * 4), "has (16, 12) pixels, its image (12, 16)"),
    "empty box": (dict(boxes=[[(5, 5, 5, 9)]] * 4), "is empty; give x1, y1, x2, y2"),
    "box outside": (dict(boxes=[[(0, 0, 30, 5)]] * 4), "leaves the image"),
    "two corners": (dict(masks=[[[(1, 1), (2, 2)]]] * 4), "has 2 corners"),
    "negative density": (dict(densities=[MASK - 1.0] * 4), "negative or missing values"),
}


@pytest.mark.parametrize(("given", "sentence"), MARKS.values(), ids=MARKS)
def test_annotations_that_do_not_fit_are_refused(given, sentence):
    with pytest.raises(DataError) as error:
        sample(**given)
    assert sentence in str(error.value)


def test_a_network_is_put_back_as_it_was():
    network = Small().train()
    network.convolution.eval()
    remarks = []
    with restored(network, remarks.append):
        network.eval()
    assert [network.training, network.convolution.training, network.linear.training] == [True, False, True]
    assert "training mode" in remarks[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_a_copy(dtype):
    network = Small().to(dtype)
    remarks = []
    copied = in_single_precision(network, remarks.append)
    assert next(network.parameters()).dtype == dtype
    assert next(copied.parameters()).dtype == torch.float32
    assert "a copy of it in float32 is explained" in remarks[0]


def test_precision_and_device_are_those_of_the_network():
    assert precision_of(Small().double()) == "float64"
    assert device_of(Small(), print) == "cpu"
    with pytest.raises(ModelError, match="move it to one device"), restored(Small().to("meta"), print):
        pass


def test_a_dataset_brings_its_own_labels():
    phantom = ("phantom", {"patients": 1, "height": 64})
    _, model, remarks = read(phantom, Small(classes=5), preparation=Resize(size=16, channels=3))
    assert len(model.classes) == 5
    assert "in the order of the dataset's classes" in remarks
    with pytest.raises(DataError, match="brings its own labels"):
        read(phantom, labels=[0, 1], preparation=Resize(size=16))
