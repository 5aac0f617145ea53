"""Processes that share a training: torchrun starts them, and `fit` gives each its rows of every batch.

All of them begin from the same numbers and draw the same batches. Each takes the gradient on its own rows, and one
flattened all_reduce of what is trained adds them up: that is little, and a step may call the policy once for each part
of its examples, which DistributedDataParallel is not made for. The sum is the gradient of one process but for rounding.

The first process leads: it alone evaluates, writes and prints. The others wait for it however long that takes, by looks
into torchrun's store, and end each work with it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from skilltokens.methods.base import Training
from skilltokens.methods.examples import Examples, imitation
from skilltokens.methods.rule import shareable
from skilltokens.model.policy import Policy
from skilltokens.settings import TrainSettings
from skilltokens.tensors import fingerprint
from skilltokens.types import DistributedError, SettingError

JOINING, STEP = timedelta(minutes=2), timedelta(minutes=30)
"""The longest that processes wait for each other at their start, and within a training step."""
PATIENCE = 20.0
"""Seconds to wait for another process' word where something has ended already."""
PAUSE = 0.2
"""The most seconds between two looks."""
OTHERS_POLICY = "beside another make's policy one process learns: leave out torchrun"


class Left(BaseException):
    """In a process beside the first: this work is over for it. No handler of mistakes may take it for one."""


class Team:
    """This process among those that share a training.

    Args:
        store: where all of them write and read.
        rank: this one's number; 0 leads.
        size: how many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self._words = self._works = self._meetings = 0

    @property
    def leads(self) -> bool:
        return self.rank == 0

    # ---------------------------------------------------------------- words and works

    def tell(self, word: str) -> None:
        """The others hear a word."""
        self._words += 1
        self.store.set(f"word{self._words}", word)

    def hear(self) -> str | None:
        """The next word of the first process; None where it has ended.

        Raises:
            DistributedError: it is gone.
        """
        self._words += 1
        key = f"word{self._words}"
        _poll(lambda: self._said(key) is not None or self._said("over") is not None)
        return self._said(key)

    def end(self) -> None:
        """Ends with the others: the first process says that it is over, and waits a while until all have heard it."""
        with contextlib.suppress(RuntimeError):
            if self.leads:
                self.store.set("over", "")
                _poll(lambda: self.store.add("bye", 0) >= self.size - 1, PATIENCE)
            else:
                self.store.add("bye", 1)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Within it `fit` shares its batches. All processes must enter it.

        Raises:
            DistributedError: another process failed or is gone, or they cannot reach each other.
            Left: in a process beside the first, that one has ended this work.
        """
        global _at_work
        self._works += 1
        self._meetings = 0
        try:
            self.meet()
            self._connect()
            _at_work = self
            yield
        except Left:
            raise
        except BaseException as problem:
            if not self.leads:
                reason = str(problem) or type(problem).__name__
                self._set("fault", f"process {self.rank} of {self.size} failed: {reason}")
            raise
        finally:
            _at_work = None
            if self.leads:
                self._set("done", "")
            if dist.is_initialized():
                dist.destroy_process_group()  # it closes its connections: whoever waits for this process stops waiting

    def meet(self) -> None:
        """Waits until all processes are here, however long that takes. Raises as `at_work` does."""
        self._meetings += 1
        key = self._key(f"meeting{self._meetings}")
        try:
            self.store.add(key, 1)
            self._wait(lambda: self.store.add(key, 0) >= self.size)
        except RuntimeError as problem:
            raise _gone(problem) from problem

    # ---------------------------------------------------------------- what fit() asks for

    def check(self, train: TrainSettings) -> None:
        """Raises SettingError where these settings cannot be shared among so many processes."""
        if train.batch < self.size:
            raise SettingError(
                f"train.batch {train.batch} cannot be shared among {self.size} processes: raise it, or start fewer"
            )
        if train.device.startswith("cuda:"):
            raise SettingError(
                f"train.device {train.device} is one GPU for {self.size} processes: write cuda, and each takes the GPU "
                "of its own number"
            )
        if train.device == "cuda" and _local() >= torch.cuda.device_count():
            raise SettingError(
                f"there is no GPU for process {_local()} of this machine, which has {torch.cuda.device_count()}: start "
                "as many processes as there are GPUs"
            )

    def begin(self, training: Training, train: TrainSettings, about: Mapping[str, Any]) -> None:
        """Checks that the training can be shared, and that all processes begin it alike.

        Args:
            about: what else must be the same, as JSON can hold it.

        Raises:
            SettingError: it cannot, or they do not.
        """
        self.check(train)
        if training.loss is not None:
            raise SettingError(OTHERS_POLICY)
        if not shareable(training.rule):
            raise whole_batch(f"the rule {type(training.rule).__name__}")
        digests = [store.digest for lesson in training.lessons for store in lesson.stores]
        own = fingerprint(training.policy.state_dict(), {"demonstrations": digests, **about})
        begun = f"begun{self._meetings}"
        self._set(f"{begun}.{self.rank}", own)
        self.meet()
        for rank in range(self.size):
            if self._said(self._key(f"{begun}.{rank}")) != own:
                raise SettingError(
                    f"processes {rank} and {self.rank} begin this training from other numbers: give all machines the "
                    "same demonstrations, files and versions"
                )

    def loss(self, policy: Policy, learned: Examples, train: TrainSettings, draw: np.random.Generator) -> Tensor:
        """The loss on this process' rows, a scalar: its mean over the processes is `imitation` on all of them."""
        total, first = torch.zeros((), device=learned.words.device), 0
        for part in learned.split():
            own = part.rows(slice((self.rank - first) % self.size, None, self.size))
            first += len(part)
            if len(own):
                weight = own.mask.sum() / part.mask.sum()  # a loss is averaged over the steps that are no padding
                total = total + weight * imitation(policy, own, train, draw)
        return total * self.size / len(learned.parts)

    @torch.no_grad()
    def average(self, parameters: Sequence[torch.nn.Parameter], loss: Tensor) -> Tensor:
        """Makes each gradient its mean over the processes; returns that of the loss, a scalar."""
        has = loss.new_tensor([float(parameter.grad is not None) for parameter in parameters])
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([part.flatten() for part in (*parts, loss, has)])
        self._call(lambda: dist.all_reduce(flat))
        *means, mean, anywhere = flat.div_(self.size).split([*(part.numel() for part in parts), 1, len(has)])
        for parameter, part, somewhere in zip(parameters, means, anywhere.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if somewhere else None
        return mean.squeeze()

    @torch.no_grad()
    def finish(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """All processes have the first one's numbers: where processors differ, last bits may have drifted apart."""
        self.meet()
        if parameters:
            flat = torch.nn.utils.parameters_to_vector(parameters)
            self._call(lambda: dist.broadcast(flat, 0))
            parts = flat.split([parameter.numel() for parameter in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))
        self.meet()  # nobody closes its connections while another one still reads

    # ---------------------------------------------------------------- how

    def _connect(self) -> None:
        """Makes the group of processes that compute together: by NCCL on GPUs, by gloo on CPUs."""
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if _local() < gpus:
            torch.cuda.set_device(_local())  # from here on "cuda" is this one
        backend = "cpu:gloo,cuda:nccl" if gpus and dist.is_nccl_available() else "gloo"
        # First imported beside a group, its functions' defaults would hold that one, and keep its connections open.
        import_module("torch.distributed.nn")
        store = PrefixStore(f"group{self._works}", self.store)
        try:
            dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=STEP)
        except (RuntimeError, ValueError) as problem:
            raise _gone(problem) from problem

    def _call(self, collective: Callable[[], object]) -> None:
        """Does what all processes do together, or says why one of them does not."""
        try:
            collective()
            return
        except RuntimeError as problem:
            failure = _gone(problem)
        # Outside the handler: a traceback would hold the group, and its connections open for others who wait.
        self._wait(lambda: False, PATIENCE)
        raise failure

    def _wait(self, until: Callable[[], bool], patience: float = float("inf")) -> None:
        """Waits until something is so, for so many seconds at most, or until a process ends this work."""

        def so() -> bool:
            if until():
                return True
            ending = self._said(self._key("fault" if self.leads else "done"))
            if ending is None:
                return False
            if until():  # the first process came here too, and was done before this look
                return True
            raise DistributedError(ending) if self.leads else Left

        _poll(so, patience)

    def _key(self, name: str) -> str:
        return f"work{self._works}.{name}"

    def _set(self, name: str, value: str) -> None:
        with contextlib.suppress(RuntimeError):  # the store is gone: whoever reads it next says so
            self.store.set(self._key(name), value)

    def _said(self, key: str) -> str | None:
        """What stands in the store; None: nothing yet."""
        try:
            return self.store.get(key).decode() if self.store.check([key]) else None
        except RuntimeError as problem:
            raise _gone(problem) from problem


def join() -> Team:
    """This process among those that torchrun started: RANK of WORLD_SIZE, at MASTER_ADDR and MASTER_PORT.

    Raises:
        SettingError: the variables are not there, or the processes do not find each other.
    """
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if not 0 <= rank < size:
            raise ValueError(f"RANK {rank} is not below it")
        store, rank, size = next(rendezvous("env://", rank, size, timeout=JOINING))
    except (KeyError, ValueError, RuntimeError, OSError) as problem:
        reason = f"{problem.args[0]} is not set" if isinstance(problem, KeyError) else _line(problem)
        raise SettingError(
            f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, but no group of processes can be made ({reason}): start "
            "them by torchrun, or unset WORLD_SIZE"
        ) from problem
    return Team(PrefixStore("skilltokens", store), rank, size)


_at_work: Team | None = None


def current() -> Team | None:
    """The team that shares trainings now; None: this process learns alone."""
    return _at_work


def processes() -> int:
    """How many processes share a training that begins now."""
    return 1 if _at_work is None else _at_work.size


def follows() -> bool:
    """Whether another process leads: this one shares the trainings, and writes nothing."""
    return _at_work is not None and not _at_work.leads


def leave() -> None:
    """Ends the work of a process that follows, by `Left`: from here on it is the first one's alone."""
    if follows():
        raise Left


def whole_batch(owner: str) -> SettingError:
    """What refuses a training whose loss cannot be shared; `owner` is the method or the rule that it belongs to."""
    return SettingError(
        f"the loss of {owner} depends on the batch as a whole, which processes cannot share: leave out torchrun, or "
        "choose another method"
    )


def _local() -> int:
    """This process' number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def _poll(so: Callable[[], bool], patience: float = float("inf")) -> None:
    """Looks again and again whether something is so, for so many seconds at most."""
    pause, end = 0.001, time.monotonic() + patience
    while not so() and time.monotonic() < end:
        time.sleep(pause)
        pause = min(2 * pause, PAUSE)


def _gone(problem: Exception) -> DistributedError:
    return DistributedError(
        f"the processes lost each other ({_line(problem)}): see what else was said, and run the same command again; on "
        "several machines GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME name the network to use"
    )


def _line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]
