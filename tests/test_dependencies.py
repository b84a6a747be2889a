"""requirements.lock has a digest of every file, and the versions of constraints.txt."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE_ALONE = {"colorama", "editables", "hatchling", "pathspec", "setuptools", "tomlkit", "trove-classifiers"}
"""Packages that build this one, or that only other systems or Python versions need."""


def versions(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return {found[1].lower().replace("_", "-"): found[2] for found in re.finditer(r"^([\w.-]+)==([^ \n]+)", text, re.M)}


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    lock = versions("requirements.lock")
    constraints = versions("constraints.txt")
    assert len(lock) > 70
    assert {name for name in lock if name not in constraints} == HERE_ALONE
    assert {name: version for name, version in lock.items() if constraints.get(name, version) != version} == {}


def test_every_package_has_digests() -> None:
    entries = re.split(r"^(?=[a-z])", (ROOT / "requirements.lock").read_text(), flags=re.M)[1:]
    assert len(entries) == len(versions("requirements.lock"))
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
