"""Anatomy of the synthetic retina: pigment, choroid, macula, nerve fibres, the optic disc and its vessels."""

import numpy as np
from scipy import ndimage

from .frame import Frame
from .patients import Eye
from .strokes import strokes
from .texture import COARSE, bell, grain, step, stretch
from .vessels import grow

# Change of red, green and blue of the evenly lit retina by one unit of each layer.
LAYERS = {
    "mottle": (1.0, 1.2, 1.2),
    "hue": (0.0, 1.0, -1.0),
    "macula": (-0.07, -0.14, -0.10),
    "fovea": (-0.13, -0.30, -0.20),
    "pallor": (0.06, 0.16, 0.22),
    "choroid": (0.11, 0.20, 0.10),
    "fibres": (0.5, 1.0, 1.0),
    "freckles": (-0.8, -1.0, -0.7),
}
MOTTLE = ((0.030, 0.16), (0.022, 0.04), (0.014, 0.009))
VEIN = np.array([0.80, 0.52, 0.66])
ARTERY = np.array([0.91, 0.68, 0.78])


def retina(eye: Eye, frame: Frame) -> np.ndarray:
    """The evenly lit retina without disc, vessels and lesions, (3, height, width) in grey levels."""
    coarse = frame.at(COARSE)
    fundus = eye.traits.colour.astype(np.float32)[:, None, None] * pigment(eye, coarse)
    return np.stack([stretch(plane, frame.height, frame.width) for plane in fundus])


def pigment(eye: Eye, frame: Frame) -> np.ndarray:
    """Relative brightness of the retina in red, green and blue."""
    planes = layers(eye, frame)
    colours = {name: np.array(colour, np.float32)[:, None, None] for name, colour in LAYERS.items()}
    return 1 + np.asarray(sum(colours[name] * plane for name, plane in planes.items()))


def layers(eye: Eye, frame: Frame) -> dict[str, np.ndarray]:
    """Every layer of the retina (height, width) by its name in ``LAYERS``."""
    from_fovea = squared(frame, eye.fovea)
    from_disc = squared(frame, eye.disc)
    rng = eye.rng("pigment")
    traits = eye.traits
    return {
        "mottle": np.asarray(sum(share * grain(rng, frame, size) for share, size in MOTTLE)),
        "hue": 0.03 * grain(rng, frame, 0.25),
        "macula": traits.macula * bell(from_fovea, 0.34),
        "fovea": traits.macula * bell(from_fovea, 0.085),
        "pallor": bell(from_disc, 0.36) * (0.5 + 0.5 * traits.sheen),
        "choroid": choroid(eye, frame) * (1 - 0.85 * bell(from_fovea, 0.33)) * (0.25 + 0.75 * traits.tigroid),
        "fibres": fibres(eye, frame, from_disc),
        "freckles": freckles(eye, frame),
    }


def squared(frame: Frame, point: np.ndarray) -> np.ndarray:
    """Squared distance of every pixel from a point of the scene, (height, width)."""
    return (frame.x - np.float32(point[0])) ** 2 + (frame.y - np.float32(point[1])) ** 2


def choroid(eye: Eye, frame: Frame) -> np.ndarray:
    """Choroidal vessels that show through the pigment in patches: pale winding bands that run outwards."""
    rng = eye.rng("choroid")
    pole = 0.6 * eye.fovea + 0.4 * eye.disc
    bend = 0.05 * grain(rng, frame, 0.12) + 0.016 * grain(rng, frame, 0.05)
    across = frame.x - np.float32(pole[0]) + bend
    down = frame.y - np.float32(pole[1]) - bend
    angle = np.arctan2(down, across)
    distance = np.hypot(across, down)
    mesh = np.asarray(sum(bands(rng, angle, distance, count) for count in (26, 40)))
    patches = step(grain(rng, frame, 0.3) + 0.3, 1.4)
    return np.asarray((mesh - 0.7) * patches * step(distance - 0.45, 0.3))


def bands(rng: np.random.Generator, angle: np.ndarray, distance: np.ndarray, count: int) -> np.ndarray:
    """Bands that run outwards from the pole, about ``count`` of them, and join and part on their way."""
    plan = ndimage.gaussian_filter(rng.standard_normal((2 * count, 18)), 0.8, mode=("wrap", "nearest")) * 3
    positions = np.stack([(angle / (2 * np.pi) + 0.5) * 2 * count, distance * 11])
    height = ndimage.map_coordinates(plan, positions, order=1, mode="grid-wrap") / 0.45
    return np.asarray(np.exp(-(height**2)), np.float32)


def fibres(eye: Eye, frame: Frame, from_disc: np.ndarray) -> np.ndarray:
    """Faint streaks of nerve fibres that fan out from the disc."""
    rng = eye.rng("fibres")
    streaks = np.interp(np.linspace(0, 1, 1024), np.linspace(0, 1, 220), rng.standard_normal(220))
    angle = np.arctan2(frame.y - eye.disc[1], frame.x - eye.disc[0])
    arching = 0.5 + 0.5 * np.abs(np.sin(angle))
    turn = ((angle / (2 * np.pi) + 0.5) * 1023).astype(int)
    streak = (0.008 + 0.03 * eye.traits.sheen) * streaks[turn].astype(np.float32)
    return np.asarray(streak * arching * bell(from_disc, 0.30))


def freckles(eye: Eye, frame: Frame) -> np.ndarray:
    """Faint brown spots of pigment, blurred and of any size; in some eyes pale glints lie beside the arcades."""
    rng = eye.rng("freckles")
    spots = np.zeros((frame.height, frame.width), np.float32)
    pale = rng.random() < 0.4 * eye.traits.sheen
    for _ in range(rng.poisson(4.0)):
        centre = rng.uniform(-0.85, 0.85, 2)
        radius = 0.012 * np.exp(0.7 * rng.standard_normal())
        sign = 1.0
        if pale and rng.random() < 0.5:
            sign = -0.9
        spots += np.float32(sign * rng.uniform(0.03, 0.13)) * bell(squared(frame, centre), radius)
    return spots


def disc_depth(eye: Eye, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth inside the edge of the disc and inside that of the cup, negative outside, and x in radii of the disc."""
    rng = eye.rng("disc")
    radius = eye.traits.disc_radius
    across = x - eye.disc[0]
    down = (y - eye.disc[1]) / rng.uniform(1.02, 1.10)
    angle = np.arctan2(down, across)
    uneven = sum(0.012 * np.cos(order * angle + rng.uniform(0, 6.3)) for order in (2, 3, 4))
    cup = np.hypot(across + rng.uniform(0.0, 0.03), down + rng.uniform(-0.01, 0.01))
    return radius * (1 + uneven) - np.hypot(across, down), eye.traits.cup * radius - cup, across / radius


def disc(eye: Eye, frame: Frame, fundus: np.ndarray) -> np.ndarray:
    """Paint the optic disc onto the fundus, in place; return the mask of the pixels that it covers by half or more."""
    rows, columns = frame.window(eye.disc[0], eye.disc[1], 0.3)
    depth, cup, x = disc_depth(eye, frame.x[:, columns], frame.y[rows])
    cover = step(depth, eye.rng("rim").uniform(0.013, 0.028))
    part = fundus[:, rows, columns]
    ring = bell((depth + 0.020) ** 2, 0.013) * step(-x - 0.45, 0.5)
    part *= 1 - (0.13 * ring * eye.rng("crescent").uniform(0, 1.5))[None]
    rim = eye.traits.colour * (1.12, 1.32, 1.35) + (22, 26, 14)
    well = eye.traits.colour * (1.13, 1.5, 1.7) + (30, 52, 34)
    hollow = step(cup, 0.028) * 0.9
    nasal = np.clip(x, -1, 1) * 0.07
    for channel, (outer, inner) in enumerate(zip(rim, well)):
        paint = outer * (1 - nasal * (0.4, 1, 1)[channel]) * (1 - hollow) + inner * hollow
        part[channel] += cover * 0.96 * (paint - part[channel])
    mask = np.zeros((frame.height, frame.width), bool)
    mask[rows, columns] = cover >= 0.5
    return mask


def vessels(eye: Eye, frame: Frame, fundus: np.ndarray) -> None:
    """Dim the fundus, in place, by veins and then by arteries, which are narrower and shine in the middle."""
    apart = eye.rng("arcades").normal(0, 0.11, 2)
    for name, share, colour, gleam, side in (("veins", 1.0, VEIN, 0.25, 1), ("arteries", 0.74, ARTERY, 0.75, -1)):
        bulge = tuple(1 + side * apart)
        tree = grow(eye.rng(name), eye.disc, eye.fovea, eye.traits.stem * share, eye.traits.wander, bulge)
        cover, reflex = strokes(frame, tree)
        cover = cover * (1 - 0.45 * gleam * reflex)
        for plane, dimming in zip(fundus, colour):
            plane *= 1 - np.float32(1 - dimming) * cover
