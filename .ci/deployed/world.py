"""A mongod, a provider and podman: what package and image run against."""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import bson.json_util
import pymongo

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
BUILT = TARGET / "debug" / "evergrant"
# Of this machine, as all of 127.0.0.0/8.
DNS = "127.83.79.1"
DEBIAN = "docker.io/library/debian:bookworm-slim"


BEGAN = time.monotonic()


def step(text):
    print(f"  {time.monotonic() - BEGAN:4.0f} s  {text}", flush=True)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(what, found, seconds=60):
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            if answer := found():
                return answer
        except (OSError, urllib.error.URLError, pymongo.errors.PyMongoError) as error:
            last = error
        time.sleep(0.05)
    sys.exit(f"{what}: not within {seconds} s {last or ''}")


def run(*command, codes=(0,), **options):
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    if ended.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended


class Podman:
    """Podman and buildah, with settings and images of their own in `folder`."""

    def __init__(self, folder):
        # It may set no limit above those of its caller, and makes no group of systemd's.
        files = {
            "CONTAINERS_CONF": '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=1000:1000"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n',
            "CONTAINERS_STORAGE_CONF": f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n',
            "CONTAINERS_REGISTRIES_CONF": 'unqualified-search-registries = ["docker.io"]\n',
        }
        # Podman notes beside its images where they are. In a folder that was copied or moved they are made anew.
        place = folder / "place"
        if not place.exists() or place.read_text() != str(folder):
            for name in ("storage", "run"):
                shutil.rmtree(folder / name, ignore_errors=True)
            place.write_text(str(folder))
        self.environment = dict(os.environ)
        for variable, text in files.items():
            path = folder / variable.lower().replace("_conf", ".conf")
            path.write_text(text)
            self.environment[variable] = str(path)
        if self("image", "exists", DEBIAN, codes=(0, 1)).returncode:
            self("import", folder / "debian.tar", DEBIAN)

    def __call__(self, *arguments, codes=(0,), **options):
        return run("podman", *arguments, codes=codes, env=self.environment, **options)

    def build(self, *arguments):
        # Docker's own format: the other one knows no HEALTHCHECK.
        how = ["--format", "docker", "--isolation", "chroot", "--pull-never", "--network", "host"]
        return run("buildah", "bud", *how, *arguments, env=self.environment)


class World:
    """A mongod and a provider on this machine, and the documents of their users."""

    def __init__(self, folder):
        self.folder, self.processes = folder, {}
        # What `cargo test` has built, without what a debugger reads.
        self.evergrant = folder / "evergrant"
        run("strip", "-o", self.evergrant, BUILT)
        self.mongo_port, self.sandbox = free_port(), f"127.0.0.1:{free_port()}"
        # Of this run alone, so that it can be searched for in logs.
        self.secret = f"secret-{secrets.token_hex(8)}"
        self.start_mongod()
        options = ["--users", "0", "--client-secret", self.secret, "--grace", "60s", "--latency", "100ms"]
        self.start("sandbox", self.evergrant, "sandbox", "--listen", self.sandbox, *options)
        until("the sandbox", lambda: self.ask("/ledger") or True)
        client = pymongo.MongoClient("127.0.0.1", self.mongo_port, serverSelectionTimeoutMS=1000)
        self.tokens = client["app"]["tokens"]

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def start_mongod(self):
        mongod = shutil.which("mongod") or next(map(str, (TARGET / "tmp").glob("mongod-*")))
        (self.folder / "db").mkdir(exist_ok=True)
        self.start("mongod", mongod, "--dbpath", self.folder / "db", "--port", str(self.mongo_port), "--bind_ip", "127.0.0.1", "--quiet")

    def start_dns(self):
        """A server that knows `mongodb+srv://app.evergrant.test`, and answers at `DNS`."""
        records = ["--address=/db.evergrant.test/127.0.0.1", f"--srv-host=_mongodb._tcp.app.evergrant.test,db.evergrant.test,{self.mongo_port}"]
        records += ["--txt-record=app.evergrant.test,authSource=admin", "--local=/evergrant.test/"]
        where = [f"--listen-address={DNS}", "--bind-interfaces", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
        self.start("dnsmasq", "dnsmasq", "--keep-in-foreground", "--user=root", "--pid-file=", *where, *records)

    def kill_mongod(self):
        self.processes["mongod"].kill()
        self.processes["mongod"].wait()

    def get(self, url, data=None):
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
            return answer.read().decode()

    def ask(self, path, data=None):
        return self.get(f"http://{self.sandbox}{path}", data)

    def ledger(self):
        return json.loads(self.ask("/ledger"))

    def log_in(self, users):
        """Makes new users, whose tokens are due."""
        lines = self.ask(f"/users?count={users}", b"").splitlines()
        until("documents", lambda: self.tokens.insert_many([bson.json_util.loads(line) for line in lines]))

    def due(self):
        """The number of users who were never refreshed."""
        return self.tokens.count_documents({"evergrant.refreshed_at": {"$exists": False}})

    def assert_kept(self):
        """Each document holds the newest token of its user, and no spent token was sent outside the provider's grace. Returns the number
        of users."""
        documents = [bson.json_util.dumps(document) for document in self.tokens.find()]
        audit, ledger = json.loads(self.ask("/ledger/audit", "\n".join(documents).encode())), self.ledger()
        if audit["kept"] != len(documents) or ledger["reuses"] != ledger["reuses_in_grace"]:
            sys.exit(f"of {len(documents)} logins these are kept: {audit}, {ledger}")
        return len(documents)

    def settings(self, **more):
        lines = {
            "provider": "generic",
            "token_url": f"http://{self.sandbox.replace('127.0.0.1', 'localhost')}/token",
            "client_id": "sandbox-client",
            "rotation": "grace",
            "grace": "60s",
            "refresh_token_lifetime": "14d",
            "rate": "20/s",
            "store.database": "app",
            "schedule": "* * * * * *",
            **more,
        }
        return "".join(f'{key} = "{value}"\n' for key, value in lines.items())

    def store_url(self):
        return f"mongodb://localhost:{self.mongo_port}/?serverSelectionTimeoutMS=2000"

    def end(self):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


