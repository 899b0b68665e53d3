"""What the tests of the local index share: uploads as twine makes them, the page of a project, tokens."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import requests
from requests_toolbelt import MultipartEncoder
from twine.package import PackageFile
from twine.repository import Repository

from index import LocalIndex

SIMPLE_JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


def other_content(path: Path) -> Path:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo/more.py", "x = 1\n")
    return path


def upload(index: LocalIndex, path: Path, token: str, **changed: str) -> requests.Response:
    """Upload as twine does; `changed` fields replace its own, an empty value leaves the field out."""
    metadata = PackageFile.from_filename(str(path), None).metadata_dictionary()
    fields = Repository._convert_metadata_to_list_of_tuples(metadata)
    fields = [(name, value) for name, value in fields if name not in changed]
    fields += [(name, value) for name, value in changed.items() if value]
    with path.open("rb") as file:
        content = ("content", (path.name, file, "application/octet-stream"))
        form: Any = MultipartEncoder([*fields, (":action", "file_upload"), ("protocol_version", "1"), content])
        headers = {"Content-Type": form.content_type}
        return requests.post(
            index.upload_url, data=form, headers=headers, auth=("__token__", token), allow_redirects=False, timeout=20
        )


def simple(index: LocalIndex, project: str = "demo") -> list[dict[str, Any]]:
    answer = requests.get(f"{index.simple_url}{project}/", headers=SIMPLE_JSON, timeout=20)
    files: list[dict[str, Any]] = answer.json()["files"]
    return files


def mint(index: LocalIndex, identity: str) -> requests.Response:
    return requests.post(f"{index.url}/_/oidc/mint-token", json={"token": identity}, timeout=20)


def minted(index: LocalIndex) -> str:
    token: str = mint(index, index.identity_token()).json()["token"]
    return token
