"""Kubeconfigs of a lab: for its user, and for each of its own programs."""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """One cluster, one user, one context; everything inline, so that the file may be copied."""

    context: str
    server: str
    ca_pem: bytes
    user: str
    token: str

    def to_json(self) -> str:
        """JSON, which is YAML too: every client reads it."""
        cluster = {
            "server": self.server,
            "certificate-authority-data": base64.b64encode(self.ca_pem).decode(),
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.context, "cluster": cluster}],
            "users": [{"name": self.user, "user": {"token": self.token}}],
            "contexts": [{"name": self.context, "context": {"cluster": self.context, "user": self.user}}],
            "current-context": self.context,
        }
        return json.dumps(content, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Readable by its owner alone, and never half written."""
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(self.to_json(), encoding="utf-8")
        os.rename(fresh, path)
