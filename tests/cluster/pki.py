"""The cluster's certificates and kubeconfigs, made anew at each start with openssl.

In: the list of identities below. Out: files under <state>/pki and one kubeconfig per client.
Python from 3.13 on refuses an authority without key usage and leaves without key identifiers,
hence the sections.
"""

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.names import API_ADDRESS, API_URL, KUBECONFIG, NODE, NODE_ADDRESS, STATE

PKI = STATE / "pki"
CA = PKI / "ca.crt"

_OPENSSL = """
[req]
distinguished_name = dn
prompt = no
[dn]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

_API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate: file stem, user (CN), groups (O), and the names it serves, if it serves."""

    name: str
    user: str
    groups: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    kubeconfig: bool = False

    @property
    def subject(self) -> str:
        """The subject in openssl's notation."""
        return "".join(f"/O={group}" for group in self.groups) + f"/CN={self.user}"


IDENTITIES = (
    Identity("admin", "admin", ("system:masters",), kubeconfig=True),
    Identity("controller-manager", "system:kube-controller-manager", kubeconfig=True),
    Identity("scheduler", "system:kube-scheduler", kubeconfig=True),
    Identity("kubelet", f"system:node:{NODE}", ("system:nodes",), kubeconfig=True),
    Identity("proxy", "system:kube-proxy", kubeconfig=True),
    Identity("coredns", "coredns", kubeconfig=True),
    Identity("local-path", "local-path-provisioner", kubeconfig=True),
    Identity("apiserver-to-kubelet", "apiserver", ("system:masters",)),
    Identity(
        "apiserver",
        "kube-apiserver",
        serves=(
            *(f"DNS:{name}" for name in (*_API_NAMES, f"{_API_NAMES[-1]}.cluster.local")),
            f"IP:{API_ADDRESS}",
            f"IP:{NODE_ADDRESS}",
        ),
    ),
    Identity("node", f"system:node:{NODE}", serves=(f"DNS:{NODE}", f"IP:{NODE_ADDRESS}")),
)


def kubeconfig_of(name: str) -> Path:
    """The kubeconfig of an identity."""
    return KUBECONFIG if name == "admin" else PKI / f"{name}.kubeconfig"


def make() -> None:
    """Write the authority, all certificates, the service accounts' key and the kubeconfigs."""
    PKI.mkdir(parents=True, exist_ok=True)
    PKI.chmod(0o700)
    (PKI / "openssl.cnf").write_text(_OPENSSL)
    _request("ca", "/CN=course-runner-test-cluster", "authority", [])
    with ThreadPoolExecutor(4) as pool:
        keys = pool.submit(_service_account_keys)
        list(pool.map(_leaf, IDENTITIES))
        keys.result()
    for identity in IDENTITIES:
        if identity.kubeconfig:
            _write_kubeconfig(identity.name)


def _leaf(identity: Identity) -> None:
    signed = ["-CA", str(CA), "-CAkey", str(PKI / "ca.key")]
    names = ["-addext", f"subjectAltName={','.join(identity.serves)}"] if identity.serves else []
    _request(identity.name, identity.subject, "leaf", signed + names)


def _request(name: str, subject: str, section: str, extra: Iterable[str]) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", PKI / f"{name}.key", "-out", PKI / f"{name}.crt", "-days", "365"]
    config = ["-config", PKI / "openssl.cnf", "-extensions", section]
    run(["openssl", "req", "-x509", *config, *key, *files, "-subj", subject, *extra])


def _service_account_keys() -> None:
    private = PKI / "service-accounts.key"
    curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    run(["openssl", "genpkey", *curve, "-out", private])
    run(["openssl", "pkey", "-in", private, "-pubout", "-out", PKI / "service-accounts.pub"])


def _write_kubeconfig(name: str) -> None:
    text = json.dumps(_kubeconfig(name), indent=1)
    path = kubeconfig_of(name)
    path.touch(mode=0o600)
    path.write_text(text)


def _kubeconfig(name: str) -> dict[str, object]:
    cluster = {"server": API_URL, "certificate-authority-data": _inline(CA)}
    user = {
        "client-certificate-data": _inline(PKI / f"{name}.crt"),
        "client-key-data": _inline(PKI / f"{name}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "course-runner-test",
        "clusters": [{"name": "course-runner-test", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {
                "name": "course-runner-test",
                "context": {"cluster": "course-runner-test", "user": name},
            }
        ],
    }


def _inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
