"""The lab's marks, and when it is skipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import roots

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session", autouse=True)
def _lab_works_here() -> None:
    reason = roots.why_not()
    if reason is not None:
        pytest.skip(reason)
    if shutil.which("debootstrap") is None and not all(map(roots.is_made, roots.ROOTS)):
        pytest.skip("the lab needs debootstrap to make its roots: scripts/install-test-tools")
