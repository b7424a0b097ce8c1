"""Threads, pools and event loops run the functions that they are given."""

from __future__ import annotations

import pytest

from fsdp_migrate.analysis.values import Result
from support.values import check_model, probed

# Programs in which `probe` is an FSDP model.
MODELS = {
    "thread": """
        import threading
        def work(model):
            probe = model
            probe
        threading.Thread(target=work, args=(FSDP(Net()),)).start()
        """,
    "process with keywords": """
        import multiprocessing
        def work(model):
            probe = model
            probe
        multiprocessing.Process(target=work, kwargs={"model": FSDP(Net())}).start()
        """,
    "timer": """
        import threading
        def work(model):
            probe = model
            probe
        threading.Timer(1.0, work, [FSDP(Net())]).start()
        """,
    "submit": """
        from concurrent.futures import ThreadPoolExecutor
        def work(net):
            return FSDP(net)
        pool = ThreadPoolExecutor()
        probe = pool.submit(work, Net()).result()
        probe
        """,
    "map of a pool": """
        import multiprocessing
        def work(net):
            return FSDP(net)
        pool = multiprocessing.Pool(2)
        probe = pool.map(work, [Net()])[0]
        probe
        """,
    "asyncio.run": """
        import asyncio
        async def work(net):
            return FSDP(net)
        probe = asyncio.run(work(Net()))
        probe
        """,
    "gather": """
        import asyncio
        async def work(net):
            return FSDP(net)
        async def main():
            probe, _ = await asyncio.gather(work(Net()), asyncio.sleep(1))
            probe
        asyncio.run(main())
        """,
    "to_thread": """
        import asyncio
        def work(net):
            return FSDP(net)
        async def main():
            probe = await asyncio.to_thread(work, Net())
            probe
        asyncio.run(main())
        """,
    "spawn": """
        import torch.multiprocessing as mp
        def work(rank, model):
            probe = model
            probe
        mp.spawn(work, args=(FSDP(Net()),), nprocs=2)
        """,
}


@pytest.mark.parametrize("shape", MODELS)
def test_a_model_gets_there(shape: str) -> None:
    check_model(MODELS[shape])


def test_a_pool_that_is_none_of_pythons() -> None:
    text = "import somelib\nprobe = somelib.Pool().submit(len, [1])\nprobe"
    assert not any(isinstance(atom, Result) for atom in probed(text))


@pytest.mark.parametrize("queue", ["queue.Queue(1)", "queue.SimpleQueue()", "asyncio.Queue()"])
def test_what_is_put_into_a_queue_comes_out(queue: str) -> None:
    check_model(
        f"import asyncio, queue\nq = {queue}\nq.put_nowait(FSDP(Net()))\nprobe = q.get()\nprobe"
    )
