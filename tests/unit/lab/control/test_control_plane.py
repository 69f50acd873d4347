"""Credentials that verify, command lines that carry the configuration, kubeconfigs that only their owner reads."""

import base64
import json
import ssl
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from bench.lab import network
from bench.lab.api import Access
from bench.lab.config import LabConfig
from bench.lab.control import pki
from bench.lab.control.files import Identity, Pki
from bench.lab.control.kubeconfig import Kubeconfig
from bench.lab.control.programs import ControlPlane, Program
from bench.lab.paths import LabPaths


@pytest.fixture
def made(tmp_path: Path) -> Pki:
    pki.make(tmp_path)
    return Pki(tmp_path)


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


class TestCredentials:
    @pytest.mark.parametrize("name", ["server", "kubelet", "kubelet_client"])
    def test_the_cluster_ca_signed_what_it_should(self, made: Pki, name: str) -> None:
        certificate(getattr(made, name)).verify_directly_issued_by(certificate(made.ca))

    def test_the_front_proxy_has_a_ca_of_its_own(self, made: Pki) -> None:
        front = certificate(made.front_proxy)

        front.verify_directly_issued_by(certificate(made.front_proxy_ca))
        with pytest.raises(ValueError, match="Issuer"):
            front.verify_directly_issued_by(certificate(made.ca))

    def test_the_server_is_known_by_every_name_it_is_called_by(self, made: Pki) -> None:
        names = certificate(made.server).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

        assert {"localhost", "kubernetes", "kubernetes.default.svc.cluster.local"} <= {
            *names.get_values_for_type(x509.DNSName)
        }
        assert {str(each) for each in names.get_values_for_type(x509.IPAddress)} == {
            "127.0.0.1",
            network.BRIDGE_ADDRESS,
            network.API_SERVICE_ADDRESS,
        }

    @pytest.mark.parametrize("name", ["server", "kubelet", "kubelet_client", "front_proxy"])
    def test_every_certificate_fits_its_key(self, made: Pki, name: str) -> None:
        path = getattr(made, name)

        ssl.create_default_context().load_cert_chain(path, Pki.key_of(path))

    def test_the_kubelet_client_is_allowed_to_read_logs(self, made: Pki) -> None:
        subject = certificate(made.kubelet_client).subject

        assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"

    def test_all_files_are_their_owners(self, made: Pki) -> None:
        assert {path.stat().st_mode & 0o077 for path in made.folder.iterdir()} == {0}

    def test_each_identity_has_a_token_that_no_other_lab_has(self, tmp_path: Path) -> None:
        one, other = pki.make(tmp_path / "one"), pki.make(tmp_path / "other")

        assert set(one) == set(Identity)
        assert not set(one.values()) & set(other.values())
        lines = Pki(tmp_path / "one").tokens.read_text(encoding="ascii").splitlines()
        assert f'{one[Identity.ADMIN]},kubernetes-admin,kubernetes-admin,"system:masters"' in lines
        assert f"{one[Identity.SCHEDULER]},system:kube-scheduler,system:kube-scheduler" in lines


class TestKubeconfigs:
    def test_a_client_reads_what_was_written(self, made: Pki, tmp_path: Path) -> None:
        written = Kubeconfig(
            context="bench-lab-x", server="https://127.0.0.1:1", ca_pem=made.ca.read_bytes(), user="u", token="t"
        )
        path = tmp_path / "kubeconfig"

        written.write(path)

        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert raw == json.loads(written.to_json())
        assert raw["current-context"] == "bench-lab-x"
        assert base64.b64decode(raw["clusters"][0]["cluster"]["certificate-authority-data"]) == made.ca.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        access = Access.read(path)
        assert (access.server, access.token) == ("https://127.0.0.1:1", "t")


class TestCommandLines:
    def flags(self, program: Program) -> dict[str, str]:
        return dict(word.split("=", 1) for word in program.command[1:] if "=" in word)

    def plane(self, **fields: float) -> ControlPlane:
        return ControlPlane(LabConfig(**fields), LabPaths(Path("/labs/one")))  # type: ignore[arg-type]

    def test_the_autoscaler_is_as_quick_as_configured(self) -> None:
        plane = self.plane(hpa_sync_seconds=2.5, hpa_downscale_stabilization_seconds=7.0)

        flags = self.flags(plane.controller_manager())

        assert flags["--horizontal-pod-autoscaler-sync-period"] == "2.5s"
        assert flags["--horizontal-pod-autoscaler-downscale-stabilization"] == "7.0s"

    def test_gangs_are_served_and_scheduled(self) -> None:
        plane = self.plane()

        for program in (plane.apiserver(), plane.scheduler(), plane.controller_manager()):
            assert self.flags(program)["--feature-gates"] == "GenericWorkload=true"
        assert self.flags(plane.apiserver())["--runtime-config"] == "scheduling.k8s.io/v1beta1=true"

    def test_what_has_a_health_port_listens_on_loopback_alone(self) -> None:
        plane = self.plane()

        assert self.flags(plane.scheduler())["--bind-address"] == "127.0.0.1"
        assert self.flags(plane.controller_manager())["--bind-address"] == "127.0.0.1"
        assert self.flags(plane.etcd())["--listen-client-urls"].startswith("http://127.0.0.1:")

    def test_kube_proxy_leaves_the_machines_settings_alone(self) -> None:
        flags = self.flags(self.plane().proxy("gpu-node-1"))

        assert flags["--hostname-override"] == "gpu-node-1"
        assert {value for name, value in flags.items() if name.startswith("--conntrack")} == {"0"}

    def test_programs_are_called_by_their_upstream_names(self) -> None:
        plane = self.plane()

        for program in (plane.etcd(), plane.apiserver(), plane.controller_manager(), plane.scheduler()):
            assert program.command[0] == f"/labs/one/bin/{program.name}"
