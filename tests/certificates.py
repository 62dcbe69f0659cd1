"""Certificates made by openssl: an authority and, signed by it, one for a device and one for us; and a stranger's."""

import subprocess
from pathlib import Path

NEW = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]


def make(folder: Path) -> Path:
    """ca, stranger, device (at 127.0.0.1) and us: a .crt and a .key of each in the folder."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "stranger"):
        openssl(*NEW, "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.crt")
    for name in ("device", "us"):
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"]
        openssl(*NEW, "-subj", f"/CN={name}", *signed, "-keyout", f"{name}.key", "-out", f"{name}.crt")
    return folder
