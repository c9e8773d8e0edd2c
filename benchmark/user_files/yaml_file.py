"""Reads the YAML that users write as plain data, within bounds that are checked before anything is built."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from benchmark.reading.text import printable, read_text, shown
from benchmark.spec import SpecError

MOST_BYTES = 4 * 2**20
"""Of a file. A suite of 100,000 trials has 26 KB."""
MOST_VALUES = 100_000
"""Mappings, lists, keys and scalars of a file, each alias counted as all that it stands for."""
MOST_DEPTH = 50
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
"""What PyYAML raises for a scalar that is not what its tag says: `!!int x`, `2001-99-99`, `0x_`."""


def read_yaml(path: Path) -> tuple[Any, str]:
    """What a YAML file says, and its text.

    Raises OSError, and SpecError, without the file's name, in one line.
    """
    try:
        text = read_text(path, MOST_BYTES)
    except ValueError as error:
        raise SpecError(str(error)) from None
    return plain(text), text


def plain(text: str) -> Any:
    """What YAML says. Raises SpecError, in one line, for what is no YAML, for a key that is written twice, and for
    more values, or deeper ones, than any file of ours has.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SpecError(f"not YAML: {_problem(error)}") from None


def _problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = printable(str(getattr(error, "problem", error)))
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem[:200]}"


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


class _Size:
    """How much a document unfolds to: counted on what was parsed, where an alias is its anchor's own node."""

    def __init__(self, root: yaml.Node) -> None:
        self._found: dict[int, tuple[int, int, int]] = {}
        self._open: set[int] = set()
        self._of(root)

    def _of(self, node: yaml.Node) -> tuple[int, int, int]:
        """(values, characters, levels) of a node with all that is in it. Raises SpecError."""
        if isinstance(node, yaml.ScalarNode):
            return 1, len(node.value), 1
        if id(node) in self._open:
            raise SpecError(f"{_line(node)}: this value holds itself; allowed: values that end")
        if id(node) not in self._found:
            self._open.add(id(node))
            parts = [self._of(part) for part in _parts(node)]
            self._open.remove(id(node))
            values, characters, levels = zip(*parts, strict=True) if parts else ((), (), ())
            self._found[id(node)] = 1 + sum(values), sum(characters), 1 + max(levels, default=0)
            self._check(node, *self._found[id(node)])
        return self._found[id(node)]

    @staticmethod
    def _check(node: yaml.Node, values: int, characters: int, levels: int) -> None:
        if values > MOST_VALUES:
            allowed = "up to that, aliases unfolded"
            raise SpecError(
                f"{_line(node)}: this value unfolds to more than {MOST_VALUES:,} values; allowed: {allowed}"
            )
        if characters > MOST_BYTES:
            raise SpecError(f"{_line(node)}: this value unfolds to more than {MOST_BYTES:,} characters; allowed: that")
        if levels > MOST_DEPTH:
            raise SpecError(_too_deep(node.start_mark))


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _too_deep(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}: too many levels of nesting; allowed: {MOST_DEPTH}"


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is written twice is an error, not a silent loss."""

    num_nodes = depth = 0

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _Size(node)
        return node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuses what is too much while it is parsed: to parse all of it may take minutes."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self.num_nodes, self.depth = self.num_nodes + 1, self.depth + 1
        if self.num_nodes > MOST_VALUES:
            raise SpecError(f"line {mark.line + 1}: the file has more than {MOST_VALUES:,} values; allowed: up to that")
        if self.depth > MOST_DEPTH:
            raise SpecError(_too_deep(mark))
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except SpecError:
            raise
        except _UNREADABLE:
            value = shown(node.value) if isinstance(node, yaml.ScalarNode) else "this value"
            raise SpecError(f"{_line(node)}: {value} is no {node.tag.rpartition(':')[2]} that can be read") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[Hashable] = set()
        for name, _ in node.value:
            if name.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, which the others override
                continue
            key = self.construct_object(name, deep=True)
            if not isinstance(key, Hashable):
                continue  # which PyYAML refuses
            if key in keys:
                raise SpecError(f"{_line(name)}: the key {shown(key)} is there twice")
            keys.add(key)
        return super().construct_mapping(node, deep)
