"""The manifests of a served model: two pods or more, replaced without a gap, reached by those with the label.

Written through a YAML writer, so that no name can be read as anything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

PORT = 8080
UID = 10001  # of the user that the image runs as
_KEYS = "/etc/trialtree/keys"  # folder that the Secret is mounted at
# Measured: the parent takes 23 MB, its one worker 141 (CatBoost, columns as they are) to 231 (with scikit-learn).
_RESOURCES = {
    "requests": {"cpu": "250m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}


@dataclass(frozen=True)
class Served:
    """What the manifests are about."""

    name: str  # of all objects
    image: str
    annotations: Mapping[str, str]

    def object(self, version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object of Kubernetes with this name."""
        metadata = {"name": self.name, "labels": self.labels, "annotations": dict(self.annotations)}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": dict(spec)}

    @property
    def labels(self) -> dict[str, str]:
        """The labels by which pods are found."""
        return {"app.kubernetes.io/name": self.name}


def manifests(served: Served) -> dict[str, bytes]:
    """Return the content of each file."""
    objects = {
        "deployment": served.object("apps/v1", "Deployment", _deployment(served)),
        "service": served.object("v1", "Service", _service(served)),
        "autoscaler": served.object("autoscaling/v2", "HorizontalPodAutoscaler", _autoscaler(served)),
        "disruption": served.object("policy/v1", "PodDisruptionBudget", _budget(served)),
        "network": served.object("networking.k8s.io/v1", "NetworkPolicy", _network(served)),
    }
    files = {f"{name}.yaml": _yaml(content) for name, content in objects.items()}
    image, _, tag = served.image.rpartition(":")
    listed = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
        "images": [{"name": image, "newName": image, "newTag": tag}],
    }
    return files | {"kustomization.yaml": _yaml(listed)}


def _deployment(served: Served) -> dict[str, Any]:
    return {
        # No `replicas`: applied again, it would undo what the autoscaler made of them.
        "revisionHistoryLimit": 5,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": served.labels},
        "template": {
            "metadata": {"labels": served.labels, "annotations": dict(served.annotations)},
            "spec": _pod(served),
        },
    }


def _pod(served: Served) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 45,  # preStop, then the requests in flight
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(served)],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "keys", "secret": {"secretName": f"{served.name}-keys", "defaultMode": 0o440}},
        ],
    }


def _container(served: Served) -> dict[str, Any]:
    return {
        "name": "model",
        "image": served.image,
        "ports": [{"name": "http", "containerPort": PORT}],
        "env": [{"name": "TRIALTREE_KEYS_FILE", "value": f"{_KEYS}/keys"}],
        "resources": _RESOURCES,
        "startupProbe": _probe("/ready", period=1, failures=120),
        "readinessProbe": _probe("/ready", period=5, failures=2),
        "livenessProbe": _probe("/live", period=10, failures=3),
        # Time for those who still send here to learn that they should not.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the container's own
            {"name": "keys", "mountPath": _KEYS, "readOnly": True},
        ],
    }


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _service(served: Served) -> dict[str, Any]:
    return {"selector": served.labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}


def _autoscaler(served: Served) -> dict[str, Any]:
    usage = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": served.name},
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [{"type": "Resource", "resource": usage}],
    }


def _budget(served: Served) -> dict[str, Any]:
    return {"minAvailable": 1, "selector": {"matchLabels": served.labels}}


def _network(served: Served) -> dict[str, Any]:
    """Return the policy: in, from labelled clients and the ingress controller's namespace; out, nowhere."""
    ingress = {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}
    return {
        "podSelector": {"matchLabels": served.labels},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [
                    {"podSelector": {"matchLabels": {f"{served.name}-client": "true"}}},
                    {"namespaceSelector": ingress},
                ],
                "ports": [{"protocol": "TCP", "port": PORT}],
            }
        ],
        "egress": [],
    }


class _Dumper(yaml.SafeDumper):
    """Writes the same object twice instead of an anchor and a reference to it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's own signature
        return True


def _yaml(content: Mapping[str, Any]) -> bytes:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text.encode()
