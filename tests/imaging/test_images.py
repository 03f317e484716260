"""Images and masks on disk: every format that datasets publish, and every kind of unusable file."""

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from heatproof.errors import DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof_cohorts.image_files import write_image, write_mask

RAMP = (np.arange(12 * 17).reshape(12, 17) % 256).astype(np.uint8)
MASK = np.zeros((12, 17), dtype=bool)
MASK[3:6, 4:9] = True


def save(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize(
    "image", [RAMP[None], np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]]), RAMP[None].astype(np.uint16) * 257]
)
def test_lossless_files_return_the_stored_values(tmp_path: Path, image: np.ndarray, suffix: str) -> None:
    write_image(image, tmp_path / f"a{suffix}")
    read, geometry = read_image(tmp_path / f"a{suffix}")
    assert read.dtype == image.dtype
    np.testing.assert_array_equal(read, image)
    assert geometry.native == (12, 17)
    assert geometry.source == str(tmp_path / f"a{suffix}")


def test_jpeg_is_close_to_what_was_written_and_in_rgb_order(tmp_path: Path) -> None:
    image = np.zeros((3, 32, 48), dtype=np.uint8)
    image[0, :, :24] = 200
    image[2, :, 24:] = 120
    write_image(image, tmp_path / "a.jpg")
    read, _ = read_image(tmp_path / "a.jpg")
    assert read.shape == image.shape
    assert np.abs(read.astype(int) - image).max() <= 6


def test_transparency_is_dropped_and_palettes_are_looked_up(tmp_path: Path) -> None:
    rgba = np.dstack([RAMP, RAMP[::-1], RAMP, np.zeros_like(RAMP)])
    read, _ = read_image(save(Image.fromarray(rgba), tmp_path / "a.png"))
    np.testing.assert_array_equal(read, rgba[..., :3].transpose(2, 0, 1))
    palette = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    palette.putpalette([1, 2, 3, 40, 50, 60])
    read, _ = read_image(save(palette, tmp_path / "b.png"))
    np.testing.assert_array_equal(read, np.where(MASK, [[[40]], [[50]], [[60]]], [[[1]], [[2]], [[3]]]))


def masks() -> dict[str, Image.Image]:
    red = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    red.putpalette([0, 0, 0, 255, 0, 0])
    opaque = np.dstack([MASK * 255, MASK * 0, MASK * 0, np.full(MASK.shape, 255)]).astype(np.uint8)
    return {
        "red palette": red,
        "black palette": Image.fromarray(MASK.astype(np.uint8)).convert("P"),
        "opaque RGBA": Image.fromarray(opaque),
        "RGB": Image.fromarray(opaque[..., :3]),
        "one bit": Image.fromarray(MASK),
        "grey of one": Image.fromarray(MASK.astype(np.uint8)),
        "grey of 16 bits": Image.fromarray(MASK.astype(np.uint16) * 300),
    }


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("kind", list(masks()))
def test_every_kind_of_mask_reads_alike(tmp_path: Path, kind: str, suffix: str) -> None:
    mask = read_mask(save(masks()[kind], tmp_path / f"a{suffix}"))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_errors_that_name_the_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    write_image(np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=rf"cut\{suffix} is damaged \(.+\); replace it"):
        read_image(path)


def test_truncated_masks_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "cut.tif"
    write_mask(np.random.default_rng(0).random((64, 64)) < 0.5, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged"):
        read_mask(path)


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.xcf").write_bytes(b"gimp xcf file")
    with pytest.raises(
        DataError, match=r"allowed: \.bmp, \.dcm, \.dicom, \.gif, \.jpeg, \.jpg, \.nii, \.nii\.gz, \.pbm, .*, \.webp"
    ):
        read_image(tmp_path / "a.xcf")
    with pytest.raises(DataError, match=r"allowed: \.png"):
        read_mask(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_text("a table")
    with pytest.raises(DataError, match=r"not JPEG, PNG, .* or PNM"):
        read_image(tmp_path / "b.png")
    Image.fromarray(np.dstack([RAMP] * 3)).convert("LAB").save(tmp_path / "c.tif")
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match="mode LAB"):
            read(tmp_path / "c.tif")
    Image.fromarray(RAMP).save(tmp_path / "d.tif", save_all=True, append_images=[Image.fromarray(RAMP)])
    with pytest.raises(DataError, match="holds 2 pages"):
        read_image(tmp_path / "d.tif")


def test_images_beyond_the_limit_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(RAMP[None], tmp_path / "a.png")
    with pytest.raises(DataError, match="more than 100 pixels"):
        read_image(tmp_path / "a.png", max_pixels=100)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(DataError, match="more than 100 pixels"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("width", [16, 17])
@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "group4"])
@pytest.mark.parametrize(
    "tags", [{}, {262: 0}, {266: 2}, {274: 3}], ids=["usual", "black is one", "bits reversed", "turned"]
)
def test_single_bits_are_read_as_pillow_reads_them(
    tmp_path: Path, width: int, compression: str | None, tags: dict[int, int]
) -> None:
    path = tmp_path / "bits.tif"
    bits = np.random.default_rng(width).random((300, width)) < 0.2
    bits[20:250] = False
    Image.fromarray(bits).save(path, compression=compression, tiffinfo={278: 7, **tags})
    with Image.open(path) as image:
        assert image.tag_v2.get(258, (1,)) == (1,)
        expected = np.asarray(image) > 0
    np.testing.assert_array_equal(read_mask(path), expected)


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate"])
def test_single_bits_in_a_damaged_file_are_an_error(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "bits.tif"
    Image.fromarray(np.random.default_rng(0).random((300, 40)) < 0.5).save(path, compression=compression)
    with Image.open(path) as image:
        start = image.tag_v2[273][0]
    content = path.read_bytes()
    path.write_bytes(content[: start + 100] + bytes(60) + content[start + 160 :])
    if compression:
        with pytest.raises(DataError, match="damaged"):
            read_mask(path)
    path.write_bytes(content[:start])
    with pytest.raises(DataError, match="damaged"):
        read_mask(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "P"])
def test_images_of_many_lines_are_those_of_pillow(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (301, 7, 3)).astype(np.uint8)
    path = tmp_path / ("many.png" if mode == "P" else "many.jpg")
    Image.fromarray(pixels).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.atleast_3d(np.asarray(image if mode in ("L", "RGB") else image.convert("RGB")))
    np.testing.assert_array_equal(read_image(path)[0], expected.transpose(2, 0, 1))


DEEP = np.random.default_rng(2).integers(0, 65536, (21, 13, 3)).astype(np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_colours_of_16_bits_stay_so_in_tiff(
    tmp_path: Path, compression: str | None, planar: str, order: Literal["<", ">"]
) -> None:
    path = tmp_path / "deep colours.TIF"
    pixels = DEEP if planar == "contig" else DEEP.transpose(2, 0, 1)
    tifffile.imwrite(
        path, pixels, photometric="rgb", planarconfig=planar, compression=compression, byteorder=order, rowsperstrip=5
    )
    image, geometry = read_image(path)
    assert (image.dtype, geometry.native) == (np.dtype(np.uint16), (21, 13))
    np.testing.assert_array_equal(image, DEEP.transpose(2, 0, 1))


def test_transparency_of_16_bits_is_dropped_as_of_8(tmp_path: Path) -> None:
    pixels = np.concatenate([DEEP, DEEP[..., :1]], axis=2)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], DEEP.transpose(2, 0, 1))


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_colours_of_16_bits_in_a_damaged_file_are_an_error(
    tmp_path: Path, compression: str | None, share: float
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP, photometric="rgb", compression=compression)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"a\.tif is damaged \(.+\); replace it"):
        read_image(path)


def test_a_compression_that_nothing_installed_reads_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP, photometric="rgb")
    with Image.open(path) as image:
        assert image.tag_v2[259] == 1
    content = path.read_bytes()
    position = content.index(struct.pack("<HHI", 259, 3, 1)) + 8
    path.write_bytes(content[:position] + struct.pack("<H", 5) + content[position + 2 :])
    with pytest.raises(DataError, match=r"a\.tif has colours of 16 bits .*pip install imagecodecs"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("name", ["scan", "my scan", "scan.1"])
def test_files_without_a_known_suffix_are_read_by_their_first_bytes(tmp_path: Path, name: str, suffix: str) -> None:
    write_image(RAMP[None], tmp_path / f"a{suffix}")
    expected, _ = read_image(tmp_path / f"a{suffix}")
    renamed = (tmp_path / f"a{suffix}").rename(tmp_path / name)
    np.testing.assert_array_equal(read_image(renamed)[0], expected)
    if suffix == ".jpg":
        with pytest.raises(DataError, match="is a JPEG, which changes the edges of a mask"):
            read_mask(renamed)
    else:
        np.testing.assert_array_equal(read_mask(renamed), RAMP > 0)


def test_a_mask_that_inflates_without_end_is_cut_off(tmp_path: Path) -> None:
    """A strip of a mask of one bit per pixel is replaced by one that inflates to 50 MB."""
    Image.fromarray(np.zeros((64, 64), dtype=bool)).save(tmp_path / "mask.tif", compression="tiff_adobe_deflate")
    stored = (tmp_path / "mask.tif").read_bytes()
    bomb = zlib.compress(bytes(50_000_000), 9)
    for tag, value in ((273, len(stored)), (279, len(bomb))):  # the strip's offset and its size
        position = stored.index(struct.pack("<HHI", tag, 4, 1)) + 8
        stored = stored[:position] + struct.pack("<I", value) + stored[position + 4 :]
    (tmp_path / "bomb.tif").write_bytes(stored + bomb)
    read_mask(tmp_path / "mask.tif")  # imports the readers before memory is traced
    tracemalloc.start()
    try:
        assert not read_mask(tmp_path / "bomb.tif").any()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_exif_is_applied_as_every_viewer_does(tmp_path: Path) -> None:
    colours = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for suffix in (".png", ".jpg", ".tif", ".webp"):
            path = tmp_path / f"{orientation}{suffix}"
            Image.fromarray(colours).save(path, exif=exif, lossless=True)
            with Image.open(path) as image:
                expected = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
            read, geometry = read_image(path)
            np.testing.assert_array_equal(read, expected)
            assert (geometry.native, geometry.exif) == (expected.shape[1:], orientation)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"no EXIF at all"])
def test_damaged_exif_does_not_turn_an_image(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg")[1].exif == 1


def test_an_orientation_turns_deep_colours_and_masks(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, DEEP, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read_image(path)[0], np.rot90(DEEP, -1).transpose(2, 0, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (".png", ".tif"):
        Image.fromarray(MASK).save(tmp_path / f"mask{suffix}", exif=exif)
        np.testing.assert_array_equal(read_mask(tmp_path / f"mask{suffix}"), np.rot90(MASK, -1))


def coloured(*colour: int) -> Image.Image:
    return Image.fromarray(MASK[..., None] * np.array(colour, dtype=np.uint8))


def paletted(first: tuple[int, ...], second: tuple[int, ...]) -> Image.Image:
    """A mask of which index 0 has the first colour, whichever that is."""
    image = Image.fromarray((MASK if any(second) else ~MASK).astype(np.uint8))
    image.putpalette([*first, *second])
    return image


def transparent(colour: int, background: int) -> Image.Image:
    """A mask drawn in grey on a background that is transparent."""
    grey = np.where(MASK, colour, background).astype(np.uint8)
    return Image.fromarray(np.dstack([grey, grey, grey, MASK * 255]).astype(np.uint8))


EVERY = (".png", ".tif", ".gif", ".bmp", ".webp", ".ppm")
COLOURS = {
    "blue": (coloured(0, 0, 255), EVERY), "green": (coloured(0, 1, 0), (".png", ".tif", ".bmp", ".webp", ".ppm")),
    "CMYK": (coloured(0, 9, 0).convert("CMYK"), (".tif",)),
    "blue palette": (paletted((0, 0, 0), (0, 0, 255)), EVERY[:5]),
    "white at index 0": (paletted((255, 255, 255), (0, 0, 0)), EVERY[:5]),
    "blue at index 0": (paletted((0, 0, 9), (0, 0, 0)), EVERY[:4]),
    "white on transparent white": (transparent(255, 255), (".png", ".tif", ".gif", ".webp")),
    "grey and alpha": (transparent(3, 200).convert("LA"), (".png", ".tif")),
    "one bit": (Image.fromarray(MASK), (*EVERY, ".pbm")), "grey": (Image.fromarray(MASK.astype(np.uint8)), (".pgm",)),
    "signed": (Image.fromarray(np.where(MASK, 2, -3).astype(np.int32)), (".tif",)),
    "floats": (Image.fromarray(MASK.astype(np.float32) / 3), (".tif",)),
}  # fmt: skip
"""Masks of one shape → the formats in which Pillow writes them as they are."""


@pytest.mark.parametrize(("kind", "suffix"), [(kind, suffix) for kind in COLOURS for suffix in COLOURS[kind][1]])
def test_a_mask_is_what_has_a_colour(tmp_path: Path, kind: str, suffix: str) -> None:
    options = {".tif": {"compression": "tiff_adobe_deflate"}, ".webp": {"lossless": True, "exact": True}}
    path = tmp_path / f"a{suffix}"
    COLOURS[kind][0].save(path, **options.get(suffix, {}))
    np.testing.assert_array_equal(read_mask(path), MASK)


@pytest.mark.parametrize("colour", [(0, 0, 1), (0, 255, 0), (300, 0, 0)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_masks_in_colours_of_16_bits_keep_small_values(tmp_path: Path, suffix: str, colour: tuple[int, ...]) -> None:
    path = tmp_path / f"a{suffix}"
    pixels = MASK[..., None] * np.array(colour, dtype=np.uint16)
    if suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb")
    else:
        path.write_bytes(deep_png(pixels))
    np.testing.assert_array_equal(read_mask(path), MASK)


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG (h, w, 3) with 16 bits per colour, which Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def test_masks_whose_colours_and_transparency_differ_are_refused(tmp_path: Path) -> None:
    layers = {"black on nothing": transparent(0, 0), "white under nothing": transparent(0, 255)}
    for name, image in layers.items():
        with pytest.raises(DataError, match=rf"{name}\.png .*two different masks; save it as white on black"):
            read_mask(save(image, tmp_path / f"{name}.png"))
    black = Image.fromarray(MASK.astype(np.uint8))
    black.putpalette([0, 0, 0, 0, 0, 0])
    for suffix in (".png", ".tif", ".gif"):
        with pytest.raises(DataError, match="palette is black everywhere"):
            read_mask(save(black, tmp_path / f"black{suffix}"))
    empty = Image.fromarray(np.zeros((12, 17, 4), dtype=np.uint8))
    assert not read_mask(save(empty, tmp_path / "empty.png")).any()


@pytest.mark.parametrize(
    ("suffix", "options", "kind"),
    [
        (".png", {"format": "JPEG"}, "a JPEG"), (".tif", {"format": "JPEG"}, "a JPEG"),
        (".gif", {"format": "JPEG"}, "a JPEG"), (".webp", {}, "a lossy WebP"), (".png", {"format": "WEBP"}, "a lossy"),
        (".tif", {"compression": "jpeg"}, r"a TIFF with lossy compression \(jpeg\)"),
    ],
)  # fmt: skip
def test_lossy_content_is_no_mask_whatever_its_name(
    tmp_path: Path, suffix: str, options: dict[str, str], kind: str
) -> None:
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / f"a{suffix}", **options)
    with pytest.raises(DataError, match=rf"a\{suffix} is {kind}.*, which changes the edges of a mask"):
        read_mask(tmp_path / f"a{suffix}")
    assert read_image(tmp_path / f"a{suffix}")[0].shape == (3, 12, 17)


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm", ".pbm"])
def test_further_formats_are_read_as_pillow_reads_them(tmp_path: Path, suffix: str) -> None:
    mode = {".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")
    image = Image.fromarray(np.stack([RAMP, RAMP // 2, RAMP // 3], axis=-1)).convert(mode)
    save(image, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as again:
        expected = np.atleast_3d(np.asarray(again.convert("L" if mode == "1" else mode))).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}")[0], expected)


def test_an_animation_is_refused(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp", ".png"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(RAMP).save(path, save_all=True, append_images=[Image.fromarray(RAMP[::-1])])
        for read in (read_image, read_mask):
            with pytest.raises(DataError, match="holds 2 pages"):
                read(path)


@pytest.mark.parametrize(
    ("values", "white"),
    [(np.int16, None), (np.uint16, 65535), (np.int32, None), (np.uint32, 2**32 - 1), (np.float32, 1)],
)
def test_values_of_tiff_stay_as_they_are(tmp_path: Path, values: type, white: int | None) -> None:
    stored = (RAMP.astype(np.float64) * 7 - 200).astype(values)
    if white == 1:
        stored = stored / stored.max()
    tifffile.imwrite(tmp_path / "a.tif", stored)
    image, _ = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image[0], stored)
    assert image.dtype.kind == np.dtype(values).kind
    low, high = np.percentile(stored.astype(np.float64), (0.5, 99.5))
    expected = np.rint(np.clip((stored.astype(np.float64) - low) / (high - low), 0, 1) * 65535)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", window="percentiles")[0][0], expected)
    if values in (np.uint16, np.uint32):
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", window="type")[0], image)
    else:
        with pytest.raises(DataError, match=r"set `window` of the dataset to percentiles, voi or two numbers"):
            read_image(tmp_path / "a.tif", window="type")


def test_a_window_needs_values_on_both_sides(tmp_path: Path) -> None:
    write_image(np.full((1, 4, 4), 7, dtype=np.uint8), tmp_path / "a.png")
    with pytest.raises(DataError, match=r"has 7 at the percentiles 0.5 and 99.5, so nothing lies between"):
        read_image(tmp_path / "a.png", window="percentiles")
    with pytest.raises(DataError, match="names no window of its own"):
        read_image(tmp_path / "a.png", window="voi")
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0.0, np.inf, np.nan]], dtype=np.float32))
    with pytest.raises(DataError, match=r"NaN or infinite \(2\)"):
        read_image(tmp_path / "b.tif")


def test_a_jpeg_of_a_phone_with_a_second_image_is_its_first(tmp_path: Path) -> None:
    second = [Image.fromarray(RAMP[::-1])]
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=second, quality=100)
    assert np.abs(read_image(tmp_path / "a.jpg")[0][0].astype(int) - RAMP).max() <= 3
    renamed = (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is a JPEG, which changes the edges of a mask"):
        read_mask(renamed)
