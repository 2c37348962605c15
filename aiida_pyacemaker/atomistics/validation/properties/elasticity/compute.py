"""Elastic constants with relaxed ions from single points only: no strained cell is relaxed.

The energy of a crystal is expanded in the strain and in the displacements of its ions together. Its second derivatives
come from the stress and the forces of strained cells and of cells with one ion displaced; eliminating the ions gives
what a relaxation in every strained cell would give,

    C = C_clamped - Lambda K^-1 Lambda^T / V,

with K the force constants of the zone centre and Lambda the forces that a strain makes: D. C. Wallace, Thermodynamics
of Crystals (1972); X. Wu, D. Vanderbilt, D. R. Hamann, Phys. Rev. B 72, 035105 (2005).

The strain is Lagrangian, and the stress that belongs to it (second Piola-Kirchhoff) takes the place of the Cauchy
stress: so the tensor is a second derivative of the energy, with all its symmetries, even if a stress is left in the
crystal. Both are the same for a crystal without stress.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import spglib
from ase import Atoms, units

from ....core.frame import INITIAL, labels
from ....core.symmetry import call_spglib
from . import Elasticity, ElasticityResult
from .stiffness import KELVIN, LAUE, describe_tensor, rotation_of_six, symmetrise, to_matrix, to_vector

#: Distance (Å) within which spglib takes two positions for equivalent.
SYMPREC = 1e-3
#: What makes atoms of one element different: ions and moments.
KINDS = ('oxidation_states', 'magnetic_moments', *INITIAL)
#: Multiples of the strain.
STRAIN_STEPS = (-2, -1, 1, 2)
#: Weights of the first derivative by them, good to the fourth order (Richardson).
WEIGHTS = (1 / 12, -2 / 3, 2 / 3, -1 / 12)
#: Force constants (eV/Å²) of a zone-centre mode below which it is not told from a free motion, as of a layer.
SOFT_FORCE_CONSTANT = 1e-3
#: Residual stress (GPa) above which a crystal is not at its equilibrium.
RESIDUAL_STRESS = 1.0
#: Residual force (eV/Å) above which it is not.
RESIDUAL_FORCE = 0.05


@dataclass
class Symmetry:
    """Space group of a cell as it acts on strains (six, Kelvin's notation) and displacements (3 n) together."""

    laue: str
    rotations: np.ndarray
    actions: np.ndarray


def standard_cell(crystal: Atoms) -> Atoms:
    """Return the primitive cell in the standard orientation: that of the IEEE, in the standard setting of spglib.

    Axis c of the conventional cell along z, and a in the plane xz; of the Laue class -3m a two-fold axis along x. The
    unique axis of monoclinic crystals is b, along y. Magnetic moments and oxidation states tell atoms apart.

    :raises ValueError: if the structure is no crystal.
    """
    if not crystal.pbc.all():
        raise ValueError(
            f'{crystal.get_chemical_formula()} is not periodic in three directions: only a crystal is strained'
        )
    kinds, first = _kinds(crystal)
    cell = (crystal.cell.array, crystal.get_scaled_positions(), kinds)
    dataset = call_spglib(spglib.get_symmetry_dataset, cell, symprec=SYMPREC)
    found = call_spglib(spglib.standardize_cell, cell, to_primitive=True, symprec=SYMPREC)
    if dataset is None or found is None:
        raise ValueError(f'no crystal symmetry is found in {crystal.get_chemical_formula()}: do atoms overlap?')
    a, _, c = dataset.std_lattice
    z, y = c / np.linalg.norm(c), np.cross(c, a) / np.linalg.norm(np.cross(c, a))
    axes = np.array([np.cross(y, z), y, z])
    lattice, positions, types = found
    representatives = [first[kind] for kind in types]
    primitive = Atoms(crystal.numbers[representatives], cell=lattice @ axes.T, scaled_positions=positions, pbc=True)
    for name in KINDS:
        if name in crystal.arrays:
            primitive.set_array(name, crystal.arrays[name][representatives])
    if dataset.pointgroup in ('32', '3m', '-3m') and not _has_two_fold_x(primitive):
        primitive.rotate(90, 'z', rotate_cell=True)
    return primitive


def plan(crystal: Atoms, parameters: Elasticity | None = None) -> list[Atoms]:
    """Return the cells whose energy, forces and stress give the elastic constants.

    The first is the primitive cell in the standard orientation; info `elasticity` says of the others which strain or
    displacement it is, and how much of it. Of strains and displacements that symmetry makes equal only one is there.

    :param crystal: at its equilibrium.
    :raises ValueError: if the structure is no crystal.
    """
    parameters = parameters or Elasticity()
    primitive = standard_cell(crystal)
    frames = [_frame(primitive, None, 0.0)]
    for index in _patterns(find_symmetry(primitive)):
        size, steps = (parameters.strain, STRAIN_STEPS) if index < 6 else (parameters.displacement, (-1, 1))
        frames += [_frame(primitive, index, step * size) for step in steps]
    return frames


def analyse(crystal: Atoms, labelled: list[Atoms], parameters: Elasticity | None = None) -> ElasticityResult:
    """Return the elastic constants and what they say.

    :param crystal: the one the cells were made of.
    :param labelled: the cells of :func:`plan` with energy, forces and stress, in their order.
    :returns: see :func:`.stiffness.describe_tensor`; in GPa `tensor` and `clamped` (6, 6), `asymmetry` (largest
        difference of a measured stress derivative from the symmetrised one), `energy_check` (largest difference of the
        second derivative of the energy by a strain from that by the stress, ions clamped), `nonlinearity` (by
        how much derivatives by the large strain alone differ at most), `residual_stress` (six, Voigt);
        `residual_force` (eV/Å), `unstable_modes` (how many zone-centre modes lower the energy), `laue_class`,
        `n_points`.
    :raises ValueError: if a cell or a label is missing.
    """
    _check(plan(crystal, parameters), labelled)
    reference, volume = labelled[0], labelled[0].get_volume()
    symmetry = find_symmetry(reference)
    responses, curvatures, coarse = _responses(labelled)
    hessian, measured = _hessian(symmetry, responses)
    relaxed, unstable = _eliminate_ions(hessian)
    scale = volume * units.GPa * np.outer(KELVIN, KELVIN)
    tensor = symmetrise(relaxed / scale, symmetry.rotations)
    strains = [index for index in responses if index < 6]
    asymmetry = np.max(np.abs(measured))
    energy_check = max(abs(curvatures[i] - hessian[i, i]) for i in strains)
    nonlinearity = max(np.abs(coarse[i] - responses[i][:6]).max() for i in strains)
    residual = labels(reference)['stress'] / units.GPa
    force = float(np.abs(labels(reference)['forces']).max())
    return {
        'status': 'ok',
        'message': _message(np.abs(residual).max(), force, unstable),
        'tensor': _rounded(tensor),
        'clamped': _rounded(symmetrise(hessian[:6, :6] / scale, symmetry.rotations)),
        'laue_class': symmetry.laue,
        'asymmetry': float(asymmetry / volume / units.GPa),
        'energy_check': float(energy_check / volume / units.GPa),
        'nonlinearity': float(nonlinearity / volume / units.GPa),
        'residual_stress': [float(value) for value in residual],
        'residual_force': force,
        'unstable_modes': unstable,
        'n_points': len(labelled),
        **describe_tensor(tensor, symmetry.laue, reference),
    }


def find_symmetry(cell: Atoms) -> Symmetry:
    """Return the space group of a primitive cell, and how it acts on strains and displacements."""
    dataset = spglib.get_symmetry_dataset((cell.cell.array, cell.get_scaled_positions(), _kinds(cell)[0]), SYMPREC)
    vectors = cell.cell.array.T
    rotations, actions = [], []
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        cartesian = vectors @ rotation @ np.linalg.inv(vectors)
        action = np.zeros((6 + 3 * len(cell),) * 2)
        action[:6, :6] = rotation_of_six(cartesian)
        for atom, image in enumerate(_permutation(cell, rotation, translation)):
            action[6 + 3 * image : 9 + 3 * image, 6 + 3 * atom : 9 + 3 * atom] = cartesian
        rotations.append(cartesian)
        actions.append(action)
    return Symmetry(LAUE[dataset.pointgroup], np.array(rotations), np.array(actions))


def _kinds(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of each atom, and the first atom of each kind."""
    extra = [atoms.arrays[name].reshape(len(atoms), -1).round(2) for name in KINDS if name in atoms.arrays]
    columns = [atoms.numbers, *extra]
    _, first, kinds = np.unique(np.column_stack(columns), axis=0, return_index=True, return_inverse=True)
    return kinds.ravel(), first


def _has_two_fold_x(cell: Atoms) -> bool:
    wanted = np.diag([1.0, -1.0, -1.0])
    rotations = find_symmetry(cell).rotations
    return any(np.allclose(sign * rotation, wanted, atol=1e-3) for rotation in rotations for sign in (1, -1))


def _permutation(cell: Atoms, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Return where each atom goes to."""
    scaled = cell.get_scaled_positions()
    apart = (scaled @ rotation.T + translation)[:, None] - scaled[None]
    distances = np.linalg.norm((apart - np.round(apart)) @ cell.cell.array, axis=2)
    return np.argmin(distances, axis=1)


def _patterns(symmetry: Symmetry) -> list[int]:
    """Return which unit strains (0 to 5) and displacements (6 on) give all others by symmetry.

    All atoms displaced together change nothing: what that leaves is not computed.
    """
    size = symmetry.actions.shape[1]
    known, chosen = _translations(size), []
    for index in range(size):
        unit = np.eye(size)[index]
        if np.linalg.norm(unit - known @ (known.T @ unit)) < 1e-6:
            continue
        chosen.append(index)
        images = symmetry.actions[:, :, index].T
        vectors, values, _ = np.linalg.svd(images - known @ (known.T @ images), full_matrices=False)
        known = np.column_stack([known, vectors[:, values > 1e-6]])
    return chosen


def _translations(size: int) -> np.ndarray:
    """Return all atoms displaced together along x, y and z, as columns of length 1."""
    together = np.zeros((size, 3))
    together[6:] = np.tile(np.eye(3), ((size - 6) // 3, 1)) / np.sqrt((size - 6) // 3)
    return together


def _frame(primitive: Atoms, index: int | None, amount: float) -> Atoms:
    frame = primitive.copy()
    frame.info = {'property': 'elasticity', 'elasticity': {'pattern': index, 'amount': amount}}
    if index is not None and index < 6:
        frame.set_cell(frame.cell.array @ _deformation(index, amount), scale_atoms=True)
    elif index is not None:
        frame.positions[divmod(index - 6, 3)] += amount
    return frame


def _deformation(index: int, amount: float) -> np.ndarray:
    """Return the deformation (3, 3) without rotation whose Lagrangian strain is `amount` of a unit strain."""
    values, vectors = np.linalg.eigh(np.eye(3) + 2 * to_matrix(amount * np.eye(6)[index]))
    return (vectors * np.sqrt(values)) @ vectors.T


def _check(planned: list[Atoms], labelled: list[Atoms]) -> None:
    if [atoms.info['elasticity'] for atoms in planned] != [atoms.info.get('elasticity') for atoms in labelled]:
        raise ValueError(
            f'elastic constants need all of the {len(planned)} cells, in their order: {len(labelled)} came'
        )
    for atoms in labelled:
        missing = {'energy', 'forces', 'stress'} - set(labels(atoms))
        if missing:
            raise ValueError(
                f'a cell for the elastic constants has no {" and no ".join(sorted(missing))}: they need a potential '
                'that gives energy, forces and stress of all of them'
            )


def _gradient(frame: Atoms, reference: Atoms) -> np.ndarray:
    """Return the derivatives of the energy by strain (eV) and by displacements in the unstrained frame (eV/Å)."""
    found = labels(frame)
    deformation = np.linalg.solve(reference.cell.array, frame.cell.array)
    inverse = np.linalg.inv(deformation)
    stress = to_matrix(found['stress'] * KELVIN)
    return np.concatenate(
        [to_vector(inverse @ stress @ inverse.T) * frame.get_volume(), -(found['forces'] @ deformation).ravel()]
    )


def _responses(labelled: list[Atoms]) -> tuple[dict[int, np.ndarray], dict[int, float], dict[int, np.ndarray]]:
    """Return of each pattern: second derivatives (6 + 3 n) of the energy, that of the energy itself by the strain, and
    the derivatives by strains from the large strain alone."""
    reference, groups = labelled[0], {}
    for frame in labelled[1:]:
        groups.setdefault(frame.info['elasticity']['pattern'], []).append(frame)
    responses, curvatures, coarse = {}, {}, {}
    for index, frames in groups.items():
        frames = sorted(frames, key=lambda frame: frame.info['elasticity']['amount'])
        gradients = [_gradient(frame, reference) for frame in frames]
        size = frames[-1].info['elasticity']['amount']
        if index >= 6:
            responses[index] = (gradients[1] - gradients[0]) / (2 * size)
            continue
        responses[index] = np.tensordot(WEIGHTS, gradients, 1) / (size / 2)
        coarse[index] = ((gradients[3] - gradients[0]) / (2 * size))[:6]
        energies = [labels(frame)['energy'] - labels(reference)['energy'] for frame in frames]
        curvatures[index] = np.dot((-1, 16, 16, -1), energies) / (12 * (size / 2) ** 2)
    return responses, curvatures, coarse


def _hessian(symmetry: Symmetry, responses: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the second derivatives by strains and displacements, symmetrised by the space group, and by how much the
    stresses of strained cells differ from them.

    Every response is turned by every operation; with the displacements of all atoms together, to which there is none,
    they determine the matrix, as the least squares of all of them.
    """
    size = symmetry.actions.shape[1]
    inputs = np.column_stack([*(symmetry.actions[:, :, index].T for index in responses), _translations(size)])
    outputs = [(symmetry.actions @ response).T for response in responses.values()]
    hessian = np.column_stack([*outputs, np.zeros((size, 3))]) @ np.linalg.pinv(inputs)
    hessian = (hessian + hessian.T) / 2
    changes = [response[:6] - hessian[:6, index] for index, response in responses.items() if index < 6]
    return hessian, np.array(changes)


def _eliminate_ions(hessian: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the second derivatives by strain with the ions where they carry no force, and how many modes of the ions
    lower the energy. Modes without any force, as that of all atoms together, are left alone."""
    values, modes = np.linalg.eigh(hessian[6:, 6:])
    stiff = np.abs(values) > SOFT_FORCE_CONSTANT
    coupling = hessian[:6, 6:] @ modes[:, stiff]
    return hessian[:6, :6] - (coupling / values[stiff]) @ coupling.T, int((values < -SOFT_FORCE_CONSTANT).sum())


def _rounded(tensor: np.ndarray) -> list[list[float]]:
    return (np.round(tensor, 6) + 0.0).tolist()


def _message(stress: float, force: float, unstable: int) -> str:
    if unstable:
        return (
            f'{unstable} modes of the ions within the cell lower the energy: the crystal is no minimum, and its '
            'constants are those of a saddle point; look at the phonons'
        )
    if stress > RESIDUAL_STRESS or force > RESIDUAL_FORCE:
        return (
            f'the crystal is not at its equilibrium (stress {stress:.2g} GPa, force {force:.2g} eV/Å): relax it first'
        )
    return ''
