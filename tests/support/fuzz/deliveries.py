"""The ways on which a model comes to the function that trains it."""

from __future__ import annotations

from support.fuzz.piece import Piece

# How the model comes to `train(model, optimizer)`.
DELIVERIES = {
    "direct": Piece("train(model, optimizer)"),
    "keyword": Piece('train(**{"model": model, "optimizer": optimizer})'),
    "star": Piece("both = (model, optimizer)\ntrain(*both)"),
    "dict": Piece('state = {"model": model}\ntrain(state["model"], optimizer)'),
    "namespace": Piece("state = types.SimpleNamespace(model=model)\ntrain(state.model, optimizer)"),
    "dataclass": Piece(
        "job = Holder(model)\ntrain(job.model, optimizer)",
        top="@dataclasses.dataclass\nclass Holder:\n    model: nn.Module",
    ),
    "named tuple": Piece(
        "pair = Pair(model, optimizer)\ntrain(pair.model, pair.optimizer)",
        top='Pair = collections.namedtuple("Pair", ["model", "optimizer"])',
    ),
    "next": Piece("train(next(iter([model])), optimizer)"),
    "map": Piece("[same] = map(lambda m: m, [model])\ntrain(same, optimizer)"),
    "max": Piece("train(max([model], key=id), optimizer)"),
    "reduce": Piece("train(functools.reduce(lambda a, b: a, [model]), optimizer)"),
    "generator": Piece(
        "for one in models_of(model):\n    train(one, optimizer)",
        top="def models_of(model):\n    yield model",
    ),
    "context manager": Piece(
        "with using(model) as one:\n    train(one, optimizer)",
        top="@contextlib.contextmanager\ndef using(model):\n    yield model",
    ),
    "registry": Piece(
        'RUNNERS["run"](model, optimizer)',
        top=(
            "RUNNERS = {}\n\n\ndef register(function):\n"
            '    RUNNERS["run"] = function\n    return function\n\n\n'
            "@register\ndef run(model, optimizer):\n    train(model, optimizer)"
        ),
    ),
    "decorator": Piece(
        "run(model, optimizer)",
        top=(
            "def logged(function):\n    @functools.wraps(function)\n"
            "    def inner(*args, **kwargs):\n        return function(*args, **kwargs)\n\n"
            "    return inner\n\n\n"
            "@logged\ndef run(model, optimizer):\n    train(model, optimizer)"
        ),
    ),
    "getattr": Piece(
        'state = types.SimpleNamespace()\nsetattr(state, "net", model)\n'
        'train(getattr(state, "net"), optimizer)'
    ),
    "vars": Piece('state = types.SimpleNamespace(net=model)\ntrain(vars(state)["net"], optimizer)'),
    "global": Piece(
        "global CURRENT\nCURRENT = model\nrun(optimizer)",
        top="CURRENT = None\n\n\ndef run(optimizer):\n    train(CURRENT, optimizer)",
    ),
    "nonlocal": Piece(
        "held = None\n\ndef put():\n    nonlocal held\n    held = model\n\nput()\n"
        "train(held, optimizer)"
    ),
    "closure": Piece("def run():\n    train(model, optimizer)\n\nrun()"),
    "walrus": Piece("if (one := model) is not None:\n    train(one, optimizer)"),
    "thread": Piece(
        "with concurrent.futures.ThreadPoolExecutor(1) as pool:\n"
        "    pool.submit(train, model, optimizer).result()"
    ),
    "queue": Piece("waiting = queue.Queue()\nwaiting.put(model)\ntrain(waiting.get(), optimizer)"),
    "asyncio": Piece(
        "asyncio.run(run(model, optimizer))",
        top="async def run(model, optimizer):\n    train(model, optimizer)",
    ),
    "partial": Piece("functools.partial(train, model)(optimizer)"),
    "property": Piece(
        "train(Owner(model).net, optimizer)",
        top=(
            "class Owner:\n    def __init__(self, net):\n        self._net = net\n\n"
            "    @property\n    def net(self):\n        return self._net"
        ),
    ),
    "delegate": Piece(
        "train(Owner(model).model, optimizer)",
        top=(
            "class Owner:\n    def __init__(self, model):\n"
            '        self.parts = {"model": model}\n\n'
            "    def __getattr__(self, name):\n"
            '        return self.__dict__["parts"][name]'
        ),
    ),
    "weak reference": Piece("train(weakref.ref(model)(), optimizer)"),
    "item getter": Piece("train(operator.itemgetter(0)([model]), optimizer)"),
    "chain": Piece("for one in itertools.chain([model]):\n    train(one, optimizer)"),
    "starred": Piece("first, *rest = [model, optimizer]\ntrain(first, *rest)"),
    "sorted": Piece("train(sorted([model], key=id)[0], optimizer)"),
    "default": Piece(
        "def run(optimizer, model=model):\n    train(model, optimizer)\n\nrun(optimizer)"
    ),
    "other file": Piece(
        "train(current(), optimizer)",
        before="",
        top="from shelf import current, keep",
        after="keep(model)",
        files={
            "shelf.py": (
                "_shelf = []\n\n\ndef keep(model):\n    _shelf.append(model)\n\n\n"
                "def current():\n    return _shelf[-1]\n"
            )
        },
    ),
    "keyword arguments": Piece("train(optimizer=optimizer, model=model)"),
    "class attribute": Piece(
        "Shelf.model = model\ntrain(Shelf.model, optimizer)",
        top="class Shelf:\n    model = None",
    ),
    "lambda": Piece("(lambda m: train(m, optimizer))(model)"),
    "context variable": Piece(
        "CURRENT_MODEL.set(model)\ntrain(CURRENT_MODEL.get(), optimizer)",
        top='CURRENT_MODEL = contextvars.ContextVar("model")',
    ),
    "zip": Piece("for one, other in zip([model], [optimizer]):\n    train(one, other)"),
    "dict items": Piece('for _, one in {"model": model}.items():\n    train(one, optimizer)'),
    "match": Piece("match model:\n    case one:\n        train(one, optimizer)"),
    "deque": Piece("waiting = collections.deque([model])\ntrain(waiting.popleft(), optimizer)"),
    "callable object": Piece(
        "Runner(model)(optimizer)",
        top=(
            "class Runner:\n    def __init__(self, model):\n        self.model = model\n\n"
            "    def __call__(self, optimizer):\n        train(self.model, optimizer)"
        ),
    ),
    "box": Piece(
        "train(Box(model)[0], optimizer)",
        top=(
            "class Box:\n    def __init__(self, *things):\n        self.things = things\n\n"
            "    def __getitem__(self, index):\n        return self.things[index]"
        ),
    ),
    "chain map": Piece(
        'state = collections.ChainMap({"model": model})\ntrain(state["model"], optimizer)'
    ),
    "default dict": Piece(
        'state = collections.defaultdict(list)\nstate["models"].append(model)\n'
        'train(state["models"][0], optimizer)'
    ),
    "cached": Piece(
        "train(made(lambda: model), optimizer)",
        top="@functools.cache\ndef made(make):\n    return make()",
    ),
    "exit stack": Piece(
        "with contextlib.ExitStack() as stack:\n"
        "    train(stack.enter_context(contextlib.nullcontext(model)), optimizer)"
    ),
    "typed tuple": Piece(
        "pair = Both(model, optimizer)\ntrain(pair.model, pair.optimizer)",
        top="class Both(typing.NamedTuple):\n    model: nn.Module\n    optimizer: object",
    ),
    "slots": Piece(
        "job = Slots(model, optimizer)\ntrain(job.model, job.optimizer)",
        top=(
            'class Slots:\n    __slots__ = ("model", "optimizer")\n\n'
            "    def __init__(self, *given):\n"
            "        for name, value in zip(self.__slots__, given):\n"
            "            setattr(self, name, value)"
        ),
    ),
}
