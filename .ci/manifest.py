"""Holds the manifests, in each combination of their components, against the schemas of every Kubernetes from 1.25 on, and their pods
against the Pod Security Standard "restricted".

Prints a line for each fault, then how many objects and versions were tried. Ends with 1 if there was a fault.
"""

import contextlib
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions
from packaging.version import Version

MANIFESTS = pathlib.Path(__file__).resolve().parent.parent / "deploy" / "kubernetes"
COMPONENTS = ["cronjob", "monitoring", "networkpolicy"]

# What each brings; no schema knows the operator's.
ALWAYS = {"ServiceAccount", "ConfigMap"}
SERVICE = ALWAYS | {"StatefulSet", "Service"}
BRINGS = {"monitoring": {"PodMonitor", "PrometheusRule"}, "networkpolicy": {"NetworkPolicy"}}
WITHOUT_SCHEMA = BRINGS["monitoring"]

faults = set()


@contextlib.contextmanager
def kustomization(text):
    """A folder beside the others with this kustomization: kustomize takes no absolute path."""
    with tempfile.TemporaryDirectory(dir=MANIFESTS) as folder:
        (pathlib.Path(folder) / "kustomization.yaml").write_text(text)
        yield folder


def built(folder):
    text = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def pod_of(document):
    spec = document["spec"]
    return spec["jobTemplate"]["spec"]["template"]["spec"] if document["kind"] == "CronJob" else spec["template"]["spec"]


def look_at(document):
    pod = pod_of(document)
    kind, common = document["kind"], pod["securityContext"]
    if common.get("seccompProfile") != {"type": "RuntimeDefault"} or common.get("runAsNonRoot") is not True:
        faults.add(f"{kind}: the pod isn't restricted: {common}")
    if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
        faults.add(f"{kind}: the pod gets a token for Kubernetes, or variables of other services")
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        faults.add(f"{kind}: the pod shares something with its host")
    if any(not {"persistentVolumeClaim", "secret", "configMap"} & volume.keys() for volume in pod["volumes"]):
        faults.add(f"{kind}: a volume is neither state nor settings nor secrets: {pod['volumes']}")
    for container in pod["containers"]:
        own = container["securityContext"]
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if own != wanted:
            faults.add(f"{kind}: the container isn't restricted: {own}")
    [settings] = [volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "settings"]
    if not settings.startswith("evergrant-"):
        faults.add(f"{kind}: a changed setting starts no new pod: {settings}")
    return pod


def compare(service, job):
    """Who goes from one to the other keeps all that both have."""
    apart = {"args", "env", "ports", "startupProbe", "livenessProbe", "readinessProbe"}
    (one,), (other,) = service["containers"], job["containers"]
    if {key: value for key, value in one.items() if key not in apart} != {key: value for key, value in other.items() if key not in apart}:
        faults.add("the containers of StatefulSet and CronJob differ")
    missing = [variable for variable in other["env"] if variable not in one["env"]]
    if missing:
        faults.add(f"the CronJob sets what the StatefulSet doesn't: {missing}")
    alike = ("securityContext", "serviceAccountName", "terminationGracePeriodSeconds")
    if any(service.get(name) != job.get(name) for name in alike):
        faults.add("the pods of StatefulSet and CronJob differ")
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in job["volumes"] if volume["name"] == "state"]
    if claims != ["state-evergrant-0"]:
        faults.add(f"the CronJob has a state of its own: {claims}")


versions = sorted(set(all_versions()), key=Version)
if versions[0] != "1.25.0" or Version(versions[-1]) < Version("1.37"):
    faults.add(f"schemas from {versions[0]} to {versions[-1]}, and not from 1.25.0 to 1.37 at least")
pods, objects = {}, {}
for size in range(len(COMPONENTS) + 1):
    for chosen in itertools.combinations(COMPONENTS, size):
        lists = {"resources": ["../base"], "components": [f"../components/{name}" for name in chosen]}
        with kustomization(yaml.safe_dump(lists)) as folder:
            documents = built(folder)
        wanted = set().union(*(BRINGS.get(name, set()) for name in chosen))
        wanted |= ALWAYS | {"CronJob", "PersistentVolumeClaim"} if "cronjob" in chosen else SERVICE
        kinds = {document["kind"] for document in documents}
        if kinds != wanted:
            faults.add(f"{chosen or 'the base'}: {sorted(kinds ^ wanted)}")
        for document in documents:
            objects[yaml.safe_dump(document)] = document
            if document["kind"] in ("StatefulSet", "CronJob"):
                pods[document["kind"]] = look_at(document)
compare(pods["StatefulSet"], pods["CronJob"])

images = {container["image"] for document in built(MANIFESTS) if document["kind"] == "StatefulSet" for container in pod_of(document)["containers"]}
if images != {"registry.example.com/evergrant:0.1.0"}:
    faults.add(f"the image is {images}")

# What a person may enable stands in it as a comment.
head, body = (MANIFESTS / "kustomization.yaml").read_text().split("\nkind: Kustomization\n")
body = re.sub(r"^( *)# ((?:- |  |patches:|namespace:).*)$", r"\1\2", body, flags=re.MULTILINE)
body = re.sub(r"- (base|components/)", r"- ../\1", body)
with kustomization(f"{head}\nkind: Kustomization\n{body}") as folder:
    enabled = {document["kind"]: document for document in built(folder)}
if "CronJob" not in enabled or any(document["metadata"].get("namespace") != "evergrant" for document in enabled.values()):
    faults.add(f"what kustomization.yaml has as a comment brings {sorted(enabled)}")
if enabled["PersistentVolumeClaim"]["spec"]["accessModes"] != ["ReadWriteOncePod"]:
    faults.add("the patch of the claim does nothing")
with kustomization(f"{head}\nkind: Kustomization\n{body.replace('  - ../components/cronjob', '')}") as folder:
    enabled = {document["kind"]: document for document in built(folder)}
if enabled["StatefulSet"]["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] != ["ReadWriteOncePod"]:
    faults.add("the patch of the StatefulSet does nothing")

for version, document in itertools.product(versions, objects.values()):
    if document["kind"] in WITHOUT_SCHEMA:
        continue
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except Exception as error:
        faults.add(f"{version} {document['kind']}: {getattr(error, 'message', error)}")

rules = yaml.safe_load((MANIFESTS.parent / "monitoring" / "rules.yaml").read_text())
embedded = [document["spec"] for document in objects.values() if document["kind"] == "PrometheusRule"]
if not embedded or any(spec != rules for spec in embedded):
    faults.add("prometheusrule.yaml has other rules than deploy/monitoring/rules.yaml")

print("\n".join([*sorted(faults), f"{len(objects)} objects, {len(versions)} versions, {versions[0]} to {versions[-1]}"]))
sys.exit(bool(faults))
