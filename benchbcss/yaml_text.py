"""YAML by libyaml where PyYAML has it: several times faster, which every command's start feels.

A setting that is written twice is a mistake: PyYAML keeps the last of them and says nothing.
"""

from __future__ import annotations

from typing import Any

import yaml

#: libyaml's composer recurses in C and ends the process where brackets nest some ten thousand deep
_SHALLOW = 1000
#: of the names of YAML files
ENDINGS = (".yaml", ".yml")
_MERGE = "tag:yaml.org,2002:merge"


class WrittenTwice(yaml.MarkedYAMLError):
    """A mapping has a key twice."""

    def __str__(self) -> str:
        return str(self.problem)


def load(text: str) -> Any:
    """As ``yaml.safe_load``, which also says what is wrong with what is no YAML. Raises
    yaml.YAMLError, for a key that a mapping has twice too, ValueError and RecursionError."""
    loader = getattr(yaml, "CSafeLoader", None)
    if loader is None or not _is_shallow(text):
        return _loaded(text, yaml.SafeLoader)
    try:
        return _loaded(text, loader)
    except yaml.YAMLError:
        return _loaded(text, yaml.SafeLoader)


def _loaded(text: str, kind: Any) -> Any:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        check_keys(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def check_keys(node: yaml.Node) -> None:
    """Raise yaml.YAMLError for the first key that a mapping in ``node`` has twice."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: dict[tuple[str, str], yaml.Mark] = {}
            for key, value in node.value:
                waiting.append(value)
                if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                    continue
                first = keys.setdefault((key.tag, key.value), key.start_mark)
                if first is not key.start_mark:
                    raise WrittenTwice(
                        problem=f"'{key.value}' is written twice, in line {first.line + 1} and "
                        f"line {key.start_mark.line + 1}. Keep one",
                        problem_mark=key.start_mark,
                    )


def _is_shallow(text: str) -> bool:
    """Whether nothing can nest deep: a level costs a bracket, or characters within one line."""
    brackets = text.count("[") + text.count("{")
    return brackets < _SHALLOW and max(map(len, text.split("\n"))) < _SHALLOW
