"""A certificate authority of the tests' own, for servers that speak TLS."""

import subprocess
from pathlib import Path
from typing import Any


class Authority:
    """A certificate authority, and a certificate of it for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.root, self.root_key = folder / "root.pem", folder / "root.key"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        signs = ("-addext", "keyUsage=critical,keyCertSign")
        self._make(self.root, self.root_key, "/CN=root", *signs)
        signed = ["-CA", self.root, "-CAkey", self.root_key]
        self._make(
            self.certificate,
            self.key,
            "/CN=server",
            *signed,
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )

    def _make(self, certificate: Path, key: Path, subject: str, *more: object) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", subject]
        command += ["-out", str(certificate), "-keyout", str(key), *map(str, more)]
        subprocess.run(command, check=True, capture_output=True)


def trusting(authority: Authority, **more: Any) -> dict[str, Any]:
    """Return OPTIONS that trust an authority."""
    return {"CONNECTION_POOL_KWARGS": {"ssl_ca_certs": str(authority.root), **more}}
