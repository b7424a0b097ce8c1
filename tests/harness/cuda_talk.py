"""Says everything that training scripts say to CUDA and NCCL; a rehearsal has to understand it."""

import contextlib
import datetime
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.cuda.nvtx as nvtx
import torch.distributed as dist
import torch.nn as nn
from torch.cuda import max_memory_allocated, synchronize
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import ProcessGroupNCCL
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

OUT = sys.argv[1]
RANK = int(os.environ["RANK"])


def devices():
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 2
    assert torch.device(0) == torch.device("cuda", 0) == torch.device("cuda:0")
    for device in (0, "cuda", "cuda:1", torch.device("cuda"), torch.device(type="cuda", index=1)):
        assert torch.zeros(2, device=device).is_cuda
        assert torch.ones(2).to(device).is_cuda
        assert nn.Linear(2, 2).to(device).weight.is_cuda
        nn.Linear(2, 2, device=device)
        nn.Linear(2, 2, device="meta").to_empty(device=device)
        with torch.device(device):
            assert nn.Linear(2, 2).weight.is_cuda
    x = torch.arange(3.0)
    y = x.to("cuda", non_blocking=True).cpu()
    y += 1
    assert x[0] == 0, "a copy back from the GPU is a copy"
    x.cuda(0), x.cuda(device="cuda:1", non_blocking=True), x.to("cuda", torch.bfloat16)
    assert x.type(torch.cuda.HalfTensor).dtype == x.type("torch.cuda.HalfTensor").dtype
    torch.set_default_device("cuda:1")
    torch.zeros(1)
    torch.set_default_device("cpu")
    torch.set_default_device(None)
    with torch.device("meta"):
        empty = nn.Linear(2, 2)
    with contextlib.suppress(NotImplementedError):
        empty.to("cuda")
        raise AssertionError("meta tensors have nothing to move")


def current_device():
    torch.cuda.set_device(RANK)
    assert torch.cuda.current_device() == RANK
    with torch.cuda.device(1 - RANK):
        assert torch.cuda.current_device() == 1 - RANK
    assert torch.cuda.current_device() == RANK

    @torch.cuda.device(0)
    def on_the_first():
        return torch.cuda.current_device()

    assert on_the_first() == 0
    with contextlib.suppress(RuntimeError):
        torch.cuda.set_device(7)
        raise AssertionError("there are two devices")


def properties():
    known = torch.cuda.get_device_properties(torch.device("cuda"))
    assert known.total_memory > 0
    assert known.warp_size
    assert known.multi_processor_count
    assert torch.cuda.get_device_capability(device=0) >= (8, 0)
    torch.cuda.get_device_name(device=0), torch.cuda.get_arch_list(), torch.version.cuda.split(".")
    bf16 = torch.cuda.is_bf16_supported() and torch.cuda.nccl.version() >= (2, 10)
    assert bf16
    assert dist.is_nccl_available()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.preferred_linalg_library("cusolver")


def streams():
    side, main = torch.cuda.Stream(device=0, priority=-1), torch.cuda.current_stream()
    assert main == torch.cuda.default_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        assert torch.cuda.current_stream() == side
        x = torch.ones(2, device="cuda")
    x.record_stream(side)
    event = side.record_event()
    side.wait_event(event)
    event.synchronize()
    assert side.query()
    assert not side.is_capturing()
    torch.cuda.current_stream().wait_stream(side)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record(torch.cuda.current_stream())
    end.record()
    torch.cuda.synchronize(device=0)
    assert begin.elapsed_time(end) >= 0
    torch.Stream(device="cuda"), torch.Event(device="cuda", enable_timing=True).record()
    assert isinstance(torch.Stream(device="cuda"), torch.Stream)


def memory():
    for measure in (max_memory_allocated, torch.cuda.memory.memory_reserved):
        measure(), measure(0), measure(device=torch.device("cuda", 0))
    torch.cuda.memory_stats(device=0)["active"], torch.cuda.memory_summary(abbreviated=True)
    free, total = torch.cuda.mem_get_info(device="cuda")
    assert free <= total
    torch.cuda.reset_peak_memory_stats(), torch.cuda.memory.empty_cache(), synchronize()
    torch.cuda.memory._record_memory_history(max_entries=1000)
    torch.cuda.memory._dump_snapshot(OUT + "/memory.pickle")
    assert issubclass(torch.cuda.OutOfMemoryError, RuntimeError)
    assert torch.cuda.memory_allocated() > 0
    assert torch.cuda.max_memory_reserved() / 2**30 >= 1.0
    assert 0 < torch.cuda.max_memory_allocated() < total


def accelerator():
    device = torch.accelerator.current_accelerator()
    assert device.type == "cuda"
    assert torch.accelerator.device_count() == 2
    torch.accelerator.set_device_index(RANK)
    torch.zeros(2, device=device)
    torch.accelerator.memory_stats(), torch.accelerator.max_memory_allocated()
    torch.accelerator.reset_peak_memory_stats(), torch.accelerator.synchronize()
    with torch.accelerator.device_index(0):
        assert torch.accelerator.current_device_index() == 0
    assert torch.get_device_module() is torch.get_device_module("cuda") is torch.cuda
    assert torch.get_device_module("cpu") is torch.cpu


def random_numbers():
    torch.cuda.manual_seed(1), torch.cuda.manual_seed_all(1)
    state = torch.cuda.get_rng_state(device=0)
    torch.cuda.set_rng_state(state, device="cuda:0")
    torch.cuda.set_rng_state_all(torch.cuda.get_rng_state_all())
    generator = torch.Generator(device="cuda").manual_seed(1)
    assert isinstance(generator, torch.Generator)
    torch.rand(2, generator=generator, device="cuda")
    torch.cuda.default_generators[0].get_state()
    with torch.random.fork_rng(devices=[0]):
        torch.rand(1)


def precision():
    x = torch.ones(2, 2, device="cuda")
    assert not torch.is_autocast_enabled()
    assert torch.get_autocast_gpu_dtype() is torch.float16
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert torch.is_autocast_enabled()
        assert torch.is_autocast_enabled("cuda")
        assert torch.get_autocast_gpu_dtype() is torch.get_autocast_dtype("cuda") is torch.bfloat16
        assert (x @ x).dtype is torch.bfloat16
    with torch.cuda.amp.autocast():
        assert (x @ x).dtype is torch.float16
    torch.amp.GradScaler("cuda"), torch.cuda.amp.GradScaler(enabled=False)
    model = nn.Linear(2, 2).cuda()
    for options in ({"fused": True}, {"capturable": True}, {"foreach": True}):
        optimizer = torch.optim.AdamW(model.parameters(), **options)
        model(x).sum().backward()
        optimizer.step()


class Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x + torch.ones(2, device="cuda")

    @staticmethod
    def backward(ctx, grad):
        return grad * torch.full((2,), 2.0, device="cuda").cuda()


def backward():
    """Python that runs inside of `backward`."""

    def shifted(x):
        return Shift.apply(x) * torch.arange(2.0, device="cuda") + torch.zeros(2).cuda()

    for reentrant in (True, False):
        x = torch.ones(2, device="cuda", requires_grad=True)
        checkpoint(shifted, x, use_reentrant=reentrant).sum().backward()
        assert x.grad.tolist() == [0, 2]
    torch.autograd.grad(checkpoint(shifted, x, use_reentrant=False).sum(), x)
    layer = nn.Linear(2, 2).cuda()

    def after_reduction(p):
        p.grad += torch.ones(2, device="cuda")

    layer.weight.register_post_accumulate_grad_hook(after_reduction)
    layer(x).sum().backward()
    with torch.autograd.graph.save_on_cpu(pin_memory=True):
        layer(x).square().sum().backward()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.to("cpu"), lambda t: t.cuda()):
        layer(x).square().sum().backward()


def loading():
    data = [torch.ones(1)] * 4
    for loader in (
        DataLoader(data, batch_size=2, pin_memory=True, num_workers=1, pin_memory_device="cuda"),
        DataLoader(data, 2, False, None, None, 0, None, True),
    ):
        for batch in loader:
            batch.cuda(non_blocking=True)
    assert torch.zeros(2).pin_memory().is_pinned() is True
    torch.empty(2, pin_memory=True)
    path = f"{OUT}/{RANK}.pt"
    torch.save({"weight": torch.ones(2, device="cuda")}, path)
    places = ("cuda:0", torch.device("cuda", RANK), {"cuda:0": "cuda:1"}, lambda s, _: s.cuda(0))
    for place in places:
        torch.load(path, map_location=place)


def groups():
    assert dist.get_backend() == "nccl"
    options = dist.ProcessGroupNCCL.Options()
    options.is_high_priority_stream = True
    options.config.cga_cluster_size = 2
    assert not isinstance(dist.group.WORLD, ProcessGroupNCCL)
    minute = datetime.timedelta(minutes=1)
    nccl = dist.new_group([0, 1], timeout=minute, backend="nccl", pg_options=options)
    assert dist.get_backend(nccl) == "nccl"
    assert dist.get_backend(dist.new_group(backend="gloo")) == "gloo"
    dist.barrier(nccl, device_ids=[torch.cuda.current_device()])
    dist.broadcast_object_list([1], src=0, device=torch.device("cuda"))
    x = torch.ones(2, device="cuda") * RANK
    dist.all_reduce(x, op=dist.ReduceOp.AVG, async_op=True).wait()
    assert x.tolist() == [0.5, 0.5]
    mesh = init_device_mesh("cuda", (2,), mesh_dim_names=("dp",))
    assert mesh.size() == DeviceMesh("cuda", [0, 1]).size() == 2
    assert mesh["dp"].get_group() is not None


def names():
    """Types that programs and libraries name without a need for them."""

    def replay(graph: torch.cuda.CUDAGraph | None, pool: "torch.cuda.MemPool | None") -> None:
        assert not isinstance(graph, torch.cuda.CUDAGraph)

    replay(None, None)
    for name in ("CUDAGraph", "MemPool", "CUDAPluggableAllocator", "graph", "Stream", "Event"):
        kind = getattr(torch.cuda, name)
        assert isinstance(kind, type), name
        assert None | kind == kind | None
        assert not isinstance(3, kind)

    class Captured(torch.cuda.CUDAGraph):
        pass

    assert issubclass(Captured, torch.cuda.CUDAGraph)
    for refused in (Captured, torch.cuda.CUDAGraph, torch.cuda.graph_pool_handle):
        with contextlib.suppress(RuntimeError):
            refused()
            raise AssertionError("there are no CUDA graphs")
    seen: dict[torch.cuda.Stream, list[torch.cuda.Event]] = {}
    seen.setdefault(torch.cuda.current_stream(), []).append(torch.cuda.Event())


def together():
    x, y = (torch.full((2,), float(RANK), device="cuda") for _ in range(2))
    with dist._coalescing_manager(device=torch.device("cuda", RANK), async_ops=True) as work:
        dist.all_reduce(x)
        dist.all_reduce(y, op=dist.ReduceOp.MAX)
    work.wait()
    assert (x.tolist(), y.tolist()) == ([1, 1], [1, 1])
    with dist.distributed_c10d._coalescing_manager():
        dist.all_reduce(x)
    assert x.tolist() == [2, 2]
    other = torch.zeros(1, device="cuda")
    mine = torch.ones(1, device="cuda") * RANK
    pair = [dist.P2POp(dist.isend, mine, 1 - RANK), dist.P2POp(dist.irecv, other, 1 - RANK)]
    for request in dist.batch_isend_irecv(pair):
        request.wait()
    assert other.item() == 1 - RANK


def batch_norm():
    torch.manual_seed(0)
    everything = torch.randn(6, 3, 4, dtype=torch.float64).float()
    alone = nn.BatchNorm1d(3)
    norm = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(3)).cuda()
    mine = everything[RANK * 3 : RANK * 3 + 3].cuda().requires_grad_()
    whole = everything.clone().requires_grad_()
    got, wanted = norm(mine), alone(whole)
    torch.testing.assert_close(got, wanted[RANK * 3 : RANK * 3 + 3], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, alone.running_var, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_mean, alone.running_mean, rtol=1e-4, atol=1e-5)
    wanted.pow(3).sum().backward()
    got.pow(3).sum().backward()
    torch.testing.assert_close(mine.grad, whole.grad[RANK * 3 : RANK * 3 + 3], rtol=1e-3, atol=1e-4)
    norm.eval()(mine)


def lists():
    """An optimizer takes whole lists, as it does on a GPU."""
    called = []
    together = torch._foreach_addcdiv_
    torch._foreach_addcdiv_ = lambda *args: called.append(1) or together(*args)
    model = nn.Linear(2, 2).cuda()
    model(torch.ones(1, 2).cuda()).sum().backward()
    torch.optim.AdamW(model.parameters()).step()
    torch._foreach_addcdiv_ = together
    assert called


def threads():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.zeros, 1, device="cuda").result().is_cuda
    failed = []

    def work():
        try:
            torch.zeros(1, device="cuda")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


def tools():
    nvtx.range_push("step"), nvtx.range_pop(), nvtx.mark("here")
    with torch.cuda.nvtx.range("forward"):
        torch.cuda.cudart().cudaProfilerStart()
        torch.cuda.profiler.start(), torch.cuda.profiler.stop()

    @nvtx.range("function")
    def four():
        return 4

    assert four() == 4
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        torch.ones(2, device="cuda").sum()
        profile.step()
    compiled = torch.compile(nn.Linear(2, 2).cuda(), mode="max-autotune")
    compiled(torch.ones(1, 2, device="cuda"))


TALKS = (
    *(devices, current_device, properties, streams, memory, accelerator, random_numbers),
    *(precision, backward, loading, groups, threads, tools, names, together, batch_norm, lists),
)


def main():
    minute = datetime.timedelta(minutes=1)
    dist.init_process_group("nccl", timeout=minute, device_id=torch.device("cuda", RANK))
    for talk in TALKS:
        try:
            talk()
        except Exception as error:
            raise RuntimeError(f"{talk.__name__}: {error!r}") from error
    print("understood by", torch.cuda.get_device_name())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
