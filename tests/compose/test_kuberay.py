"""The manifest for Kubernetes: its form, and that it says the same as the deployment by Compose."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
VERSION = "1.33"


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text(encoding="utf-8")))


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stands in each template of a pod."""
    cluster, _, deployment = documents
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"], deployment["spec"]]
    return [group["template"]["spec"] for group in groups]


def test_everything_but_the_cluster_has_the_form_of_kubernetes(documents: list[dict[str, Any]]) -> None:
    assert [document["kind"] for document in documents] == ["RayCluster", "PersistentVolumeClaim", "Deployment"]
    for document in documents[1:]:
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_every_pod_of_the_cluster_has_the_form_of_kubernetes_and_is_locked_down(
    documents: list[dict[str, Any]],
) -> None:
    assert len(pods(documents)) == 4
    for spec in pods(documents):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}
        kubernetes_validate.validate(pod, VERSION, strict=True)
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in spec["volumes"]}


def test_a_field_with_a_wrong_name_would_be_found(documents: list[dict[str, Any]]) -> None:
    spec = pods(documents)[0] | {"volume": []}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSION, strict=True)


def test_the_cluster_has_the_version_of_ray_that_is_installed_and_wants_a_token(
    documents: list[dict[str, Any]],
) -> None:
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    spec = documents[0]["spec"]
    assert spec["rayVersion"] == pinned[1]
    assert spec["authOptions"] == {"mode": "token", "secretName": "adai-ray"}
    assert documents[0]["apiVersion"] == "ray.io/v1"


def test_the_image_has_the_version_of_the_project(documents: list[dict[str, Any]]) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"$', project, re.MULTILINE)
    assert version is not None
    images = {container["image"] for spec in pods(documents) for container in spec["containers"]}
    assert images == {f"registry.example/adai-study:{version[1]}"}
    assert f"adai-study:{version[1]}}}" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert f"ADAI_IMAGE=adai-study:{version[1]}\n" in (ROOT / ".env.example").read_text(encoding="utf-8")
