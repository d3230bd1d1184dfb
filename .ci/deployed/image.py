#!/usr/bin/env python3
"""The image in a container, with what the StatefulSet says of it: one pass, a service, and a stop in the middle of a pass.

Takes the folder in which podman keeps its images.
"""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

import yaml
from world import REPOSITORY, Podman, World, free_port, step, until

DEPLOY = REPOSITORY / "deploy"
NAME = f"evergrant-{os.getpid()}"
IMAGE = f"localhost/{NAME}"


def pod(port):
    """What Kubernetes gives the container, in podman's words: user, limits, variables."""
    pod = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "statefulset.yaml").read_text())["spec"]["template"]["spec"]
    [container] = pod["containers"]
    user, own, limits = pod["securityContext"], container["securityContext"], container["resources"]["limits"]
    assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, own
    # The host's network: each run needs a port of its own.
    variables = {one["name"]: one["value"].replace(":9877", f":{port}") for one in container["env"]}
    return user["fsGroup"], [
        *("--network", "host", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"])),
        *("--memory", limits["memory"].replace("Mi", "m"), "--memory-swap", limits["memory"].replace("Mi", "m")),
        *("--pids-limit", "64", "--cpus", "1"),
        *(f"--env={name}={value}" for name, value in variables.items()),
    ]


def volumes(folder, world, group):
    """State, settings and secrets as the kubelet mounts them: they belong to root, and the pod's group may use them."""
    (folder / "evergrant.toml").write_text(world.settings())
    secrets, state = folder / "secrets", folder / "state"
    for directory, mode in ((secrets, 0o755), (state, 0o2775)):
        directory.mkdir()
        os.chown(directory, 0, group)
        directory.chmod(mode)
    for name, text in (("client_secret", world.secret), ("store_url", world.store_url())):
        (secrets / name).write_text(text)
        os.chown(secrets / name, 0, group)
        (secrets / name).chmod(0o440)
    settings = folder / "evergrant.toml"
    return [f"-v={state}:/var/lib/evergrant", f"-v={settings}:/etc/evergrant/evergrant.toml:ro", f"-v={secrets}:/run/secrets/evergrant:ro"]


def build(podman, folder, program):
    """The stage that compiles is `cargo build`, and its image would come from a registry: the program takes its place."""
    context = folder / "build"
    (context / "src" / "target" / "dist").mkdir(parents=True)
    shutil.copy(program, context / "src" / "target" / "dist" / "evergrant")
    podman.build("--build-context", f"build={context}", "-t", IMAGE, "-f", DEPLOY / "Dockerfile", REPOSITORY)
    [image] = json.loads(podman("image", "inspect", IMAGE).stdout)
    config = image["Config"]
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM"), config
    assert config["Labels"]["org.opencontainers.image.title"] == "Evergrant", config
    step(f"the image: {image['Size'] // 1024**2} MiB")


def one_pass(podman, world, given):
    world.log_in(50)
    said = podman("run", "--rm", *given, IMAGE, "run", "--once", "--succeed-on=needs_login,unfinished", "--format", "json")
    report = json.loads(said.stdout)
    assert report["outcomes"]["refreshed"] == 50, report
    assert world.secret not in said.stdout + said.stderr
    stands = podman("run", "--rm", *given, IMAGE, "status").stdout
    assert stands.startswith("nothing needs a look\n"), stands
    step(f"one pass, as the manifest runs it: {world.assert_kept()} logins are kept")


def service(podman, world, given, port):
    world.log_in(200)
    podman("run", "-d", "--name", NAME, *given, IMAGE)
    until("a pass in the container", lambda: world.due() <= 180)
    for path in ("/livez", "/readyz"):
        world.get(f"http://127.0.0.1:{port}{path}")
    podman("healthcheck", "run", NAME)
    podman("stop", "-t", "90", NAME)
    code = podman("inspect", "-f", "{{.State.ExitCode}}", NAME).stdout.strip()
    log = podman("logs", NAME)
    assert code == "0" and world.due() > 0, f"exit code {code}, {world.due()} due\n{log.stderr}"
    assert world.secret not in log.stdout + log.stderr
    step(f"a service, stopped in a pass: {world.due()} are still due, and {world.assert_kept()} logins are kept")


def main():
    with contextlib.ExitStack() as ends:
        folder = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        podman = Podman(pathlib.Path(sys.argv[1]).resolve())
        world = World(folder)
        ends.callback(world.end)
        ends.callback(podman, "rmi", "-f", IMAGE, codes=(0, 1))
        ends.callback(podman, "rm", "-f", "-t", "1", NAME, codes=(0, 1))
        build(podman, folder, world.evergrant)
        port = free_port()
        group, given = pod(port)
        given += volumes(folder, world, group)
        one_pass(podman, world, given)
        service(podman, world, given, port)


main()
