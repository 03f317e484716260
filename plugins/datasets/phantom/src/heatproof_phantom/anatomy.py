"""Anatomy of the synthetic retina: pigment, choroid, macula, nerve fibres, the optic disc and its vessels."""

import numpy as np
from scipy import ndimage

from .frame import Frame
from .patients import Eye
from .strokes import strokes
from .texture import COARSE, bell, grain, step, stretch
from .vessels import grow

# What one unit of a layer adds to red, green and blue of the evenly lit retina.
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
    """Retina without disc, vessels and lesions, (3, height, width) in grey levels, evenly lit."""
    coarse = frame.at(COARSE)
    fundus = eye.traits.colour.astype(np.float32)[:, None, None] * pigment(eye, coarse)
    return np.stack([stretch(plane, frame.height, frame.width) for plane in fundus])


def pigment(eye: Eye, frame: Frame) -> np.ndarray:
    """Relative brightness of the retina in red, green and blue."""
    seen = layers(eye, frame)
    colours = {name: np.array(colour, np.float32)[:, None, None] for name, colour in LAYERS.items()}
    return 1 + np.asarray(sum(colours[name] * plane for name, plane in seen.items()))


def layers(eye: Eye, frame: Frame) -> dict[str, np.ndarray]:
    """Every layer of the retina by its name in ``LAYERS``, each (height, width)."""
    from_fovea, from_disc = squared(frame, eye.fovea), squared(frame, eye.disc)
    chance, traits = eye.chance("pigment"), eye.traits
    return {
        "mottle": np.asarray(sum(share * grain(chance, frame, size) for share, size in MOTTLE)),
        "hue": 0.03 * grain(chance, frame, 0.25),
        "macula": traits.macula * bell(from_fovea, 0.34),
        "fovea": traits.macula * bell(from_fovea, 0.085),
        "pallor": bell(from_disc, 0.36) * (0.5 + 0.5 * traits.sheen),
        "choroid": choroid(eye, frame) * (1 - 0.85 * bell(from_fovea, 0.33)) * (0.25 + 0.75 * traits.tigroid),
        "fibres": fibres(eye, frame, from_disc),
        "freckles": freckles(eye, frame),
    }


def squared(frame: Frame, place: np.ndarray) -> np.ndarray:
    """Squared distance of every pixel from a place of the scene."""
    return (frame.x - np.float32(place[0])) ** 2 + (frame.y - np.float32(place[1])) ** 2


def choroid(eye: Eye, frame: Frame) -> np.ndarray:
    """Choroidal vessels that shine through the pigment: pale winding bands that run outwards, in patches."""
    chance = eye.chance("choroid")
    pole = 0.6 * eye.fovea + 0.4 * eye.disc
    bend = 0.05 * grain(chance, frame, 0.12) + 0.016 * grain(chance, frame, 0.05)
    across, down = frame.x - np.float32(pole[0]) + bend, frame.y - np.float32(pole[1]) - bend
    angle, far = np.arctan2(down, across), np.hypot(across, down)
    net = np.asarray(sum(bands(chance, angle, far, count) for count in (26, 40)))
    patches = step(grain(chance, frame, 0.3) + 0.3, 1.4)
    return np.asarray((net - 0.7) * patches * step(far - 0.45, 0.3))


def bands(chance: np.random.Generator, angle: np.ndarray, far: np.ndarray, count: int) -> np.ndarray:
    """Bands that run outwards, about ``count`` around the pole, now joining and now parting."""
    plan = ndimage.gaussian_filter(chance.standard_normal((2 * count, 18)), 0.8, mode=("wrap", "nearest")) * 3
    places = np.stack([(angle / (2 * np.pi) + 0.5) * 2 * count, far * 11])
    height = ndimage.map_coordinates(plan, places, order=1, mode="grid-wrap") / 0.45
    return np.asarray(np.exp(-(height**2)), np.float32)


def fibres(eye: Eye, frame: Frame, from_disc: np.ndarray) -> np.ndarray:
    """Faint streaks of nerve fibres that fan out from the disc."""
    chance = eye.chance("fibres")
    streaks = np.interp(np.linspace(0, 1, 1024), np.linspace(0, 1, 220), chance.standard_normal(220))
    angle = np.arctan2(frame.y - eye.disc[1], frame.x - eye.disc[0])
    arching = 0.5 + 0.5 * np.abs(np.sin(angle))
    turn = ((angle / (2 * np.pi) + 0.5) * 1023).astype(int)
    streak = (0.008 + 0.03 * eye.traits.sheen) * streaks[turn].astype(np.float32)
    return np.asarray(streak * arching * bell(from_disc, 0.30))


def freckles(eye: Eye, frame: Frame) -> np.ndarray:
    """Faint brown spots of pigment, blurred and of any size; in some eyes pale glints lie beside the arcades."""
    chance, spots = eye.chance("freckles"), np.zeros((frame.height, frame.width), np.float32)
    pale = chance.random() < 0.4 * eye.traits.sheen
    for _ in range(chance.poisson(4.0)):
        place, radius = chance.uniform(-0.85, 0.85, 2), 0.012 * np.exp(0.7 * chance.standard_normal())
        sign = -0.9 if pale and chance.random() < 0.5 else 1.0
        spots += np.float32(sign * chance.uniform(0.03, 0.13)) * bell(squared(frame, place), radius)
    return spots


def disc_depth(eye: Eye, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed depth inside the disc's edge, depth inside the cup's, and the horizontal place within the disc."""
    chance, radius = eye.chance("disc"), eye.traits.disc_radius
    across, down = x - eye.disc[0], (y - eye.disc[1]) / chance.uniform(1.02, 1.10)
    angle = np.arctan2(down, across)
    uneven = sum(0.012 * np.cos(order * angle + chance.uniform(0, 6.3)) for order in (2, 3, 4))
    cup = np.hypot(across + chance.uniform(0.0, 0.03), down + chance.uniform(-0.01, 0.01))
    return radius * (1 + uneven) - np.hypot(across, down), eye.traits.cup * radius - cup, across / radius


def disc(eye: Eye, frame: Frame, fundus: np.ndarray) -> np.ndarray:
    """Optic disc painted onto the fundus in place; the mask is where it covers half or more."""
    rows, columns = frame.window(eye.disc[0], eye.disc[1], 0.3)
    depth, cup, place = disc_depth(eye, frame.x[:, columns], frame.y[rows])
    cover = step(depth, eye.chance("rim").uniform(0.013, 0.028))
    part = fundus[:, rows, columns]
    ring = bell((depth + 0.020) ** 2, 0.013) * step(-place - 0.45, 0.5)
    part *= 1 - (0.13 * ring * eye.chance("crescent").uniform(0, 1.5))[None]
    rim = eye.traits.colour * (1.12, 1.32, 1.35) + (22, 26, 14)
    well = eye.traits.colour * (1.13, 1.5, 1.7) + (30, 52, 34)
    hollow = step(cup, 0.028) * 0.9
    nasal = np.clip(place, -1, 1) * 0.07
    for channel, (outer, inner) in enumerate(zip(rim, well)):
        paint = outer * (1 - nasal * (0.4, 1, 1)[channel]) * (1 - hollow) + inner * hollow
        part[channel] += cover * 0.96 * (paint - part[channel])
    mask = np.zeros((frame.height, frame.width), bool)
    mask[rows, columns] = cover >= 0.5
    return mask


def vessels(eye: Eye, frame: Frame, fundus: np.ndarray) -> None:
    """Veins, then arteries over them, dimming the fundus in place; arteries are narrower and shine in the middle."""
    apart = eye.chance("arcades").normal(0, 0.11, 2)
    for name, share, colour, gleam, side in (("veins", 1.0, VEIN, 0.25, 1), ("arteries", 0.74, ARTERY, 0.75, -1)):
        bulge = tuple(1 + side * apart)
        tree = grow(eye.chance(name), eye.disc, eye.fovea, eye.traits.stem * share, eye.traits.wander, bulge)
        cover, reflex = strokes(frame, tree)
        cover = cover * (1 - 0.45 * gleam * reflex)
        for plane, dimming in zip(fundus, colour):
            plane *= 1 - np.float32(1 - dimming) * cover
