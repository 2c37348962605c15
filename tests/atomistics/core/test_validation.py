"""Tests of what is said of a section that cannot be used."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError, create_model, field_validator, model_validator

from aiida_pyacemaker.atomistics.core.errors import InputError
from aiida_pyacemaker.atomistics.core.parameters import Count, Positive, Section, parameter
from aiida_pyacemaker.atomistics.core.validation import (
    explain,
    iterate_fields,
    iterate_sections,
    nullable_sections,
    read_section,
)


class Stage(Section):
    """A stage."""

    name: str = parameter('Its name.')
    share: float | list[float] = parameter('Its share.', default=1.0)


class Strange(Section):
    """What a plug-in brings."""

    depth: Positive = parameter('How deep.', unit='Å', default=1.0)
    mode: Literal['wide', 'narrow'] = parameter('How.', default='wide')
    tries: Count = parameter('How often.', default=3, ge=1)
    stages: list[Stage] = parameter('What comes after each other.', default=[])

    @field_validator('tries')
    @classmethod
    def _check_tries(cls, value):
        if value == 13:
            raise InputError('tries', '13 brings bad luck', 'take 12')
        return value

    @model_validator(mode='after')
    def _check_both(self):
        if self.mode == 'narrow' and self.depth > 5:
            raise InputError('depth', 'too deep for a narrow one', 'make it wide')
        return self


#: As the run file puts the sections of plug-ins together.
Floor = create_model('Floor', __base__=Section, strange=(Strange, parameter('It.', default=Strange())))
House = create_model(
    'House',
    __base__=Section,
    floor=(Floor, parameter('A floor.', default=Floor())),
    attic=(Strange | None, parameter('Or none.', default=None)),
)


def test_keys_of_plugins():
    """Sections that were put together from plug-ins are as good as those that were written down."""
    assert [key for key, _ in iterate_sections(House)] == ['floor', 'floor.strange', 'attic']
    assert 'floor.strange.depth' in dict(iterate_fields(House))
    assert nullable_sections(House) == {'attic'}


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'depth': -1.0}, 'floor.strange.depth: -1.0 is wrong, it must be above 0 (How deep, in Å)'),
        ({'deph': 1.0}, 'floor.strange.deph: unknown key; did you mean `floor.strange.depth`?'),
        ({'mode': 'wid'}, "floor.strange.mode: 'wid' is not one of wide, narrow; did you mean `wide`?"),
        ({'tries': 13}, 'floor.strange.tries: 13 brings bad luck; take 12'),
        ({'mode': 'narrow', 'depth': 6.0}, 'floor.strange.depth: too deep for a narrow one; make it wide'),
        ({'stages': [{'name': 'a'}, {'nme': 'b'}]}, 'floor.strange.stages.1.name: missing; give it a value'),
        ({'stages': [{'name': 'a', 'share': 'x'}]}, 'floor.strange.stages.0.share: '),
        ({'stages': [{'name': 'a', 'shar': 1.0}]}, 'floor.strange.stages.0.shar: unknown key; did you mean'),
        (5, 'floor.strange: 5 is not a section; known keys of it are depth, mode, tries, stages'),
    ],
)
def test_messages(given, message):
    """Each names the whole key, what is wrong, and what helps."""
    with pytest.raises(ValidationError) as caught:
        House.model_validate({'floor': {'strange': given}})
    assert str(explain(caught.value, House)[0]).startswith(message)


def test_read_section():
    """A section that is read on its own says where in the run file it stands."""
    assert read_section(Strange, {'depth': 2.0}).depth == 2.0
    with pytest.raises(InputError, match=r'^label\.strange\.depth: '):
        read_section(Strange, {'depth': 'deep'}, 'label.strange')
    with pytest.raises(InputError, match=r'^depth: '):
        read_section(Strange, {'depth': 'deep'})
