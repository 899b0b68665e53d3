"""A stand-in for Sigstore's transparency log: a Merkle tree (RFC 6962) whose head and entries it signs."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from index.fulcio import key_id, sign

_NAME = "rekor.local"


class Log:
    """A log of `dsse` entries, version 0.0.1; for several threads."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._leaves: list[bytes] = []
        self._lock = threading.Lock()

    def add(self, proposed: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the entry for what `POST /api/v1/log/entries` proposes; None where it is there already."""
        body = canonical(_entry(proposed))
        leaf = hashlib.sha256(b"\x00" + body).digest()
        with self._lock:
            if leaf in self._leaves:
                return None
            self._leaves.append(leaf)
            index, leaves = len(self._leaves) - 1, tuple(self._leaves)
        encoded = base64.b64encode(body).decode()
        promised = {
            "body": encoded,
            "integratedTime": int(time.time()),
            "logID": key_id(self.key).hex(),
            "logIndex": index,
        }
        root = root_of(leaves)
        proof = {
            "checkpoint": self._checkpoint(len(leaves), root),
            "hashes": [digest.hex() for digest in path_to(index, leaves)],
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": len(leaves),
        }
        signed = base64.b64encode(sign(self.key, canonical(promised))).decode()
        return {
            leaves[-1].hex(): promised | {"verification": {"inclusionProof": proof, "signedEntryTimestamp": signed}}
        }

    def _checkpoint(self, size: int, root: bytes) -> str:
        """Return the tree's head as a signed note."""
        note = f"{_NAME} - 1\n{size}\n{base64.b64encode(root).decode()}\n"
        signature = base64.b64encode(key_id(self.key)[:4] + sign(self.key, note.encode())).decode()
        return f"{note}\n\N{EM DASH} {_NAME} {signature}\n"


def _entry(proposed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the log keeps of a proposed entry: digests, signatures and who verifies them."""
    content = proposed["spec"]["proposedContent"]
    envelope = json.loads(content["envelope"])
    payload = base64.b64decode(envelope["payload"])
    verifier = content["verifiers"][0]
    return {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": _sha256(content["envelope"].encode()),
            "payloadHash": _sha256(payload),
            "signatures": [{"signature": entry["sig"], "verifier": verifier} for entry in envelope["signatures"]],
        },
    }


def _sha256(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def canonical(value: object) -> bytes:
    """Return JSON as RFC 8785 writes it; of ASCII texts and integers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the tree's root."""
    if len(leaves) == 1:
        return leaves[0]
    left, right = _halves(leaves)
    return hashlib.sha256(b"\x01" + root_of(left) + root_of(right)).digest()


def path_to(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of a leaf, lowest first."""
    if len(leaves) == 1:
        return []
    left, right = _halves(leaves)
    if index < len(left):
        return [*path_to(index, left), root_of(right)]
    return [*path_to(index - len(left), right), root_of(left)]


def _halves(leaves: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Split at the largest power of two that is smaller than their number."""
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return leaves[:middle], leaves[middle:]
