"""Whether the examples of health checks are true: the image's, and those of Kubernetes."""

from __future__ import annotations

import importlib.util
import json
import re
from typing import Any

import pytest
import yaml

from rtmpsrv import probe
from rtmpsrv.config import SETTINGS, Config
from tests.server_process import PROJECT

MANIFEST = PROJECT / "config/kubernetes.yaml"


def manifest() -> dict[str, dict[str, Any]]:
    """Return the objects of the manifest by kind, with what is switched off in it switched on."""
    text = re.sub(r"^( +)# (?=( *)(- |\w+:))", r"\1", MANIFEST.read_text(), flags=re.MULTILINE)
    both = [{one["kind"]: one for one in yaml.safe_load_all(part)} for part in (MANIFEST.read_text(), text)]
    assert list(both[0]) == list(both[1]) == ["Service", "Deployment"]
    return both[1]


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = manifest()["Deployment"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (one,) = pod()["containers"]
    found: dict[str, Any] = one
    return found


def variables() -> dict[str, str]:
    return {one["name"]: one.get("value", "from-a-secret") for one in container()["env"]}


def test_the_variables_of_the_manifest_are_settings_and_good() -> None:
    assert set(variables()) <= {name.upper() for name in SETTINGS}
    config, warnings = Config.load(variables())
    (warning,) = [text for text in warnings if "JWT_SECRET" not in text]
    assert warning.startswith("API_BIND_ADDRESS=0.0.0.0 without API_TLS")
    assert "warns" in MANIFEST.read_text().partition("API_BIND_ADDRESS")[2]  # that it is so meant there
    assert pod()["terminationGracePeriodSeconds"] > config.drain_timeout_seconds


def test_the_ports_of_the_manifest_are_those_of_the_server() -> None:
    config, _ = Config.load(variables())
    ports = {one["name"]: one["containerPort"] for one in container()["ports"]}
    assert ports == {"rtmp": config.rtmp_port, "rtmps": config.ssl_port}
    service = manifest()["Service"]["spec"]
    assert {one["targetPort"] for one in service["ports"]} == set(ports)
    assert all(one["port"] == ports[one["targetPort"]] for one in service["ports"])


def test_the_service_finds_the_pod() -> None:
    deployment = manifest()["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert manifest()["Service"]["spec"]["selector"] == deployment["selector"]["matchLabels"] == labels


def is_probe(command: list[str]) -> bool:
    program, module_option, module, *question = command
    assert importlib.util.find_spec(module) is not None
    assert (program, module_option, module) == ("python", "-m", "rtmpsrv.probe")
    return question in ([], *([one] for one in probe.QUESTIONS))


@pytest.mark.parametrize(
    ("name", "question"),
    [("startupProbe", "healthz"), ("livenessProbe", "healthz"), ("readinessProbe", "readyz")],
)
def test_probes_ask_what_they_are_for_and_wait_long_enough(name: str, question: str) -> None:
    asked = container()[name]
    assert is_probe(asked["exec"]["command"])
    assert asked["exec"]["command"][-1] == question
    assert asked["timeoutSeconds"] > probe.TIMEOUT_S


def test_a_pod_without_a_disk_has_a_place_for_run_dir() -> None:
    assert container()["securityContext"]["readOnlyRootFilesystem"]
    mounted = {one["name"]: one["mountPath"] for one in container()["volumeMounts"]}
    assert mounted == {one["name"]: "/tmp" for one in pod()["volumes"]}


def test_the_image_asks_in_the_same_way() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    found = re.search(r"^HEALTHCHECK .*--timeout=(\d+)s .*CMD (\[.*\])$", text, re.MULTILINE)
    assert found is not None
    assert is_probe(json.loads(found[2]))
    assert int(found[1]) > probe.TIMEOUT_S
    assert "[web,workers]" in text
