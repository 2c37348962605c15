"""Cross references in docstrings and comments (`:func:`...`) lead to something."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import aiida_pyacemaker

FOLDER = Path(aiida_pyacemaker.__file__).parent
ROLE = re.compile(r':(?:class|func|meth|mod|data|attr|exc):`([^`]+)`')
#: Packages whose names are not looked up.
OTHERS = ('aiida', 'aiida_quantumespresso', 'ase', 'numpy', 'phonopy', 'pymatgen', 'scipy')


def names_of(body: list[ast.stmt], prefix: str = '') -> Iterator[str]:
    """Yield the names that statements bind: functions, classes and what is in them, variables, imports."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from names_of(node.body, f'{prefix}{node.name}.')
        elif isinstance(node, ast.FunctionDef) and prefix:
            for each in ast.walk(node):  # attributes of the instance
                if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == 'self':
                    yield prefix + each.attr
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from (prefix + each.id for each in ast.walk(target) if isinstance(each, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split('.')[0] for alias in node.names)
        elif isinstance(node, ast.If):
            yield from names_of(node.body, prefix)


def read_modules() -> dict[str, tuple[Path, set[str]]]:
    """Return the path and the names of each module of the package."""
    modules = {}
    for path in FOLDER.rglob('*.py'):
        name = '.'.join(path.relative_to(FOLDER.parent).with_suffix('').parts).removesuffix('.__init__')
        stub = path.with_suffix('.pyi')
        source = path.read_text() + (stub.read_text() if stub.exists() else '').replace('from __future__', '#')
        modules[name] = (path, set(names_of(ast.parse(source).body)))
    return modules


def is_known(target: str, module: str, modules: dict[str, tuple[Path, set[str]]]) -> bool:
    """Return whether a reference leads to something.

    :param target: a name of the module or of a class in it, a relative or an absolute path.
    """
    path, names = modules[module]
    if target.startswith('.'):
        package = module.split('.') if path.name == '__init__.py' else module.split('.')[:-1]
        dots = len(target) - len(target.lstrip('.'))
        target = '.'.join([*package[: len(package) - dots + 1], target.lstrip('.')])
    elif target.split('.')[0] in OTHERS or target in names or any(name.endswith(f'.{target}') for name in names):
        return True
    parts = target.split('.')
    return target in modules or any(
        '.'.join(parts[k:]) in modules['.'.join(parts[:k])][1]
        for k in range(1, len(parts))
        if '.'.join(parts[:k]) in modules
    )


def test_cross_references():
    modules = read_modules()
    broken = []
    for module, (path, _) in modules.items():
        text = path.read_text()
        for match in ROLE.finditer(text):
            target = re.sub(r'^.*<(.+)>$', r'\1', match[1]).lstrip('~').removesuffix('()')
            if not is_known(target, module, modules):
                line = text.count('\n', 0, match.start()) + 1
                broken.append(f'{path.relative_to(FOLDER.parent)}:{line}: {match[0]}')
    assert not broken, '\n'.join(broken)
