"""Holds a manifest against the schemas of every Kubernetes from 1.25 on, and its pods against the Pod Security Standard "restricted".

Prints a line for each fault, then how many versions were tried. Ends with 1 if there was a fault.
"""

import sys

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions
from packaging.version import Version

faults = []
documents = [document for document in yaml.safe_load_all(open(sys.argv[1])) if document]
versions = sorted(set(all_versions()), key=Version)
if versions[0] != "1.25.0" or Version(versions[-1]) < Version("1.37"):
    faults.append(f"schemas from {versions[0]} to {versions[-1]}, and not from 1.25.0 to 1.37 at least")
for version in versions:
    for document in documents:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:
            faults.append(f"{version} {document['kind']}: {getattr(error, 'message', error)}")

pods = [document["spec"]["jobTemplate"]["spec"]["template"]["spec"] for document in documents if document["kind"] == "CronJob"]
if not pods:
    faults.append("there is no CronJob")
for pod in pods:
    common = pod["securityContext"]
    if common.get("seccompProfile") != {"type": "RuntimeDefault"} or common.get("runAsNonRoot") is not True:
        faults.append(f"the pod isn't restricted: {common}")
    if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
        faults.append("the pod gets a token for Kubernetes, or variables of other services")
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        faults.append("the pod shares something with its host")
    if any(not {"persistentVolumeClaim", "secret"} & volume.keys() for volume in pod["volumes"]):
        faults.append(f"a volume is neither the state nor the secret: {pod['volumes']}")
    for container in pod["containers"]:
        own = container["securityContext"]
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if own != wanted:
            faults.append(f"the container isn't restricted: {own}")

print("\n".join([*faults, f"{len(versions)} versions, {versions[0]} to {versions[-1]}"]))
sys.exit(bool(faults))
