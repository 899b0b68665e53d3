"""An artifact service in this process with scripted responses, for what act's server cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manywheels.deliver.artifacts.service import Service, find_service
from unit.resultsservice import SECRET, Answer, FakeResults, answer


@dataclass
class FakeService(FakeResults):
    """An artifact service; `finished` has each artifact's bytes and digest, by name."""

    finished: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        return find_service(self.environment)

    def _CreateArtifact(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802 - the service's names
        if request["name"] in self.finished:
            return answer(409, {"code": "already_exists", "msg": "an artifact with this name already exists"})
        return self.say({"ok": True, "signed_upload_url": self.upload_address})

    def _FinalizeArtifact(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802
        assert int(request["size"]) == len(self.committed)
        self.finished[request["name"]] = (self.committed, request["hash"])
        return self.say({"ok": True, "artifact_id": "42"})

    def _ListArtifacts(self, _request: Mapping[str, Any]) -> Answer:  # noqa: N802
        own = {"workflow_run_backend_id": "run-1", "workflow_job_run_backend_id": "job-0"}
        found = [
            {"name": name, "database_id": str(42 + number), "digest": digest, **own}
            for number, (name, (_, digest)) in enumerate(self.finished.items())
        ]
        return self.say({"artifacts": found})

    def _GetSignedArtifactURL(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802
        return self.say({"signed_url": f"{self.url}/download?name={request['name']}&sig={SECRET}"})

    def _DeleteArtifact(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802
        self.finished.pop(request["name"], None)
        return self.say({"ok": True, "artifact_id": "42"})

    def _GET(self, request: Mapping[str, Any]) -> Answer:  # noqa: N802
        return 200, {"Content-Type": "application/zip"}, self.finished[request["name"]][0]
