"""Potentials in production: those that have passed the gate, in a group, with a version number."""

from __future__ import annotations

from aiida import orm

#: Label of the group of a system: `pyacemaker/production/Al-Cu`.
GROUP_LABEL = 'pyacemaker/production/{elements}'
#: Extra of a potential: `version` (a number), `name` (such as Al-v3), `verdict` and `summary`.
EXTRA_PRODUCTION = 'production'


def deploy(potential: orm.Data, verdict: dict) -> str:
    """Put a potential into the group of its elements as the next version; one that is there keeps its version.

    A copy with the same content, as the cache makes them, is the same version.

    :param verdict: results of ``judge``, PASS or CONDITIONAL.
    :returns: the name of the version, such as ``Al-v3``.
    """
    elements = '-'.join(sorted(potential.elements))
    group, _ = orm.Group.collection.get_or_create(label=GROUP_LABEL.format(elements=elements))
    checksums = potential.get_checksums()
    versions = [(node.base.extras.get(EXTRA_PRODUCTION)['version'], node) for node in group.nodes]
    same = [version for version, node in versions if node.get_checksums() == checksums]
    version = same[0] if same else max((version for version, _ in versions), default=0) + 1
    name = f'{elements}-v{version}'
    potential.base.extras.set(
        EXTRA_PRODUCTION,
        {'version': version, 'name': name, 'verdict': verdict['verdict'], 'summary': verdict['summary']},
    )
    potential.label = name
    group.add_nodes([potential])
    return name
