"""No module has mutable state: what runs belongs to the application object and is given downwards.

A constant table, written down and never changed, is no state; a ContextVar is per task, not shared.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.sources import Source, functions_of, package_sources

EMPTY_CONTAINERS = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "bytearray", "count"}
MAKERS = {
    "Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier", "local",
    "Queue", "SimpleQueue", "LifoQueue", "PriorityQueue",
    "Thread", "Timer", "Process", "Pool", "ThreadPoolExecutor", "ProcessPoolExecutor", "Manager",
    "WeakKeyDictionary", "WeakValueDictionary", "WeakSet",
    "create_engine", "connect", "socket", "open", "Client", "CollectorRegistry", "Future",
}  # fmt: skip
CACHING = {"cache", "lru_cache"}
CHANGES = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "remove", "discard",
    "clear", "appendleft", "put", "put_nowait",
}  # fmt: skip


def state_of(source: Source) -> list[str]:
    """Every piece of mutable state that the module or one of its classes makes when it is imported."""
    found = [*_held(source.tree.body), *_changed(source.tree), *_caching(source.tree), *_globals(source.tree)]
    classes = [node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]
    found += [problem for one in classes for problem in _held(one.body, in_class=True)]
    return [f"{source.path}:{problem}" for problem in found]


def _held(body: list[ast.stmt], *, in_class: bool = False) -> Iterator[str]:
    """Assignments of locks, queues, pools, threads and empty containers."""
    for statement in body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        value = statement.value
        if isinstance(value, ast.List | ast.Dict | ast.Set) and _is_empty(value) and not in_class:
            yield f"{statement.lineno} an empty container"
        name = _name_of(value.func) if isinstance(value, ast.Call) else ""
        if name in MAKERS or (name in EMPTY_CONTAINERS and isinstance(value, ast.Call) and not value.args):
            yield f"{statement.lineno} {name}()"


def _is_empty(value: ast.List | ast.Dict | ast.Set) -> bool:
    return not (value.keys if isinstance(value, ast.Dict) else value.elts)


def _changed(tree: ast.Module) -> Iterator[str]:
    """Functions that change what a name of the module holds."""
    names = _names_assigned(tree.body)
    for function in functions_of(tree):
        shadowed = {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)}
        shadowed |= _names_assigned(list(ast.walk(function)))
        for node in ast.walk(function):
            name = _what_it_changes(node)
            if name in names - shadowed:
                yield f"{node.lineno} {name} is changed"  # type: ignore[attr-defined]


def _what_it_changes(node: ast.AST) -> str | None:
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return node.value.id if isinstance(node.value, ast.Name) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        return node.func.value.id if isinstance(node.func.value, ast.Name) else None
    return None


def _names_assigned(statements: list[ast.stmt] | list[ast.AST]) -> set[str]:
    targets: list[ast.expr] = []
    for statement in statements:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign | ast.For | ast.AsyncFor | ast.NamedExpr | ast.comprehension):
            targets.append(statement.target)
        elif isinstance(statement, ast.withitem) and statement.optional_vars:
            targets.append(statement.optional_vars)
    names = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}  # TABLE[key] = 1 assigns no name


def _caching(tree: ast.Module) -> Iterator[str]:
    for function in functions_of(tree):
        for decorator in function.decorator_list:
            name = _name_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if name in CACHING:
                yield f"{function.lineno} {function.name} has a cache of its own"


def _globals(tree: ast.Module) -> Iterator[str]:
    yield from (
        f"{node.lineno} global {', '.join(node.names)}" for node in ast.walk(tree) if isinstance(node, ast.Global)
    )


def _name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_no_module_has_mutable_state() -> None:
    assert [problem for source in package_sources() for problem in state_of(source)] == []


@pytest.mark.parametrize(
    "text",
    [
        "CACHE = {}",
        "CACHE: dict[str, int] = dict()",
        "LOCK = threading.Lock()",
        "POOL = ThreadPoolExecutor(4)",
        "ENGINE = create_engine('sqlite://')",
        "class A:\n    lock = Lock()",
        "x = None\ndef f():\n    global x\n    x = 1",
        "TABLE = {'a': 1}\ndef f():\n    TABLE['b'] = 2",
        "TABLE = ['a']\ndef f():\n    TABLE.append('b')",
        "@lru_cache\ndef f():\n    return 1",
        "@functools.cache\ndef f():\n    return 1",
    ],
)
def test_mutable_state_is_found(text: str) -> None:
    assert len(state_of(Source.of(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "TABLE = {'a': 1}\ndef f():\n    return TABLE['a']",
        "NAMES = frozenset({'a'})",
        "REQUEST_ID = ContextVar('request_id', default=None)",
        "TABLE = {'a': 1}\ndef f():\n    TABLE = {}\n    TABLE['b'] = 2",
        "def f():\n    found = []\n    found.append(1)",
    ],
)
def test_constants_and_local_names_are_no_state(text: str) -> None:
    assert state_of(Source.of(text)) == []
