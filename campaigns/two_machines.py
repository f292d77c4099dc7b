"""Cut the link between two machines, or kill one of them, while torchrun trains on both, and compare every bit.

    python -m campaigns.two_machines --each 10 --seed 0

Two network namespaces stand for the machines; it needs root on Linux. The link is down for a while at a random moment,
or everything of the second machine is killed and its torchrun begun anew. torchrun starts the processes again, the run
goes on from its last save, and must end with the weights, optimizer state, metric log and logits of one process alone.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from .processes import EPOCHS, PATIENCE_S, SETTINGS, alone
from .small_training import MODEL, differences, fingerprint, in_child

FAULTS = ("link down", "machine killed")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29400
DOWN_S = 8.0  # twice scale.timeout_s
MEETING = "last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=4"


def main() -> None:
    """Run the trials and print the result as JSON; exit status 1 where any trial fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("two_machines needs root on Linux, for its network namespaces")
    with tempfile.TemporaryDirectory() as folder:
        result = run_campaign([fault for fault in FAULTS for _ in range(arguments.each)], arguments.seed, Path(folder))
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


def run_campaign(trials: list[str], seed: int, folder: Path) -> dict[str, Any]:
    """One run for each fault of `trials`; returns what failed, and how long it took until the run went on."""
    draw = random.Random(seed)
    in_child(partial(alone, folder / "reference"))
    reference = fingerprint(folder / "reference")
    failures: list[str] = []
    again_s: dict[str, list[float]] = {}
    for number, fault in enumerate(trials):
        run = folder / f"trial-{number}"
        network = Network(f"saccade{os.getpid()}")
        machines = [start_machine(network, which, run) for which in (0, 1)]
        try:
            wait_for_step(run, draw.randint(1, 12), machines)
            began_s, step = time.monotonic(), step_of(run)
            if fault == "link down":
                network.set_link("down")
                time.sleep(DOWN_S)
                network.set_link("up")
            else:
                network.kill(1)
                machines[1].wait()
                machines[1] = start_machine(network, 1, run)
            wait_for_step(run, max(step, step_of(run)) + 1, machines)
            again_s.setdefault(fault, []).append(round(time.monotonic() - began_s, 1))
            statuses = [machine.wait(PATIENCE_S) for machine in machines]
            if statuses != [0, 0]:
                failures.append(f"trial {number} ({fault}): torchrun ends with {statuses}; {said(run)}")
                continue
            failures += [f"trial {number} ({fault}): {text}" for text in differences(reference, fingerprint(run))]
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            failures.append(f"trial {number} ({fault}): {error}; {said(run)}")
        finally:
            network.close()
            for machine in machines:
                machine.wait()
        shutil.rmtree(run, ignore_errors=True)
    return {"trials": len(trials), "seed": seed, "seconds until it went on": again_s, "failures": failures}


class Network:
    """Two network namespaces with a link between them."""

    def __init__(self, name: str) -> None:
        self.names = (f"{name}a", f"{name}b")
        self.links = ("link0", "link1")
        for space in self.names:
            command("netns", "add", space)
        command("link", "add", "link0", "netns", self.names[0], "type", "veth", "peer", "link1", "netns", self.names[1])
        for space, link, address in zip(self.names, self.links, ADDRESSES, strict=True):
            command("-n", space, "addr", "add", f"{address}/24", "dev", link)
            command("-n", space, "link", "set", "lo", "up")
            command("-n", space, "link", "set", link, "up")

    def set_link(self, state: str) -> None:
        """`up` or `down`."""
        command("-n", self.names[0], "link", "set", self.links[0], state)

    def kill(self, which: int) -> None:
        """Everything that runs on one of the machines."""
        listed = subprocess.run(["ip", "netns", "pids", self.names[which]], capture_output=True, text=True, check=True)
        for pid in listed.stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        """End what runs there, and remove the machines."""
        for which, space in enumerate(self.names):
            self.kill(which)
            command("netns", "del", space)


def command(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def start_machine(network: Network, which: int, run: Path) -> subprocess.Popen[bytes]:
    """torchrun on one of the machines, for one process of the run."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["ip", "netns", "exec", network.names[which], sys.executable, "-m", "torch.distributed.run"]
    words += ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--monitor-interval", "0.2"]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}", "--rdzv-id", run.name]
    words += ["--rdzv-conf", f"{MEETING},is_host={int(which == 0)}", "--local-addr", ADDRESSES[which]]
    words += [
        "-m",
        "saccade",
        "train",
        "digits",
        "--model",
        MODEL,
        "--epochs",
        str(EPOCHS),
        "--out",
        str(run),
        *settings,
    ]
    environment = {
        **os.environ,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "GLOO_SOCKET_IFNAME": network.links[which],
        "OMP_NUM_THREADS": "1",
    }
    with open(run.with_suffix(f".{which}.log"), "ab") as log:
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log, env=environment)


def said(run: Path) -> str:
    """The end of what each machine has said."""
    texts = [run.with_suffix(f".{which}.log").read_text(encoding="utf-8")[-800:] for which in (0, 1)]
    return f"the machines said: {texts}"


def step_of(run: Path) -> int:
    """How many steps the checkpoint has that was saved last."""
    try:
        return int(json.loads((run / "checkpoint-last" / "manifest.json").read_bytes())["step"])
    except (OSError, ValueError):
        return 0


def wait_for_step(run: Path, step: int, machines: list[subprocess.Popen[bytes]]) -> None:
    """Until so many steps are saved, or a machine has ended."""
    end_s = time.monotonic() + PATIENCE_S
    while step_of(run) < step and all(machine.poll() is None for machine in machines):
        if time.monotonic() > end_s:
            raise TimeoutError(f"step {step} is not saved after {PATIENCE_S:.0f} s")
        time.sleep(0.01)


if __name__ == "__main__":
    main()
