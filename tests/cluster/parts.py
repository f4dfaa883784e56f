"""The cluster's processes as argument lists, and their configuration files.

In: the templates of config/ and the names. Out: <state>/config/** and one list of words per part.
Flags stand here, whole files in config/, so that either can be read as its program's manual shows
it.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Template

from tests.cluster import names
from tests.cluster.debian import CNI_PLUGINS
from tests.cluster.names import API_PORT, CONFIG, HERE, NODE, NODE_ADDRESS, SERVICE_RANGE, STATE
from tests.cluster.pki import PKI, kubeconfig_of

ETCD = "127.0.0.1:23790"

_VALUES: Mapping[str, object] = {
    **{name: value for name, value in vars(names).items() if name.isupper()},
    "BIN": names.BIN_LINKS,
    "CNI_PLUGINS": CNI_PLUGINS,
}


def write_configuration() -> None:
    """Fill in every template of config/; an unknown placeholder is a KeyError."""
    for template in sorted((HERE / "config").rglob("*")):
        if template.is_file():
            target = CONFIG / template.relative_to(HERE / "config")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(template.read_text()).substitute(_VALUES))


def flags(**values: object) -> list[str]:
    """Go flags from keywords: `bind_address="x"` is `--bind-address=x`."""
    return [f"--{name.replace('_', '-')}={_word(value)}" for name, value in values.items()]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def etcd() -> list[str]:
    """Durability is given up on purpose: the cluster never outlives its processes."""
    peer = "http://127.0.0.1:23800"
    urls = flags(
        listen_client_urls=f"http://{ETCD}",
        advertise_client_urls=f"http://{ETCD}",
        listen_peer_urls=peer,
        initial_advertise_peer_urls=peer,
        initial_cluster=f"default={peer}",
    )
    data = flags(data_dir=STATE / "etcd", unsafe_no_fsync=True, log_level="warn")
    return [*urls, *data]


def apiserver() -> list[str]:
    """The API server, on the node's address alone."""
    return [
        *flags(
            etcd_servers=f"http://{ETCD}",
            bind_address=NODE_ADDRESS,
            advertise_address=NODE_ADDRESS,
            secure_port=API_PORT,
            service_cluster_ip_range=SERVICE_RANGE,
            authorization_mode="Node,RBAC",
            enable_admission_plugins="NodeRestriction",
            # As every real cluster has it: then it is Pod Security that refuses, as in production.
            allow_privileged=True,
            profiling=False,
        ),
        *_apiserver_keys(),
    ]


def _apiserver_keys() -> list[str]:
    return flags(
        client_ca_file=PKI / "ca.crt",
        tls_cert_file=PKI / "apiserver.crt",
        tls_private_key_file=PKI / "apiserver.key",
        kubelet_certificate_authority=PKI / "ca.crt",
        kubelet_client_certificate=PKI / "apiserver-to-kubelet.crt",
        kubelet_client_key=PKI / "apiserver-to-kubelet.key",
        kubelet_preferred_address_types="InternalIP",
        service_account_issuer="https://kubernetes.default.svc.cluster.local",
        service_account_key_file=PKI / "service-accounts.pub",
        service_account_signing_key_file=PKI / "service-accounts.key",
    )


def controller_manager() -> list[str]:
    """All controllers; one instance, so no election to wait for."""
    return [
        *flags(
            kubeconfig=kubeconfig_of("controller-manager"),
            bind_address="127.0.0.1",
            leader_elect=False,
            use_service_account_credentials=True,
            service_account_private_key_file=PKI / "service-accounts.key",
            root_ca_file=PKI / "ca.crt",
            cluster_signing_cert_file=PKI / "ca.crt",
            cluster_signing_key_file=PKI / "ca.key",
            profiling=False,
        )
    ]


def scheduler() -> list[str]:
    """The scheduler with its own defaults."""
    return flags(
        kubeconfig=kubeconfig_of("scheduler"), bind_address="127.0.0.1", leader_elect=False
    )


def containerd() -> list[str]:
    """The container runtime, apart from any other containerd of the machine."""
    return ["--config", str(CONFIG / "containerd.toml")]


def kubelet() -> list[str]:
    """The node."""
    return flags(
        config=CONFIG / "kubelet.yaml",
        kubeconfig=kubeconfig_of("kubelet"),
        root_dir=STATE / "kubelet",
        cert_dir=PKI,
        hostname_override=NODE,
        node_ip=NODE_ADDRESS,
    )


def proxy() -> list[str]:
    """Service addresses, by nftables."""
    return flags(config=CONFIG / "kube-proxy.yaml")


def coredns() -> list[str]:
    """Names of Services, on the node's address."""
    return ["-conf", str(CONFIG / "Corefile")]


def local_path() -> list[str]:
    """Volumes as folders of the machine."""
    return [
        "start",
        *flags(
            kubeconfig=kubeconfig_of("local-path"),
            config=CONFIG / "local-path.json",
            helper_pod_file=CONFIG / "helper-pod.yaml",
            helper_image=names.NODE_IMAGE,
            namespace="local-path-storage",
        ),
    ]


def kube_router() -> list[str]:
    """Network policies and nothing else of what it can do."""
    return flags(
        kubeconfig=names.KUBECONFIG,
        hostname_override=NODE,
        run_router=False,
        run_service_proxy=False,
        run_loadbalancer=False,
        run_firewall=True,
        service_cluster_ip_range=SERVICE_RANGE,
        metrics_port=0,
        health_port=names.POLICIES_HEALTH_PORT,
    )


def program(name: str) -> Path:
    """The binary behind its link."""
    return names.BIN_LINKS / name
