"""GitHub's cache service in this process, with scripted responses; checked with @actions/cache by the container tests.

There is one scope: branches and their rights are left to scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from unit.resultsservice import SECRET, Answer, FakeResults, answer

DENIED: Final = answer(
    403, {"code": "permission_denied", "msg": "cache write denied: token has no writable scopes"}
)  # as GitHub's


@dataclass(frozen=True, kw_only=True)
class Entry:
    key: str
    version: str
    content: bytes


@dataclass
class FakeCache(FakeResults):
    """A cache service; `entries` are in the order of their creation, the newest at the end."""

    entries: list[Entry] = field(default_factory=list)
    reserved: set[tuple[str, str]] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"GITHUB_SERVER_URL": "https://github.com"}

    def keep(self, key: str, version: str, content: bytes) -> None:
        self.entries.append(Entry(key=key, version=version, content=content))

    def _CreateCacheEntry(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802 - the service's names
        entry = request["key"], request["version"]
        if entry in self.reserved or any(entry == (kept.key, kept.version) for kept in self.entries):
            message = "cache entry with the same key, version, and scope already exists"
            return answer(409, {"code": "already_exists", "msg": message})
        self.reserved.add(entry)
        return self.say({"ok": True, "signed_upload_url": self.upload_address, "message": ""})

    def _FinalizeCacheEntryUpload(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802
        self.reserved.remove((request["key"], request["version"]))
        assert int(request["size_bytes"]) == len(self.committed)
        self.keep(request["key"], request["version"], self.committed)
        return self.say({"ok": True, "entry_id": str(len(self.entries)), "message": ""})

    def _GetCacheEntryDownloadURL(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802
        key, prefixes = request["key"], request.get("restore_keys", [])
        found = [number for number, entry in enumerate(self.entries) if entry.version == request["version"]]
        exact = [number for number in found if self.entries[number].key == key]
        matched = [exact, *([n for n in found if self.entries[n].key.startswith(word)] for word in (key, *prefixes))]
        number = next((numbers[-1] for numbers in matched if numbers), None)
        if number is None:
            return self.say({"ok": False, "signed_download_url": "", "matched_key": ""})
        address = f"{self.url}/download?number={number}&sig={quote(SECRET)}"
        return self.say({"ok": True, "signed_download_url": address, "matched_key": self.entries[number].key})

    def _GET(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802 - the request's method
        content = self.entries[int(request["number"])].content
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request["range"])
        if not asked:
            return 200, {}, content
        first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
        return 206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]
