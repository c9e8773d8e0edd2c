"""Writes the generated parts of docs/ARCHITECTURE.md: `python docs/make_architecture.py`; `--check` only compares.

The picture is made from the imports of the packages, the rows from their docstrings. So neither can be wrong.
"""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
HOUSE = "benchmark"

Graph = dict[str, set[str]]


def rooms() -> dict[str, Path]:
    """Name -> file or folder: all packages and modules directly in benchmark/, and leaderboard/."""
    found = {"leaderboard": ROOT / "leaderboard"}
    for path in sorted((ROOT / HOUSE).iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            found[path.stem] = path
        elif (path / "__init__.py").exists():
            found[path.name] = path
    return found


def modules(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported anywhere in a module, also inside functions; not what only types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


@functools.cache
def imports() -> Graph:
    """Room -> the rooms that it imports."""
    houses = rooms()
    graph: Graph = {name: set() for name in houses}
    for name, path in houses.items():
        for module in modules(path):
            for full in imported(ast.parse(module.read_text())):
                parts = full.split(".")
                room = parts[0] if parts[0] == "leaderboard" else parts[1] if parts[0] == HOUSE else ""
                if room in houses and room != name:
                    graph[name].add(room)
    return graph


def reach(graph: Graph, start: str) -> set[str]:
    """Everything that can be reached from `start`, without it."""
    found, left = set[str](), list(graph[start])
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += graph[name]
    return found


def reduced(graph: Graph) -> Graph:
    """Without the arrows that others imply: a -> c goes where a -> b -> c is. Raises ValueError for a circle."""
    below = {name: reach(graph, name) for name in graph}
    for name in graph:
        if name in below[name]:
            raise ValueError(
                f"{name} imports itself through {sorted(other for other in graph[name] if name in below[other])}"
            )
    return {a: {c for c in graph[a] if not any(c in below[b] for b in graph[a])} for a in graph}


def picture() -> str:
    graph = reduced(imports())
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {a} --> {b}" for a in sorted(graph) for b in sorted(graph[a])]
    return "\n".join([*lines, "```"])


def first_sentence(path: Path) -> str:
    """The first paragraph of a room's docstring."""
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    if not text:
        raise ValueError(f"{file.relative_to(ROOT)} has no docstring that says what it is")
    return " ".join(text.partition("\n\n")[0].split())


def rows() -> str:
    """A row a room, those that others import last."""
    graph, houses = imports(), rooms()
    depth = {name: len(reach(graph, name)) for name in graph}
    lines = ["| room | what it is |", "|---|---|"]
    for name in sorted(houses, key=lambda name: (-depth[name], name)):
        place = houses[name].relative_to(ROOT)
        shown = f"{place}/" if houses[name].is_dir() else str(place)
        lines.append(f"| [`{shown}`](../{place}) | {first_sentence(houses[name]).replace('|', '&#124;')} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The page with its generated parts made anew."""
    for name, made in (("picture", picture()), ("rows", rows())):
        begin, end = f"<!-- made: {name} -->\n", f"\n<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE.name} has no {begin.strip()!r} that {end.strip()!r} follows")
        text = before + begin + made + end + after
    return text


def main(arguments: list[str]) -> int:
    text = PAGE.read_text()
    made = filled(text)
    if arguments == ["--check"]:
        if made != text:
            print("docs/ARCHITECTURE.md is not what the imports say; run: python docs/make_architecture.py")
        return int(made != text)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
