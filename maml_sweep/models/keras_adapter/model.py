"""`model=keras`: a functional Keras model, every lane with weights of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import lanes
from maml_sweep.models.base import Model, Parameter, Statistics
from maml_sweep.models.keras_adapter import starts
from maml_sweep.models.keras_adapter import target as functions
from maml_sweep.models.keras_adapter.library import keras
from maml_sweep.models.keras_adapter.moments import exact_moments
from maml_sweep.models.keras_adapter.reading import Net, Reader


class Keras(Model):
    """Whatever functional or Sequential model a function of the user's builds.

    Its trainable weights are the parameters, in the order of the model's `trainable_variables`
    (those of the head last), so that weights trained here go back into it one by one. If its last
    layer is a linear Dense, that is the head; a model that ends otherwise has none, and serves
    algorithms that adapt all of it.

    Layers that are known (`layers.HANDLERS`) run over lanes as the networks of this package do;
    those that have no weights to learn, with all lanes in one batch; any other, the user's own
    included, lane by lane (`generic`). Models with masks go lane by lane as a whole. Second
    derivatives are exact throughout, Keras's norms included (`moments`).

    Batch norms go by the batch at hand, as in MAML's own code; their moving averages, like all
    weights that are not trainable, are constants. Dropout, and whatever else Keras does in
    training alone, is off. Regularisers and constraints have no say.

    Args:
      input_shape: of one example.
      outputs: width of the model's output.
      target: package.module.function; called with `input_shape`, `outputs`, the `arguments`, and
        the task's `categories` if it takes them.
      arguments: further arguments of that function.
      categories: of the task.

    Raises:
      InputError: no such function; the rest is checked when the model is built (`load`).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        target: str = "",
        arguments: Mapping[str, Any] | None = None,
        categories: Sequence[int] = (),
    ) -> None:
        functions.check(target)
        self.target, self.arguments = target, dict(arguments or {})
        self.input_shape, self.outputs = tuple(input_shape), outputs
        self.categories = tuple(categories)
        self._nets: dict[str, Net] = {}
        self._parameters: list[Parameter] = []

    # -- reading the model ------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether the model has been built."""
        return bool(self._parameters)

    def load(self) -> None:
        """Builds the model, twice for what its weights start from; see `Model.load`."""
        if self.known:
            return
        reader, initializers = self._alone(self._built, "float32", 1)
        twin, _ = self._alone(self._built, "float32", 2)
        net = self._nets["float32"] = self._alone(_read, reader)
        self._parameters = _parameters(net, twin.model, initializers)

    def _alone(self, function: Any, *arguments: Any) -> Any:
        """Calls a function in a thread of its own.

        No graph or gradient tape is open there, and Keras numbers layers from the start: so names
        are the same in every process.
        """
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *arguments).result()

    def _built(self, dtype: str, seed: int) -> tuple[Reader, Mapping[int, Any]]:
        """Builds the model in a float type: it, and its weights' initialisers by `id`."""
        usual = keras.config.floatx()
        keras.config.set_floatx(dtype)
        try:
            with exact_moments(), starts.recorded() as initializers, starts.seeded(seed):
                reader = Reader(self.target, self._called())
                reader.check(self.input_shape, self.outputs, dtype)
                return reader, initializers
        finally:
            keras.config.set_floatx(usual)

    def _called(self) -> Any:
        own = {"input_shape": self.input_shape, "outputs": self.outputs}
        return functions.call(
            self.target, {**own, **self.arguments}, {"categories": self.categories}
        )

    def _net(self, dtype: Any) -> Net:
        """The model in a float type."""
        self.load()
        name = tf.as_dtype(dtype).name
        if name not in self._nets:
            reader, _ = self._alone(self._built, name, 1)
            self._nets[name] = self._alone(_read, reader)
        return self._nets[name]

    # -- what algorithms ask for ------------------------------------------------------------------

    @property
    def parameters(self) -> Sequence[Parameter]:
        """All of them; see `Model`."""
        self.load()
        return self._parameters

    @property
    def body(self) -> Sequence[Parameter]:
        """Those below the head.

        Raises:
          InputError: the model has no head.
        """
        return self.parameters[: len(self._headed().body)]

    @property
    def head(self) -> Sequence[Parameter]:
        """The kernel of the last Dense layer, and its bias if it has one; else as `body`."""
        return self.parameters[len(self._headed().body) :]

    @property
    def width(self) -> int:  # type: ignore[override]  # known once the model is built
        """Of what the head reads; else as `body`."""
        return self._headed().width

    def _headed(self) -> Net:
        net = self._net("float32")
        if not net.head:
            raise InputError(
                f"model.target={self.target}: the model does not end in a linear Dense layer, so "
                "it has no head for this algorithm; end it in one, or choose an algorithm that "
                "adapts the whole model, such as maml"
            )
        return net

    def features(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.features`."""
        self._headed()
        return self._net(x.dtype).run(params, x, statistics)

    def apply(
        self, params: Sequence[Any], x: Any, statistics: Statistics | None = None
    ) -> tuple[Any, Statistics]:
        """See `Model.apply`."""
        net = self._net(x.dtype)
        depth = len(net.body)
        y, found = net.run(params[:depth], x, statistics)
        return (lanes.dense(y, *params[depth:]) if net.head else y), found


def _read(reader: Reader) -> Net:
    with exact_moments():
        return reader.net()


def _parameters(net: Net, twin: Any, initializers: Mapping[int, Any]) -> list[Parameter]:
    """The parameters of a model that was built twice; `twin` is the second one."""
    ours = [*net.body, *net.head]
    places = {id(variable): place for place, variable in enumerate(net.model.trainable_variables)}
    theirs = [twin.trainable_variables[places[id(variable)]] for variable in ours]
    norms = {id(v) for norm in net.norms for v in (norm.gamma, norm.beta)}
    parameters = []
    for name, one, other in zip(names(ours), ours, theirs, strict=True):
        start = starts.start(one.numpy(), other.numpy(), initializers.get(id(one)))
        role: Any = "norm" if id(one) in norms else "weight"
        shape = tuple(one.shape)
        parameters.append(Parameter(name, shape, **start._asdict(), role=role))
    return parameters


def names(variables: Sequence[Any]) -> list[str]:
    """Keras's paths of weights (`conv2d/kernel`), with a slash each, and no two alike."""
    found: list[str] = []
    for variable in variables:
        path = variable.path if "/" in variable.path else f"variable/{variable.path}"
        count = sum(name == path or name.startswith(f"{path}:") for name in found)
        found.append(f"{path}:{count}" if count else path)
    return found
