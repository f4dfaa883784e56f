"""A certificate for this machine's own names, made by openssl.

In: a folder. Out: `certificate.pem` and `key.pem` in it, good for localhost and 127.0.0.1, and the
context of a server that shows them. Clients trust it by that file; no check has to be switched off.
"""

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

CERTIFICATE, KEY = "certificate.pem", "key.pem"


class CertificateError(Exception):
    """No certificate could be made; the text says why and what to do."""


def make_certificate(folder: Path, names: Sequence[str] = ("localhost",)) -> Path:
    """The certificate's path; made now unless it is there already."""
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not (certificate.exists() and key.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        alternatives = ",".join([*(f"DNS:{name}" for name in names), "IP:127.0.0.1"])
        _openssl(certificate, key, f"subjectAltName={alternatives}")
    return certificate


def server_context(folder: Path) -> ssl.SSLContext:
    """What a listener needs to speak TLS with the certificate in the folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return context


def _openssl(certificate: Path, key: Path, alternatives: str) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]
    command += ["-days", "30", "-subj", "/CN=playground", "-addext", alternatives]
    command += ["-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CertificateError(
            "There is no openssl on PATH; install it or serve without TLS."
        ) from error
    except subprocess.CalledProcessError as error:
        raise CertificateError(
            f"openssl made no certificate in {certificate.parent}: {error.stderr}"
        ) from error
