"""A pod without Kubernetes: a read-only root, a user without rights, and no files to write but those of its volumes.

Namespaces of Linux make it, so this needs root. The network is its own as well, without any other machine.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.infra.manifests import ROOT, Manifest, container
from tests.pipelines.processes import BIN

_PROGRAMS = ("unshare", "chroot", "setpriv", "ip")
_HOME = "/home/spanmill"

# Who is not root and gets no new privileges has no capabilities, so the bounding set, which wants CAP_SETPCAP, stays.
_SET_UP = """
set -eu
mount --make-rprivate /
ip link set lo up
# An address of its own, by which Ray calls the node, and a way to nowhere.
ip address add 10.0.0.2/32 dev lo
ip route add default dev lo src 10.0.0.2
mount -t tmpfs tmpfs "$ROOM"
mkdir "$ROOM/upper" "$ROOM/work" "$ROOM/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$ROOM/upper,workdir=$ROOM/work" "$ROOM/root"
cd "$ROOM/root"
mkdir -p ".$HOME_OF_USER"
for folder in $WRITE; do
    mkdir -p ".$folder"
    mount -t tmpfs -o "mode=0770,uid=0,gid=$USER_ID" tmpfs ".$folder"
done
# After the volumes, which would hide what lies below /tmp.
for folder in $READ; do
    mkdir -p ".$folder"
    mount --rbind "$folder" ".$folder"
    mount -o remount,bind,ro ".$folder"
    parent=".$folder"
    while [ "$parent" != . ]; do
        parent=$(dirname "$parent")
        chmod a+rx "$parent" 2>/dev/null || true  # what is read-only already is ours to leave
    done
done
for pair in $FILES; do
    mkdir -p ".${pair#*:}"
    mount --bind "${pair%%:*}" ".${pair#*:}"
    mount -o remount,bind,ro ".${pair#*:}"
done
mount -t proc proc ./proc
mount --rbind /sys ./sys
mount --rbind /dev ./dev
mount -t tmpfs -o mode=1777 tmpfs ./dev/shm
mount -o remount,ro "$ROOM/root"
# No exec: this shell is the first process of its namespace, so when it ends, all others end.
chroot "$ROOM/root" \\
    setpriv --reuid="$USER_ID" --regid="$USER_ID" --clear-groups --no-new-privs \\
    env --ignore-environment $VARIABLES /bin/bash -c "cd; $COMMAND"
"""


@dataclass(frozen=True)
class Pod:
    """A pod as a template describes it: its user, what it may write, its variables."""

    template: Manifest
    configs: Mapping[str, Path] = field(default_factory=dict)
    """Folders that ConfigMaps would be: where they are mounted, and where their files are here."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that Secrets would give."""

    def run(self, command: str, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
        """Runs a command of bash in a new pod, and gives what it printed.

        Args:
            folder: an empty one, below which the pod's root is made.
        """
        security = self.template["spec"]["securityContext"]
        one = container(self.template)
        variables = {variable["name"]: variable["value"] for variable in one.get("env", ()) if "value" in variable}
        programs = BIN.resolve()
        variables |= {"PATH": f"{programs}:/usr/bin:/bin", "HOME": _HOME, "PYTHONPATH": str(ROOT)} | dict(self.secrets)
        written = [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")]
        env = {
            "PATH": os.environ["PATH"],
            "ROOM": str(folder),
            "READ": " ".join(sorted({str(ROOT), str(programs.parent), sys.base_prefix})),
            "WRITE": " ".join(written),
            "FILES": " ".join(f"{source}:{target}" for target, source in self.configs.items()),
            "USER_ID": str(security["runAsUser"]),
            "HOME_OF_USER": _HOME,
            "VARIABLES": " ".join(f"{name}={value}" for name, value in variables.items()),
            "COMMAND": command,
        }
        words = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", _SET_UP)
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=seconds)


def needs_namespaces() -> None:
    """Skips the test where no pod can be made."""
    if os.geteuid() != 0:
        pytest.skip("only root may make the namespaces of a pod")
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)}, which make the namespaces of a pod, are not installed")
    if subprocess.run(("unshare", "--mount", "--net", "--pid", "--fork", "true"), capture_output=True).returncode:
        pytest.skip("this machine lets nobody make the namespaces of a pod")
