"""A page for the browser that shows what was generated: one self-contained HTML file."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as graph
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from ..checks.overlap import closest_ratios
from ..core.files import write_atomically
from ..picking.descriptors import soap_features
from ..subsets.farthest_point import farthest_point
from .spread import spread

if TYPE_CHECKING:
    from .generate import Generation

#: Structures drawn in three dimensions.
VIEWS = 12
#: Points of the maps, at most.
MAX_POINTS = 3000
#: Diagonal of what is drawn in a view, in plotly's units.
VIEW_SIZE = 1.8
#: Bonds are drawn up to this multiple of the sum of covalent radii.
BOND = 1.2
TEMPLATE = 'overview.html'


def write_overview(generation: Generation, path: Path, title: str) -> None:
    """Write the page: table, volume-distance map, SOAP map, and the structures most unlike each other in 3D.

    :param path: the HTML file; it is there whole or not at all.
    :raises MissingLibraryError: without dscribe.
    """
    frames = [atoms for atoms in generation.frames if len(atoms) > 1]
    step = max(1, -(-len(frames) // MAX_POINTS))
    shown = frames[::step]
    vectors = _evened(soap_features(shown))
    views = [shown[index] for index in farthest_point(vectors, min(VIEWS, len(shown)))]
    maps = [volume_distance_map(shown), soap_map(shown, vectors)]
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=index == 0, config={'responsive': True}, div_id=f'map{index}')
        for index, figure in enumerate(maps)
    ]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    page = environment.get_template(TEMPLATE).render(
        title=title,
        rows=[{**row, **{key: _counts(row[key]) for key in ('operations', 'rejected')}} for row in generation.table()],
        spread=spread(generation.frames),
        notes=generation.notes,
        step=step,
        maps=[Markup(figure) for figure in drawn],
        views=[{'drawing': Markup(view(atoms, index)), 'caption': caption(atoms)} for index, atoms in enumerate(views)],
    )
    with write_atomically(path) as part:
        part.write_text(page, encoding='utf-8')


def _evened(vectors: np.ndarray) -> np.ndarray:
    """Divide each by the root of its length, which is the density: else that is all one sees of different densities."""
    return vectors / np.sqrt(np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300))


def volume_distance_map(frames: list[Atoms]) -> Any:
    """Volume per atom against the shortest distance in units of the contact distance of its pair."""
    x = [atoms.get_volume() / len(atoms) for atoms in frames]
    y = closest_ratios(frames).tolist()
    figure = scatter(frames, x, y)
    figure.update_layout(
        title='Volume and shortest distance',
        xaxis={'title': 'volume per atom, vacuum included (Å³)', 'type': 'log'},
        yaxis={'title': 'shortest distance / sum of radii'},
    )
    return figure


def soap_map(frames: list[Atoms], vectors: np.ndarray) -> Any:
    """The two principal components of SOAP."""
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    scores = (left * sizes)[:, :2]
    scores = np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
    share = 100 * sizes[:2] ** 2 / max(float((sizes**2).sum()), 1e-300)
    figure = scatter(frames, scores[:, 0].tolist(), scores[:, 1].tolist())
    figure.update_layout(
        title='SOAP',
        xaxis={'title': f'first principal component ({share[0]:.0f} % of the variance)'},
        yaxis={'title': f'second principal component ({share[1] if len(share) > 1 else 0:.0f} %)'},
    )
    return figure


def scatter(frames: list[Atoms], x: list[float], y: list[float]) -> Any:
    """Points by family and operation, with what each is when pointed at."""
    figure = graph.Figure()
    names = [f'{atoms.info.get("family")} {atoms.info.get("operation", "")}'.strip() for atoms in frames]
    for name in dict.fromkeys(names):
        mine = [index for index, other in enumerate(names) if other == name]
        figure.add_trace(
            graph.Scatter(
                x=[x[index] for index in mine],
                y=[y[index] for index in mine],
                text=[caption(frames[index]) for index in mine],
                name=name,
                mode='markers',
                marker={'size': 7, 'opacity': 0.75},
                hovertemplate='%{text}<extra></extra>',
            )
        )
    figure.update_layout(template='simple_white', height=450, margin={'t': 50, 'r': 10})
    return figure


def view(atoms: Atoms, index: int) -> str:
    """One structure in three dimensions, with its cell, as HTML."""
    positions = atoms.get_positions(wrap=False)
    colors = [f'rgb({",".join(str(round(255 * value)) for value in jmol_colors[number])})' for number in atoms.numbers]
    traces = [
        graph.Scatter3d(**_lines(_edges(atoms.cell.array)), mode='lines', line={'color': '#999', 'width': 2}),
        graph.Scatter3d(**_lines(_bonds(atoms)), mode='lines', line={'color': '#bbb', 'width': 5}),
        graph.Scatter3d(
            **dict(zip('xyz', positions.T.tolist(), strict=True)),
            mode='markers',
            text=atoms.get_chemical_symbols(),
            marker={'size': (12 * covalent_radii[atoms.numbers] + 3).tolist(), 'color': colors, 'opacity': 1.0,
                    'line': {'color': '#444', 'width': 1}},
        ),
    ]  # fmt: skip
    for trace in traces:
        trace.update(hoverinfo='text' if trace.mode == 'markers' else 'skip')
    hidden = {'visible': False}
    figure = graph.Figure(traces)
    # of long cells, plotly's own ratio would show the middle only
    corners = np.array([corner for edge in _edges(atoms.cell.array) for corner in edge])
    size = np.ptp(np.vstack([corners, positions]), axis=0)
    ratio = dict(zip('xyz', (VIEW_SIZE * size / np.linalg.norm(size)).tolist(), strict=True))
    figure.update_layout(
        showlegend=False,
        height=280,
        margin={'l': 0, 'r': 0, 't': 0, 'b': 0},
        scene={'xaxis': hidden, 'yaxis': hidden, 'zaxis': hidden, 'aspectmode': 'manual', 'aspectratio': ratio,
               'camera': {'projection': {'type': 'orthographic'}, 'eye': {'x': 1.6, 'y': 0.7, 'z': 0.6}}},
    )  # fmt: skip
    return figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f'view{index}',
        config={'responsive': True, 'displayModeBar': False},
    )


def caption(atoms: Atoms) -> Markup:
    """What a structure is, as HTML."""
    info = atoms.info
    what = ' '.join(str(info[key]) for key in ('family', 'phase', 'operation') if info.get(key))
    text = Markup('<b>{}</b> {}<br>{}')
    return text.format(atoms.get_chemical_formula(), what, info.get('reason', ''))


def _edges(cell: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    corners = [np.array(corner) for corner in product((0, 1), repeat=3)]
    return [(a @ cell, b @ cell) for a, b in product(corners, repeat=2) if (b - a).sum() == 1 and (b >= a).all()]


def _bonds(atoms: Atoms) -> list[tuple[np.ndarray, np.ndarray]]:
    from ase.neighborlist import neighbor_list

    reach = [BOND * covalent_radii[number] for number in atoms.numbers]
    first, second, shifts = neighbor_list('ijS', atoms, reach)
    inside = (shifts == 0).all(axis=1) & (first < second)
    return [(atoms.positions[i], atoms.positions[j]) for i, j in zip(first[inside], second[inside], strict=True)]


def _lines(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float | None]]:
    """Segments as plotly wants them: coordinates with a gap after each."""
    return {
        axis: [value for a, b in pairs for value in (float(a[k]), float(b[k]), None)] for k, axis in enumerate('xyz')
    }


def _counts(numbers: dict[str, int]) -> str:
    return ', '.join(f'{name} {number}' for name, number in numbers.items() if name) or '–'
