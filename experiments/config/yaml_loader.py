"""YAML as people mean it: ``1e-3`` is a number, and a key given twice is an error."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<, which may be given with others
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML follows, wants a dot in every float.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
# A date is the text that it is written as.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """The value that a YAML text stands for.

    Raises:
      yaml.YAMLError: the text is no YAML, or a mapping has a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (
        TypeError,
        ValueError,
        RecursionError,
    ) as error:  # a key that is a list, a number too long
        raise yaml.YAMLError(str(error)) from error
