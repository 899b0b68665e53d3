"""How uv installs what a build requires: by hard links, only where these are certain to work and nobody chose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from manywheels.build.stages.frontend import BuildRequest, _link_mode


@pytest.mark.parametrize(
    ("hard_links", "mode", "arguments", "expected"),
    [
        (True, "symlink", (), ("--link-mode", "hardlink")),
        (True, "symlink", ("--no-config",), ("--link-mode", "hardlink")),
        (False, "symlink", (), ()),  # the file system has none, or nothing was prefetched
        (True, "copy", (), ()),  # the target's `environment`
        (True, None, (), ()),
        (True, "symlink", ("--link-mode=copy",), ()),
        (True, "symlink", ("--link-mode", "copy"), ()),
    ],
)
def test_link_mode(
    hard_links: bool,  # noqa: FBT001
    mode: str | None,
    arguments: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    request = SimpleNamespace(
        hard_links=hard_links,
        environment={"UV_LINK_MODE": mode} if mode else {},
        options=SimpleNamespace(front_end=SimpleNamespace(arguments=arguments)),
    )
    assert _link_mode(cast("BuildRequest", request)) == expected
