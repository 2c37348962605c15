"""Base of the parsers of `pyacemaker-worker`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_pyacemaker.atomistics.core.plain import plain
from aiida_pyacemaker.data.configurations import ConfigurationsData
from aiida_pyacemaker.data.potential import find_not_finite

#: Name of the exit code for each way in which the worker says that it failed.
ERROR_CODES = {
    'invalid_data': 'ERROR_INVALID_DATA',
    'missing_engine': 'ERROR_MISSING_ENGINE',
    'corrupt_input': 'ERROR_CORRUPT_INPUT',
}


class WorkerParser(Parser):
    """Parse the ``result.json`` of the worker and what the task produced."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse the retrieved files.

        :param kwargs: ``retrieved_temporary_folder``: folder with the products of the task.
        """
        filename = self.node.process_class.FILENAME_RESULT
        try:
            content = self.retrieved.base.repository.get_object_content(filename)
        except FileNotFoundError:
            return self.exit_of_scheduler() or self.exit_codes.ERROR_OUTPUT_MISSING

        try:
            result = json.loads(content)
            status = result.pop('status')
        except (ValueError, AttributeError, KeyError, TypeError) as exception:
            return self.broken(f'{filename} cannot be read ({exception!r})')

        not_finite = find_not_finite(result)
        self.out('results', orm.Dict(plain(result)))
        if status != 'ok':
            exit_code = getattr(self.exit_codes, ERROR_CODES.get(result.get('code'), 'ERROR_TASK_FAILED'))
            return exit_code.format(message=result.get('message', 'no reason was given'))
        if not_finite:
            return self.broken(f'{", ".join(not_finite)} in the results is not a finite number')

        product = Path(kwargs.get('retrieved_temporary_folder') or '', self.node.process_class.PRODUCT)
        if not product.exists():
            return self.broken(f'{product.name} is missing')
        try:
            nodes = self.parse_product(product)
        except (ValueError, KeyError, OSError) as exception:
            return self.broken(f'{product.name} cannot be read ({exception})')
        for name, node in nodes.items():
            self.out(name, node)
        return None

    def parse_product(self, product: Path) -> dict[str, orm.Data]:
        """Return the nodes made of what the task produced, by output port.

        :param product: file or folder that the task wrote.
        :raises ValueError: if it is broken.
        """
        raise NotImplementedError

    def broken(self, message: str) -> ExitCode:
        """Return the exit code for output that is there but cannot be used."""
        return self.exit_codes.ERROR_OUTPUT_BROKEN.format(message=message)

    def exit_of_scheduler(self) -> ExitCode | None:
        """Return the exit code that the parser of the scheduler's output has set, because it knows why a job died."""
        if self.node.exit_status:
            return ExitCode(self.node.exit_status, self.node.exit_message, invalidates_cache=True)
        return None


class ConfigurationsParser(WorkerParser):
    """Parser of a task that produces configurations."""

    #: Name of the output port.
    OUTPUT = 'configurations'

    def parse_product(self, product: Path) -> dict[str, orm.Data]:
        """Return the configurations that the task wrote."""
        return {self.OUTPUT: ConfigurationsData.from_file(product)}
