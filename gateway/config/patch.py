"""A part of a configuration laid over the whole.

Source: the product's `config.patch`, which is RFC 7396 but for arrays of objects that all have an `id`: those are
merged element by element.  A client that knows the configuration in part only, or an old one, takes nothing out of an
array by mistake: it has to name the arrays that it means to replace.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["lost_entries", "merge_patch", "replaced_paths"]


def merge_patch(value: Any, patch: Any, replaces: Callable[[str], bool], path: str = "") -> Any:
    """`value` with `patch` in it: null removes a member, objects merge, all else replaces.

    `replaces` tells of the path of an array, `agents.list` or `tools.list[].command.argv`, whether it is replaced even
    if its elements have ids.  Raises ValueError for a patch, or an array, in which two elements have one id.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        inner = _inner(path, key)
        old = merged.get(key)
        if change is None:
            merged.pop(key, None)
        elif isinstance(change, list) and isinstance(old, list) and _all_named(old) and not replaces(inner):
            merged[key] = _merge_by_id(old, change, replaces, inner)
        else:
            merged[key] = merge_patch(old, change, replaces, inner)
    return merged


def lost_entries(base: Any, patch: Any, merged: Any, path: str = "") -> Iterator[str]:
    """The paths of the arrays of which `patch` takes elements away; `merged` is what it made of `base`."""
    if not isinstance(patch, dict) or not isinstance(base, dict):
        return
    for key, change in patch.items():
        inner, old = _inner(path, key), base.get(key)
        new = merged.get(key) if isinstance(merged, dict) else None
        if isinstance(old, list):
            yield from _lost(old, change, new, inner)
        elif isinstance(old, dict) and not isinstance(change, dict):
            yield from _arrays(old, inner)
        else:
            yield from lost_entries(old, change, new, inner)


def replaced_paths(given: list[str]) -> frozenset[str]:
    """Paths as a client may write them, `agents.list[0].tools` or `agents.list[]`, as `merge_patch` tells them."""
    return frozenset(re.sub(r"\[[0-9]+\](?=\.)", "[]", path.strip().removesuffix("[]")) for path in given)


def _lost(old: list[Any], change: Any, new: Any, path: str) -> Iterator[str]:
    if not isinstance(change, list) or not isinstance(new, list):
        yield path
    elif not _all_named(old):
        if Counter(map(_token, old)) - Counter(map(_token, new)):
            yield path
    else:
        kept = {entry["id"]: entry for entry in new if _is_named(entry)}
        if any(entry["id"] not in kept for entry in old):
            yield path
            return
        before = {entry["id"]: entry for entry in old}
        for entry in filter(_is_named, change):
            yield from lost_entries(before.get(entry["id"]), entry, kept.get(entry["id"]), f"{path}[]")


def _merge_by_id(old: list[Any], patch: list[Any], replaces: Callable[[str], bool], path: str) -> list[Any]:
    merged = list(old)
    places = {entry["id"]: index for index, entry in enumerate(old)}
    named = [entry["id"] for entry in patch if _is_named(entry)]
    if len(places) < len(old) or len(set(named)) < len(named):
        raise ValueError(f"two entries of {path} have one id; name this path in replacePaths to replace all of it")
    for entry in patch:
        if _is_named(entry) and entry["id"] in places:
            place = places[entry["id"]]
            merged[place] = merge_patch(merged[place], entry, replaces, f"{path}[]")
        else:
            merged.append(entry)
    return merged


def _arrays(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        yield path
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _arrays(member, _inner(path, key))


def _token(item: Any) -> str:
    return json.dumps(item, sort_keys=True)


def _all_named(items: list[Any]) -> bool:
    return all(map(_is_named, items))


def _is_named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str) and item["id"] != ""


def _inner(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
