"""Tests of the labels of links."""

from __future__ import annotations

import pytest

from aiida_pyacemaker.workflows.links import IterationLink, LabelLink, WalkerLink


@pytest.mark.parametrize(
    ('link', 'label'),
    [
        (IterationLink('explore', 3), 'iteration_03_explore'),
        (IterationLink('test_set', 100), 'iteration_100_test_set'),
        (WalkerLink(0), 'walker_00'),
        (WalkerLink(12, again=True), 'walker_12_again'),
        (LabelLink(7), 'label_0007'),
    ],
)
def test_round_trip(link, label):
    """What is written is read again."""
    assert link.label == label
    assert type(link).parse(label) == link


@pytest.mark.parametrize('kind', [IterationLink, WalkerLink, LabelLink])
def test_other_labels(kind):
    """What is no such label is no error: other children have labels of their own."""
    for label in ('generate', 'structure_walker_00', 'labels_12', 'iteration_', 'walker_x'):
        assert kind.parse(label) is None


def test_numbers_are_sorted_as_numbers():
    """Iteration 100 comes after iteration 99, which as text it does not."""
    labels = ['iteration_100_train', 'iteration_99_train']
    links = sorted((IterationLink.parse(label) for label in labels), key=lambda link: link.iteration)
    assert [link.iteration for link in links] == [99, 100]
