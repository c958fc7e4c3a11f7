"""A private Slurm with accounting: two nodes on this machine, two GPUs each that are none.

A GPU is to Slurm a character device that gres.conf names. Those made here are twins of /dev/null
under names that end in a number, which is what Slurm puts into CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from engines.accounting import DATABASE, ENGINE, MariaDB, Munge
from engines.processes import (
    HOST,
    Daemon,
    Missing,
    answers,
    environ,
    environment,
    free_port,
    kill,
    name_of,
    output,
    parent,
    pids,
    program,
    wait_until,
)

NODES = ("n1", "n2")
GPUS = 2  # of a node
PARTITION = "debug"
_DAEMONS = ("slurmctld", "slurmd", "slurmdbd")
_COMMANDS = ("sbatch", "squeue", "srun", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo")
_CONF = """\
ClusterName=maml
SlurmctldHost={name}({host})
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
# There are no cgroups to be had in a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdTimeout=120
KillWait=15
UnkillableStepTimeout=60
ReturnToService=2
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={host}
AccountingStoragePort={accounts}
AccountingStoragePass={munge}
AccountingStorageTRES=gres/gpu
{nodes}
PartitionName={partition} Nodes=ALL Default=YES MaxTime=60 State=UP
"""
_ACCOUNTS = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost={name}
DbdAddr={host}
DbdPort={accounts}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost={host}
StoragePort={port}
StorageUser=slurm
StoragePass={password}
StorageLoc={database}
"""


class Slurm:
    """slurmctld, slurmdbd and a slurmd a node, each on a free loopback port.

    Used as a context manager, which also sets SLURM_CONF for this process and its children, so
    that sbatch and the others find it.

    Attributes:
      folder: of configuration, logs and state.
    """

    def __init__(self) -> None:
        """Starts nothing yet.

        Raises:
          Missing: it cannot run here.
        """
        self._paths = {name: program(ENGINE, name) for name in (*_DAEMONS, *_COMMANDS)}
        if not any(Path("/usr/lib").glob("*/slurm-wlm/accounting_storage_mysql.so")):
            raise Missing(f"{ENGINE}: slurm-wlm-mysql-plugin is not installed")
        if os.getuid() != 0:
            raise Missing(f"{ENGINE}: its nodes need root, who alone makes devices")
        self.munge = Munge()
        self.database = MariaDB()
        self._ports = {name: free_port() for name in ("controller", "accounts", *NODES)}
        self._daemons: dict[str, Daemon] = {}

    def __enter__(self) -> Slurm:
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="maml-slurm-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.folder.chmod(0o755)
            stack.enter_context(environ(SLURM_CONF=str(self.folder / "slurm.conf")))
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def command(self, name: str, *arguments: str) -> str:
        """What one of Slurm's commands prints.

        Raises:
          RuntimeError: it failed.
        """
        return output([self._paths[name], *arguments])

    def jobs(self) -> list[str]:
        """Ids of the jobs that run or wait, `array_task` for those of an array."""
        return self.command("squeue", "--noheader", "--array", "--format=%i").split()

    def running(self) -> list[str]:
        """Ids of the jobs that run."""
        shown = self.command("squeue", "--noheader", "--array", "--states=R", "--format=%i")
        return shown.split()

    def node_of(self, job: str) -> str:
        """The node that a job runs on."""
        return self.command("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()

    def cancel(self, job: str, number: str | None = None) -> None:
        """Cancels a job, or sends a signal to its steps."""
        how = [] if number is None else [f"--signal={number}"]
        self.command("scancel", *how, job)

    def hasten(self) -> None:
        """Lets jobs that were queued again start at once: by itself Slurm waits two minutes."""
        waiting = self.command("squeue", "--noheader", "--array", "--states=PD", "--format=%i")
        for job in waiting.split():
            self.command("scontrol", "update", f"jobid={job}", "starttime=now")

    def kill_node(self, node: str) -> None:
        """The node dies: its slurmd, and every process of every job on it, by SIGKILL."""
        self._daemons.pop(node).kill()
        self._kill_jobs(node)
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=killed")

    def start_node(self, node: str) -> None:
        """Starts a node and waits until it takes jobs."""
        log = self.folder / f"slurmd-{node}.log"
        daemon = Daemon([self._paths["slurmd"], "-D", "-N", node], log)
        self._daemons[node] = daemon
        daemon.wait_until(lambda: answers(self._ports[node]))
        state = ["sinfo", "--noheader", f"--nodes={node}", "--format=%T"]
        if "down" in self.command(*state):
            self.command("scontrol", "update", f"nodename={node}", "state=resume")
        wait_until(lambda: self.command(*state).strip() in {"idle", "mixed"}, f"{node} is idle")

    def _kill_jobs(self, node: str) -> None:
        """SIGKILL for what runs for jobs on a node; their keepers first: they would tell of it."""
        ours = {f"SLURM_CONF={self.folder / 'slurm.conf'}", f"SLURMD_NODENAME={node}"}
        found = [pid for pid in pids() if ours <= environment(pid)]
        keepers = {pid for pid in map(parent, found) if name_of(pid) == "slurmstepd"}
        for pid in (*keepers, *found):
            kill(pid)

    def _start(self, stack: ExitStack) -> None:
        """Starts one after another, and notes how each is stopped."""
        self.munge.start(self.folder / "munge")
        stack.callback(self.munge.stop)
        self.database.start(self.folder / "mariadb")
        stack.callback(self.database.stop)
        self._configure()
        stack.callback(self._stop_daemons)
        self._start_daemon("slurmdbd", "accounts")
        self.command("sacctmgr", "--immediate", "add", "cluster", "maml")
        self._start_daemon("slurmctld", "controller", "-c")
        for node in NODES:
            self.start_node(node)

    def _start_daemon(self, name: str, port: str, *options: str) -> None:
        command = [self._paths[name], "-D", *options]
        self._daemons[name] = daemon = Daemon(command, self.folder / f"{name}.log")
        daemon.wait_until(lambda: answers(self._ports[port]))

    def _stop_daemons(self) -> None:
        for daemon in reversed(self._daemons.values()):
            daemon.stop()
        for node in NODES:  # jobs outlive the daemons, and their keepers want to tell these
            self._kill_jobs(node)
        ours = f"SLURM_CONF={self.folder / 'slurm.conf'}"
        for pid in pids():
            if name_of(pid) == "slurmstepd" and ours in environment(pid):
                kill(pid)

    def _configure(self) -> None:
        """Writes the configuration and makes the devices."""
        values = {
            **self._ports,
            "folder": self.folder,
            "host": HOST,
            "name": socket.gethostname().split(".")[0],
            "munge": self.munge.socket,
            "partition": PARTITION,
            "port": self.database.port,
            "password": self.database.password,
            "database": DATABASE,
            "nodes": "\n".join(self._node(node) for node in NODES),
        }
        (self.folder / "state").mkdir()
        (self.folder / "slurm.conf").write_text(_CONF.format(**values))
        accounts = self.folder / "slurmdbd.conf"
        accounts.write_text(_ACCOUNTS.format(**values))
        accounts.chmod(0o600)
        lines = [f"NodeName={n} Name=gpu File={d}" for n in NODES for d in self._devices(n)]
        (self.folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *lines, ""]))

    def _node(self, node: str) -> str:
        host = socket.gethostname().split(".")[0]
        return (
            f"NodeName={node} NodeHostname={host} NodeAddr={HOST} Port={self._ports[node]} "
            f"CPUs=2 RealMemory=8000 Gres=gpu:{GPUS} State=UNKNOWN"
        )

    def _devices(self, node: str) -> list[Path]:
        """The node's GPUs."""
        folder = self.folder / f"dev-{node}"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"gpu{index}" for index in range(GPUS)]
        for path in paths:
            if not path.exists():
                os.mknod(path, stat.S_IFCHR | 0o666, Path("/dev/null").stat().st_rdev)
        return paths
