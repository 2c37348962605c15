"""Draw what each family makes: `python docs/_ext/draw_families.py [FAMILY]...` writes docs/families/FAMILY.png.

Run by hand whenever a family has changed; the pictures are in the repository, and no build of the documentation makes
them. The structures come from the run files in examples/structures, and nothing is touched up: atoms on the border of a
cell are drawn on all its sides, cells may be repeated, and vacuum is cut short.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import neighbor_list

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / 'docs' / 'families'
#: Ideal structures that each family is asked for.
NUMBER = 60
#: Pixels per Å, and pixels computed along each axis for one that is written.
PIXELS, SAMPLES = 22, 3
#: Bonds are shorter than this times the sum of the covalent radii (that of hydrogen: Å); radius of their sticks in Å.
BOND, HYDROGEN, STICK = 1.2, 0.6, 0.13
#: Colour of the edges of cells.
#: Where the light comes from, in the camera's coordinates (right, up, towards the eye).
LIGHT = np.array([-0.45, 0.6, 0.66])
#: Largest file, bytes.
LARGEST = 150_000
EDGE = (0.45, 0.45, 0.45)
#: Colour of an atom that was put into a void.
MARK = (0.98, 0.62, 0.10)
#: Colours of elements that jmol makes too pale for a white page, or too much alike.
COLORS = {'H': (0.93, 0.93, 0.93), 'Pt': (0.62, 0.64, 0.74), 'Al': (0.66, 0.68, 0.76), 'C': (0.32, 0.32, 0.34),
          'Sr': (0.30, 0.66, 0.66), 'Ni': (0.25, 0.62, 0.36), 'Fe': (0.82, 0.42, 0.22),
          'Mg': (0.45, 0.75, 0.35)}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One structure of a picture.

    :param run: name of the run file.
    :param choose: says of a structure whether it is the one; the first such structure is drawn.
    :param caption: second line below it; the first one is the formula.
    :param overrides: keys of the family.
    :param operation: name, keys and index of what is done to it.
    :param repeat: cells along each axis.
    :param turn: degrees about the vertical and down from the horizontal, of the eye.
    :param size: of the spheres, in units of the radii.
    :param border: whether atoms are wrapped into the cell, and those on its border drawn on all its sides.
    :param shift: of all atoms, in units of the cell.
    :param cut: Å of vacuum that are shown.
    :param zoom: size of the image; not 1 where a molecule stands beside a box of many.
    """

    run: str
    choose: Callable[[Atoms], bool]
    caption: str
    overrides: dict[str, Any] = field(default_factory=dict)
    operation: tuple[str, dict[str, Any], int] | None = None
    repeat: tuple[int, int, int] = (1, 1, 1)
    turn: tuple[float, float] = (24.0, 14.0)
    size: float = 0.62
    border: bool = True
    shift: float = 0.0
    cut: float = 1.0
    zoom: float = 1.0


def phase(name: str, **parameters: Any) -> Callable[[Atoms], bool]:
    """Return a choice by phase and parameters."""
    return lambda atoms: (
        atoms.info['phase'] == name
        and all(atoms.info['parameters'].get(key) == value for key, value in parameters.items())
    )


def reason(*words: str) -> Callable[[Atoms], bool]:
    """Return a choice by words of the reason."""
    return lambda atoms: all(word in atoms.info['reason'] for word in words)


def random_crystal(atoms: Atoms) -> bool:
    """Whether it is a random crystal with some symmetry, more than a few atoms, and a cell that is easy to look at."""
    if atoms.info['phase'] != 'random' or atoms.info['parameters']['space_group'] < 16 or len(atoms) < 6:
        return False
    return bool(np.allclose(atoms.cell.angles(), 90))


#: How molecules on their own are drawn.
ALONE: dict[str, Any] = {'border': False, 'turn': (15.0, 62.0), 'zoom': 1.6}
#: Family -> its panels. The panel of the user's own files shows variants, which all families have.
PICTURES: dict[str, list[Panel]] = {
    'alloy': [
        Panel('cuauni', phase('fcc', occupation='pure'), 'ground state'),
        Panel('cuauni', phase('L1_2'), 'ordered: L1$_2$'),
        Panel('cuauni', phase('L1_0'), 'ordered: L1$_0$'),
        Panel('cuauni', reason('Cu8Au8Ni8'), 'random'),
        Panel('cuauni', reason('special quasirandom'), 'special quasirandom',
              {'occupation': 'sqs', 'atoms': 32, 'compositions': [{'Cu': 0.5, 'Au': 0.5}]}),
    ],
    'ionic': [
        Panel('nacl', phase('rocksalt'), 'rock salt'),
        Panel('srtio3', phase('perovskite'), 'perovskite', repeat=(2, 2, 1)),
        Panel('tio2', phase('rutile'), 'rutile', repeat=(2, 2, 2)),
        Panel('tio2', random_crystal, 'random crystal', repeat=(2, 2, 1)),
        Panel('mgo', phase('rocksalt'), 'Frenkel pair', operation=('interstitial', {'atoms': 64}, 1), shift=0.12),
    ],
    'covalent': [
        Panel('c', phase('diamond'), 'diamond'),
        Panel('c', phase('graphite', stacking='AB'), 'graphite, AB', repeat=(3, 3, 1), turn=(18.0, 12.0)),
        Panel('si', phase('lonsdaleite'), 'polytype 2H', repeat=(3, 3, 1), turn=(18.0, 8.0)),
        Panel('si', phase('amorphous'), 'amorphous', turn=(18.0, 10.0)),
    ],
    'interface': [
        Panel('al-si', reason('Al(111) and Si(111)', 'bilayer'), 'Al(111)/Si(111), bilayer', turn=(12.0, 4.0)),
        Panel('al-si', reason('Al(001) and Si(001)', 'of vacuum'), 'Al(001)/Si(001), with vacuum',
              turn=(12.0, 4.0), cut=4.0),
        Panel('mgo-al', reason('MgO(001) and Al(001)', 'bilayer'), 'MgO(001)/Al(001), bilayer', repeat=(3, 3, 1),
              turn=(12.0, 4.0)),
    ],
    'adsorption': [
        Panel('co-pt111', reason('1 CO', 'C-down', 'on top'), 'on top', border=False, size=0.9),
        Panel('co-pt111', reason('1 CO', 'C-down', 'hollow over plane 3'), 'in a hollow', border=False, size=0.9),
        Panel('co-pt111', reason('2 CO'), 'two molecules', border=False, size=0.9),
        Panel('h2o-mgo001', reason('O-down', 'top Mg'), 'on Mg', border=False, size=0.9),
        Panel('h2o-mgo001', reason('layer'), 'under a layer of water', {'solvent': 'water', 'repeats': [3, 3]},
              border=False, size=0.9),
    ],
    'knowledge': [
        Panel('fe3pt', phase('L1_2'), '1st: L1$_2$, known'),
        Panel('fe3pt', phase('A15'), '2nd: A15'),
        Panel('fe3pt', phase('D0_3'), '3rd: D0$_3$'),
        Panel('fe3pt', phase('D0_19'), '4th: D0$_{19}$', repeat=(2, 2, 1), turn=(15.0, 40.0)),
    ],
    'molecular': [
        Panel('ethanol', reason('as it is'), 'as it is', **ALONE),
        Panel('ethanol', reason('turned by 0°, 150°'), 'turned about a bond', **ALONE),
        Panel('ethanol', reason('vibrations as at 1500 K'), 'vibrating as at 1500 K', **ALONE),
        Panel('ethanol', reason('2 molecules, the closest atoms at 0.8'), 'dimer', **ALONE),
        Panel('ethanol', phase('ethanol liquid', count=6), 'liquid', border=False),
        Panel('ethanol', phase('ethanol crystal', count=4), 'crystal', border=False),
    ],
    'files': [
        Panel('fe3pt', phase('L1_2'), 'as given', repeat=(2, 2, 2), turn=(18.0, 10.0)),
        Panel('fe3pt', phase('L1_2'), 'sheared', operation=('shear', {'amplitude': 0.15}, 0), repeat=(2, 2, 2),
              turn=(18.0, 10.0)),
        Panel('fe3pt', phase('L1_2'), 'rattled', operation=('rattle', {'atoms': 32, 'amplitude': [0.2]}, 0),
              shift=0.12, turn=(18.0, 10.0)),
        Panel('fe3pt', phase('L1_2'), 'interstitial', operation=('interstitial', {}, 0), shift=0.12,
              turn=(18.0, 10.0)),
        Panel('fe3pt', phase('L1_2'), 'surface', operation=('surface', {'miller': [[1, 1, 1]]}, 0), cut=4.0,
              turn=(18.0, 10.0)),
    ],
}  # fmt: skip


# Structures -----------------------------------------------------------------------------------------------------------


@cache
def parents(run: str, family: str, overrides: str) -> tuple[list[str], list[Atoms]]:
    """Return the elements of a run file, and the ideal structures of its family."""
    from aiida_pyacemaker.atomistics.generators.plan import FAMILIES, Structures

    content = yaml.safe_load((REPOSITORY / 'examples' / 'structures' / f'{run}.yaml').read_text())
    section = {**(content['structures'].get(family) or {}), **yaml.safe_load(overrides)}
    parameters = getattr(Structures(**{family: section}), family)
    elements = content['system']['elements']
    return elements, FAMILIES[family].parents(elements, parameters, NUMBER, np.random.default_rng(0))


def structure(family: str, panel: Panel) -> tuple[Atoms, list[str]]:
    """Return the structure of a panel, and the elements of its run file."""
    from aiida_pyacemaker.atomistics.variants import OPERATIONS

    elements, found = parents(panel.run, 'knowledge' if family == 'files' else family, yaml.safe_dump(panel.overrides))
    atoms = next(atoms for atoms in found if panel.choose(atoms))
    if panel.operation is not None:
        name, keys, index = panel.operation
        operation = OPERATIONS[name]
        atoms = operation.make(atoms, operation.Parameters(**keys), np.random.default_rng(1), index, index + 1)
    return atoms, elements


# Drawing --------------------------------------------------------------------------------------------------------------


def dressed(atoms: Atoms, size: float) -> Atoms:
    """Return the bare atoms with arrays of their radii (Å) and colours; an atom that was put somewhere is marked."""
    ions = 'oxidation_states' in atoms.arrays and atoms.info['family'] != 'adsorption'
    states = atoms.arrays['oxidation_states'] if ions else np.zeros(len(atoms))
    radii = [radius(number, state) for number, state in zip(atoms.numbers.tolist(), states.tolist(), strict=True)]
    colors = np.array([color(number) for number in atoms.numbers])
    if atoms.info.get('operation') == 'interstitial':
        colors[atoms.info['parameters']['sites']] = MARK
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    bare.set_array('radii', size * np.array(radii))
    bare.set_array('colors', colors)
    return bare


def radius(number: int, state: float) -> float:
    """Radius in Å, a little more like those of other elements than it is: small ions vanish beside large ones."""
    from aiida_pyacemaker.atomistics.checks.radii import ionic_radius

    ionic = ionic_radius(number, state) if state else None
    return 0.7 * covalent_radii[number] + 0.3 if ionic is None else 0.5 * ionic + 0.45


def color(number: int) -> tuple[float, ...]:
    return COLORS.get(chemical_symbols[number], tuple(jmol_colors[number]))


def drawn(atoms: Atoms, panel: Panel) -> Atoms:
    """Return the atoms that are drawn: repeated, without most of the vacuum, with those on the border on all sides."""
    vacuum = [int(axis) for axis in atoms.info.get('vacuum_axes', [])]
    shown = dressed(atoms, panel.size)
    _join(shown, atoms.info['family'])
    shown = shown.repeat(panel.repeat)
    periodic = [axis for axis in range(3) if axis not in vacuum]
    shown.positions += panel.shift * shown.cell.array[periodic].sum(axis=0)
    for axis in vacuum:
        _cut_vacuum(shown, axis, panel.cut)
    return _with_border(shown, periodic) if panel.border else shown


def _with_border(atoms: Atoms, periodic: list[int]) -> Atoms:
    """Wrap atoms into the cell, and add those on its border on the opposite sides."""
    scaled = atoms.get_scaled_positions(wrap=False)
    scaled[:, periodic] = (scaled[:, periodic] + 1e-4) % 1.0 - 1e-4
    atoms.set_scaled_positions(scaled)
    whole = atoms.copy()
    for shift in product((0, 1), repeat=3):
        if any(shift) and not any(shift[axis] for axis in range(3) if axis not in periodic):
            images = atoms[np.all((np.abs(scaled) < 1e-3) | (np.array(shift) == 0), axis=1)]
            images.positions += np.array(shift) @ atoms.cell.array
            whole += images
    return whole


def reach(numbers: np.ndarray) -> list[float]:
    """Atoms closer than the sum of these (Å) are bonded; bonds of hydrogen vibrate most."""
    return np.where(numbers == 1, HYDROGEN, BOND * covalent_radii[numbers]).tolist()


def _join(atoms: Atoms, family: str) -> None:
    """Put molecules together that are broken over the border of the cell, their middle within it, in place."""
    if family not in ('molecular', 'adsorption'):
        return
    indices = np.arange(len(atoms))
    if family == 'adsorption':  # molecules that hold hydrogen
        first, second = neighbor_list('ij', atoms, reach(atoms.numbers))
        bonded = second[(atoms.numbers[first] == 1) & ~metals(atoms)[second]]
        indices = np.union1d(bonded, np.flatnonzero(atoms.numbers == 1))
    part = atoms[indices]
    first, second, vectors = neighbor_list('ijD', part, reach(part.numbers))
    positions, done = part.positions.copy(), np.zeros(len(part), dtype=bool)
    for start in range(len(part)):
        queue = [] if done[start] else [start]
        done[start] = True
        for atom in queue:  # grows while it is read
            for other, vector in zip(second[first == atom], vectors[first == atom], strict=True):
                if not done[other]:
                    done[other] = True
                    positions[other] = positions[atom] + vector
                    queue.append(other)
        if queue:
            middle = np.linalg.solve(atoms.cell.array.T, positions[queue].mean(axis=0))
            positions[queue] -= np.floor(middle) @ atoms.cell.array
    atoms.positions[indices] = positions


def _cut_vacuum(atoms: Atoms, axis: int, cut: float) -> None:
    """Shorten the cell along an axis, in place, to where atoms are."""
    scaled = atoms.get_scaled_positions(wrap=False)[:, axis]
    # atoms that stick out at the bottom are those of the lower side
    middle = np.angle(np.exp(2j * np.pi * scaled).sum()) / (2 * np.pi)
    scaled = (scaled - middle + 0.5) % 1.0
    vector = atoms.cell.array[axis]
    share = cut / np.linalg.norm(vector)
    low, high = scaled.min() - share / 2, scaled.max() + share / 2
    others = atoms.get_scaled_positions(wrap=False)
    others[:, axis] = scaled - low
    atoms.positions = others @ atoms.cell.array
    cell = atoms.cell.array.copy()
    cell[axis] *= high - low
    atoms.set_cell(cell)


def camera(turn: tuple[float, float]) -> np.ndarray:
    """Return rows right, up and towards the eye."""
    azimuth, elevation = np.radians(turn)
    eye = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    right = np.cross([0.0, 0.0, 1.0], eye)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(eye, right), eye])


class Canvas:
    """Spheres and sticks, the nearest in front (a depth buffer), lit from the upper left."""

    def __init__(self, points: np.ndarray, margin: float, zoom: float = 1.0):
        self.scale = PIXELS * SAMPLES * zoom
        self.low = points[:, :2].min(axis=0) - margin
        width, height = np.ceil((points[:, :2].max(axis=0) + margin - self.low) * self.scale / SAMPLES).astype(int)
        self.image = np.ones((height * SAMPLES, width * SAMPLES, 3))
        self.depth = np.full(self.image.shape[:2], -np.inf)
        depths = points[:, 2]
        self.near, self.far = depths.max(), depths.min()

    def sphere(self, center: np.ndarray, radius: float, rgb: tuple[float, ...], shiny: bool = True) -> None:
        """Draw a sphere: centre (right, up, towards the eye) and radius in Å."""
        middle = (center[:2] - self.low) * self.scale
        low = np.floor(middle - radius * self.scale).astype(int)
        high = np.ceil(middle + radius * self.scale).astype(int) + 1
        (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, self.image.shape[1::-1])
        x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        u, v = (x - middle[0]) / (radius * self.scale), (y - middle[1]) / (radius * self.scale)
        inside = u**2 + v**2 < 1
        w = np.sqrt(np.where(inside, 1 - u**2 - v**2, 0.0))
        depth = center[2] + radius * w
        rows = slice(y0, y1), slice(x0, x1)
        front = inside & (depth > self.depth[rows])
        normals = np.stack([u, v, w], axis=-1)
        shade = np.clip(normals @ LIGHT, 0, 1)
        light = (0.55 + 0.5 * shade) * np.clip(0.35 + 1.3 * w, 0, 1) if shiny else 0.75 + 0.25 * shade
        pixels = np.clip(np.array(rgb) * light[..., None], 0, 1)
        if shiny:
            pixels += (0.55 * np.clip((shade - 0.86) / 0.14, 0, 1) ** 2)[..., None] * (1 - pixels)
        pixels = self.haze(pixels, center[2])
        self.depth[rows] = np.where(front, depth, self.depth[rows])
        self.image[rows] = np.where(front[..., None], pixels, self.image[rows])

    def haze(self, pixels: np.ndarray, depth: float) -> np.ndarray:
        """Let what is far away fade a little."""
        share = 0.4 * (self.near - depth) / max(self.near - self.far, 5.0)
        return pixels + np.clip(share, 0, 0.4) * (1 - pixels)

    def stick(self, start: np.ndarray, end: np.ndarray, radius: float, rgb: tuple[float, ...]) -> None:
        """Draw a row of small spheres."""
        number = int(np.linalg.norm(end - start) / (0.4 * radius)) + 2
        for share in np.linspace(0, 1, number):
            self.sphere(start + share * (end - start), radius, rgb, shiny=False)

    def finished(self) -> np.ndarray:
        """The image (height, width, 3), smoothed, upper row first."""
        height, width, _ = self.image.shape
        parts = self.image.reshape(height // SAMPLES, SAMPLES, width // SAMPLES, SAMPLES, 3)
        return parts.mean(axis=(1, 3))[::-1]


def picture(atoms: Atoms, panel: Panel) -> np.ndarray:
    """Return the image of a structure."""
    shown = drawn(atoms, panel)
    axes = camera(panel.turn)
    corners = np.array(list(product((0, 1), repeat=3))) @ shown.cell.array
    boxed = len(atoms.info.get('vacuum_axes', [])) < 3
    points = np.vstack([shown.positions, corners] if boxed else [shown.positions]) @ axes.T
    radii, colors = shown.arrays['radii'], shown.arrays['colors']
    canvas = Canvas(points, radii.max() + 0.15, panel.zoom)
    if boxed:
        for one, other in combinations(range(8), 2):
            if (one ^ other) in (1, 2, 4):
                canvas.stick(corners[one] @ axes.T, corners[other] @ axes.T, 0.035, EDGE)
    positions = shown.positions @ axes.T
    for pair in bonds(shown):
        for atom in pair:
            canvas.stick(positions[atom], positions[pair].mean(axis=0), STICK, colors[atom])
    for position, radius, rgb in zip(positions, radii, colors, strict=True):
        canvas.sphere(position, radius, rgb)
    return canvas.finished()


def bonds(atoms: Atoms) -> np.ndarray:
    """Return the pairs of atoms (n, 2) that are bonded within the cell; metal atoms are not."""
    open_cell = Atoms(atoms.numbers, atoms.positions)
    first, second = neighbor_list('ij', open_cell, reach(atoms.numbers))
    metal = metals(atoms)
    hydrogen = atoms.numbers == 1
    kept = (first < second) & ~(metal[first] & (metal | hydrogen)[second]) & ~(hydrogen[first] & metal[second])
    return np.stack([first[kept], second[kept]], axis=1)


def metals(atoms: Atoms) -> np.ndarray:
    """Return (n,) which atoms are of metals."""
    from aiida_pyacemaker.atomistics.crystals.elements import is_metal

    return np.array([is_metal(symbol) for symbol in atoms.symbols])


def formula(atoms: Atoms, elements: list[str]) -> str:
    """Chemical formula with subscripts, in the order of the run file."""
    counts = atoms.symbols.formula.count()
    parts = [(element, counts[element]) for element in elements if element in counts]
    return ''.join(element + (f'$_{{{count}}}$' if count > 1 else '') for element, count in parts)


def legend_sphere(number: int) -> np.ndarray:
    canvas = Canvas(np.zeros((1, 3)), 0.5)
    canvas.sphere(np.zeros(3), 0.42, color(number))
    return canvas.finished()


def draw(family: str, panels: Sequence[Panel]) -> bytes:
    """Return the picture of a family as PNG."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    found = [structure(family, panel) for panel in panels]
    frames = [atoms for atoms, _ in found]
    names = [formula(atoms, elements) for atoms, elements in found]
    images = [picture(atoms, panel) for atoms, panel in zip(frames, panels, strict=True)]
    gap, text, key = 26, 62, 34
    widths = [max(image.shape[1], 150) for image in images]
    width = sum(widths) + gap * (len(images) + 1)
    tall = max(image.shape[0] for image in images)
    height = tall + text + key
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100, facecolor='white')
    left = gap
    for name, panel, image, place in zip(names, panels, images, widths, strict=True):
        x = left + (place - image.shape[1]) // 2
        y = text + key + (tall - image.shape[0]) // 2
        figure.figimage(image, x, y, origin='upper')
        middle = (left + place / 2) / width
        figure.text(middle, (key + 40) / height, name, ha='center', fontsize=12, weight='bold')
        figure.text(middle, (key + 18) / height, panel.caption, ha='center', fontsize=11, color='#444444')
        left += place + gap
    numbers = list(dict.fromkeys(number for atoms in frames for number in atoms.numbers.tolist()))
    for place, number in enumerate(numbers):
        ball = legend_sphere(number)
        x = width / 2 + 56 * (place - len(numbers) / 2)
        figure.figimage(ball, int(x), 6, origin='upper')
        figure.text((x + ball.shape[1] + 3) / width, (6 + ball.shape[0] / 2) / height, chemical_symbols[number],
                    va='center', fontsize=11, color='#444444')  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format='png', facecolor='white')
    plt.close(figure)
    return squeezed(buffer.getvalue())


def squeezed(png: bytes) -> bytes:
    """Return the picture with a palette of 256 colours."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert('RGB')
    image.quantize(256, kmeans=2, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, 'PNG', optimize=True)
    return buffer.getvalue()


def main(families: Sequence[str]) -> None:
    for family in families or PICTURES:
        content = draw(family, PICTURES[family])
        if len(content) > LARGEST:
            raise SystemExit(f'{family}: {len(content)} bytes, more than {LARGEST}')
        path = TARGET / f'{family}.png'
        path.write_bytes(content)
        print(f'{path}: {len(content)} bytes')


if __name__ == '__main__':
    main(sys.argv[1:])
