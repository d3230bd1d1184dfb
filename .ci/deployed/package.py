#!/usr/bin/env python3
"""The package under a real systemd: installed, started, killed, hung, without its store, stopped, upgraded, removed.

Takes the folder in which podman keeps its images; `debian.tar` in it is the root of a Debian with systemd.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
import time

from world import DEBIAN, DNS, REPOSITORY, Podman, World, free_port, run, step, until

STATE = "/var/lib/private/evergrant"

# The service's own times are too long for a test.
QUICK = """[Service]
RestartSec=1
WatchdogSec=3
TimeoutAbortSec=3
"""

QUICK_PACKAGE = {**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}


class Machine:
    """A Debian whose first process is systemd."""

    def __init__(self, podman, folder):
        self.podman, self.name = podman, f"evergrant-{os.getpid()}"
        podman("run", "-d", "--name", self.name, "--privileged", "--systemd=always", "--network", "host", "-v", f"{folder}:/packages:ro",
               DEBIAN, "/bin/sh", "-c", "mount --make-rshared /; exec /lib/systemd/systemd")
        until("systemd", lambda: self("systemctl", "is-system-running", codes=(0, 1)).stdout.strip() in ("running", "degraded"))

    def __call__(self, *command, codes=(0,)):
        return self.podman("exec", self.name, *command, codes=codes)

    def write(self, path, text, mode="644"):
        self.podman("exec", "-i", self.name, "sh", "-c", f"cat > {path}; chmod {mode} {path}", input=text)

    def read(self, path):
        return self("cat", path).stdout

    def show(self, *names, unit="evergrant"):
        found = self("systemctl", "show", unit, "-p", ",".join(names)).stdout
        return dict(line.split("=", 1) for line in found.splitlines())

    def says(self, text):
        return text in self.show("StatusText")["StatusText"]

    def pid(self):
        return self.show("MainPID")["MainPID"]

    def signal(self, name):
        self("systemctl", "kill", f"--signal={name}", "evergrant")

    def log(self):
        return self("journalctl", "--no-pager", "-u", "evergrant*", codes=(0, 1)).stdout

    def end(self):
        self.podman("rm", "-f", "-t", "1", self.name, codes=(0, 1))


def package(folder):
    """Builds the package, and returns its path in the machine."""
    run(REPOSITORY / "deploy" / "deb" / "build", folder / "evergrant", folder / "first.deb", env=QUICK_PACKAGE)
    return "/packages/first.deb"


def newer_package(folder):
    """The same one, of a later version."""
    control = folder / "newer" / "DEBIAN" / "control"
    run("dpkg-deb", "-R", folder / "first.deb", folder / "newer")
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:"))
    run("dpkg-deb", "--root-owner-group", "-b", folder / "newer", folder / "newer.deb", env=QUICK_PACKAGE)
    return "/packages/newer.deb"


def installed(machine, world, folder):
    said = machine("dpkg", "-i", package(folder)).stdout
    assert "is installed, and not started" in said, said
    assert machine.show("ActiveState")["ActiveState"] == "inactive"
    machine.write("/etc/evergrant/evergrant.toml", world.settings(state_dir="/var/lib/evergrant", **{"admin.listen": f"127.0.0.1:{free_port()}"}))
    machine.write("/etc/evergrant/client_secret", world.secret, "600")
    # Names go through both resolvers: the driver's own for the records of the cluster, and the C library's for the server.
    machine.write("/etc/resolv.conf", f"nameserver {DNS}\n")
    machine.write("/etc/evergrant/store_url", "mongodb+srv://app.evergrant.test/?tls=false&serverSelectionTimeoutMS=2000", "600")
    machine("mkdir", "-p", "/etc/systemd/system/evergrant.service.d")
    machine.write("/etc/systemd/system/evergrant.service.d/quick.conf", QUICK)
    machine("systemctl", "daemon-reload")
    world.log_in(5)
    machine("evergrant-as-service", "check")
    for page in ("evergrant.1", "evergrant-run.1"):
        machine("gzip", "-t", f"/usr/share/man/man1/{page}.gz")
    step("installed: not started, and `evergrant-as-service check` is content")


def started(machine, world):
    machine("systemctl", "enable", "--now", "evergrant")
    of = machine.show("ActiveState", "Type", "WatchdogUSec")
    assert of == {"ActiveState": "active", "Type": "notify", "WatchdogUSec": "3s"}, of
    until("the first pass", lambda: world.ledger()["granted"] >= 5)
    until("a status", lambda: machine.says("sleeping"))
    step("started: ready, and it refreshed all that was due")


def confined(machine):
    """What the unit takes away is away: systemd leaves some of it out where the machine can't do it, and says nothing."""
    process = f"/proc/{machine.pid()}"
    lines = dict(line.split(":\t", 1) for line in machine.read(f"{process}/status").splitlines())
    said = {name: lines[name].split() for name in ("Seccomp", "NoNewPrivs", "CapEff", "CapBnd")}
    assert said == {"Seccomp": ["2"], "NoNewPrivs": ["1"], "CapEff": ["0" * 16], "CapBnd": ["0" * 16]}, said
    assert "0" not in lines["Uid"].split(), lines["Uid"]
    users = [line.split() for line in machine.read(f"{process}/uid_map").splitlines()]
    assert len(users) == 2 and {count for _, _, count in users} == {"1"}, f"not a user namespace of root and itself: {users}"
    mounts = {}
    for line in machine.read(f"{process}/mountinfo").splitlines():
        fields = line.split()
        mounts[fields[4]] = {*fields[5].split(","), *fields[-1].split(",")}
    assert "ro" in mounts["/"] and "ro" not in mounts[STATE], mounts
    assert {"/home", "/root", "/run/user"} <= mounts.keys() and {"hidepid=invisible", "subset=pid"} <= mounts["/proc"], mounts
    environment = machine.read(f"{process}/environ").split("\0")
    [credentials] = [line.split("=", 1)[1] for line in environment if line.startswith("CREDENTIALS_DIRECTORY=")]
    for name in ("client_secret", "store_url"):
        mode = machine("stat", "-c", "%a", f"{credentials}/{name}").stdout.strip()
        assert mode in ("400", "440"), f"{name} has mode {mode}"
    step(f"confined: filter, users, mounts and credentials are as the unit says; {lines['VmHWM'].strip()} of memory")


def killed_in_a_pass(machine, world):
    world.log_in(200)
    until("a pass in the status", lambda: machine.says("in flight"))
    step(f"in a pass it says `{machine.show('StatusText')['StatusText']}`")
    before = machine.pid()
    machine.signal("KILL")
    assert world.due() > 0, "it was killed in the middle"
    until("another process", lambda: machine.pid() not in ("0", before))
    until("the rest", lambda: world.due() == 0)
    step(f"killed by SIGKILL in a pass: started again, and {world.assert_kept()} logins are kept")


def watched(machine):
    before = machine.show("NRestarts")
    machine.signal("STOP")
    until("a restart by the watchdog", lambda: machine.show("NRestarts") != before)
    until("a process that works", lambda: machine.says("sleeping"))
    assert "Watchdog timeout" in machine.log()
    step("hung by SIGSTOP: the watchdog ended it, and it was started again")


def without_store(machine, world):
    before = machine.show("NRestarts")
    world.kill_mongod()
    until("a status without the store", lambda: machine.says("the store does not answer"))
    said = machine("evergrant-as-service", "status", codes=(7,)).stdout
    assert said.startswith("the store does not answer: app.tokens"), said
    assert machine("evergrant-as-service", "status", "--live").stdout == "ok\n"
    # Three times as long as the watchdog waits.
    began = time.monotonic()
    until("nine seconds", lambda: time.monotonic() - began > 9)
    assert machine.show("NRestarts") == before, "a store that is away is no reason for a restart"
    world.start_mongod()
    world.log_in(20)
    granted = world.ledger()["granted"]
    until("a pass after it", lambda: world.ledger()["granted"] > granted, 120)
    step("without its store: it says so, the watchdog leaves it alone, and it goes on when the store is back")


def drained(machine, world):
    world.log_in(200)
    before = world.ledger()
    until("a pass", lambda: world.ledger()["granted"] >= before["granted"] + 20)
    machine("systemctl", "stop", "evergrant")
    of = machine.show("ActiveState", "Result", "ExecMainStatus")
    assert of == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}, of
    left, after = world.due(), world.ledger()
    assert left > 0, "it was stopped in the middle"
    lost = ("reuses", "answers_lost", "answers_untaken")
    assert [after[name] for name in lost] == [before[name] for name in lost], after
    step(f"stopped in a pass: no answer was lost, {left} are still due, and {world.assert_kept()} logins are kept")


def upgraded(machine, world, folder):
    machine("systemctl", "start", "evergrant")
    before = machine.pid()
    newer = newer_package(folder)
    machine("dpkg", "-i", newer)
    assert machine.show("ActiveState")["ActiveState"] == "active" and machine.pid() not in ("0", before)
    until("the rest", lambda: world.due() == 0)
    step(f"upgraded while it ran: started again, and {world.assert_kept()} logins are kept")
    settings = machine.read("/etc/evergrant/evergrant.toml")
    machine.write("/etc/evergrant/evergrant.toml", "no settings")
    said = machine("dpkg", "-i", newer).stderr
    assert "did not start again" in said and machine.show("ExecMainStatus")["ExecMainStatus"] == "2", said
    machine.write("/etc/evergrant/evergrant.toml", settings)
    machine("systemctl", "start", "evergrant")
    step("upgraded, and it can't start: the package is installed all the same, and says it")


def by_timer(machine, world):
    world.log_in(5)
    machine("systemctl", "enable", "--now", "evergrant-once.timer")
    machine("systemctl", "start", "evergrant-once")
    assert machine.show("ActiveState")["ActiveState"] == "inactive", "both at once"
    of = machine.show("Result", "ExecMainStatus", unit="evergrant-once")
    assert of == {"Result": "success", "ExecMainStatus": "0"}, of
    assert "evergrant-once.timer" in machine("systemctl", "list-timers", "--no-pager").stdout
    world.assert_kept()
    step("one pass by the unit of the timer, in place of the service")


def removed(machine):
    machine("systemctl", "start", "evergrant")
    machine("dpkg", "-r", "evergrant")
    assert machine.show("ActiveState")["ActiveState"] in ("inactive", "failed")
    machine("test", "-e", f"{STATE}/journal.db")
    said = machine("dpkg", "-P", "evergrant").stdout
    assert "it may hold tokens that are in no document yet" in said, said
    machine("test", "-e", f"{STATE}/journal.db")
    for path in ("/usr/bin/evergrant", "/etc/evergrant"):
        machine("test", "!", "-e", path)
    step("removed and purged: stopped, and the state is kept")


def main():
    with contextlib.ExitStack() as ends:
        folder = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        world = World(folder)
        ends.callback(world.end)
        world.start_dns()
        machine = Machine(Podman(pathlib.Path(sys.argv[1]).resolve()), folder)
        ends.callback(machine.end)
        try:
            installed(machine, world, folder)
            started(machine, world)
            confined(machine)
            killed_in_a_pass(machine, world)
            watched(machine)
            without_store(machine, world)
            drained(machine, world)
            upgraded(machine, world, folder)
            by_timer(machine, world)
            assert world.secret not in machine.log(), "a secret is in the log"
            removed(machine)
        except BaseException:
            print(machine.log()[-6000:], file=sys.stderr)
            raise


main()
