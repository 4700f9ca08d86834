"""Renders deploy/helm/postern with Helm's own engine and checks what comes out against the schemas of Kubernetes.

Each case is (a name, values, what has to stand in the manifests). A case of None has to be refused.
"""

import sys

import helm_python as helm
import kubernetes_validate
import yaml

CHART = sys.argv[1]
# The oldest that the chart is for, and one of now.
KUBERNETES = ["1.25", "1.33"]
# Of no schema of Kubernetes: it belongs to the operator of Prometheus.
FOREIGN = {"ServiceMonitor"}

BASE = {"amqp": {"existingSecret": "amqp"}, "tokens": {"publicKeys": {"existingSecret": "keys"}}}
ALL = {
    **BASE,
    "replicas": 2,
    "tls": {"existingSecret": "tls"},
    "tokens": {
        "secrets": {"existingSecret": "secrets"},
        "jwksUrl": "https://id.example/keys",
        "issuer": "https://id.example",
        "audience": "push",
    },
    "hosts": ["push.example"],
    "trustedProxies": ["10.0.0.0/8"],
    "allowOrigins": ["https://app.example"],
    "feeds": {"topics": ["jobs.#", "news"]},
    "extraEnv": [{"name": "POSTERN_LOG", "value": "debug"}],
    "ingress": {"enabled": True, "tlsSecret": "push"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "operators": [{"podSelector": {}}],
        "broker": [{"ipBlock": {"cidr": "10.1.0.0/16"}}],
        "extraEgress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
    },
    "image": {"repository": "registry.example/postern", "tag": "1.2.3", "pullSecrets": [{"name": "pull"}]},
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "service": {"annotations": {"e": "f"}},
    "serviceAccount": {"annotations": {"g": "h"}},
}
KINDS = ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount"]
CASES = [
    ("the least", BASE, KINDS),
    ("everything", ALL, sorted([*KINDS, "Ingress", "Ingress", "ServiceMonitor"])),
    ("anonymous", {"amqp": {"existingSecret": "amqp"}, "tokens": {"allowAnonymous": True}}, KINDS),
    (
        "little",
        {
            **BASE,
            "podDisruptionBudget": {"enabled": False},
            "networkPolicy": {"enabled": False},
            "topologySpreadConstraints": [],
        },
        ["Deployment", "Service", "Service", "ServiceAccount"],
    ),
    ("no broker", {"tokens": {"allowAnonymous": True}}, None),
    ("no access", {"amqp": {"existingSecret": "amqp"}}, None),
    ("replicas in words", {**BASE, "replicas": "three"}, None),
]


def manifests(chart, values):
    """Returns the documents that the templates become."""
    chart.validate_schema(values)
    rendered = chart.render(values, name="push", namespace="default")
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def check_hardening(deployment, values):
    """Holds what a pod must not be able to do, and that its times fit together."""
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    times = [int(env[f"POSTERN_SHUTDOWN_{time}"].removesuffix("s")) for time in ("DELAY", "GRACE")]
    assert times[0] > 0 and sum(times) < pod["terminationGracePeriodSeconds"], times
    assert "AMQP_URL" not in env, "a URL with a password stands in no manifest"
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert volumes == {mount["name"] for mount in container["volumeMounts"]}
    assert {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")} == {
        "startup": "/live", "liveness": "/live", "readiness": "/ready"
    }
    with open(sys.argv[2], encoding="utf-8") as names:
        known = set(names.read().split())
    unknown = {name for name in env if name not in known}
    assert not unknown, f"no settings of the gateway: {unknown}"


# Of severity 1 is what could be better, such as an icon.
findings = [finding for finding in helm.lint(CHART, values=BASE)["messages"] if finding["severity"] > 1]
assert not findings, findings
with helm.Chart.load(CHART) as chart:
    for name, values, expected in CASES:
        try:
            documents = manifests(chart, values)
        except helm.HelmError as error:
            assert expected is None, f"{name}: {error}"
            print(f"{name}: refused, as it should be")
            continue
        assert expected is not None, f"{name}: it should be refused"
        assert sorted(document["kind"] for document in documents) == expected, name
        for document in documents:
            if document["kind"] in FOREIGN:
                continue
            for version in KUBERNETES:
                kubernetes_validate.validate(document, version, strict=True)
        [deployment] = [document for document in documents if document["kind"] == "Deployment"]
        check_hardening(deployment, values)
        print(f"{name}: {len(documents)} manifests are valid")
print(f"checked by Helm {helm.helm_sdk_version()}, for Kubernetes {', '.join(KUBERNETES)}")
