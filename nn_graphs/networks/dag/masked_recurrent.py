"""Elman, GRU and LSTM layers some of whose weights do not exist.

They are torch's own layers, with the same parameters, names and options, and compute the same where
nothing is masked, in the same fused operations. Each weight has a boolean mask beside it, a buffer
`mask_<name of the weight>`; masked weights are zero and stay zero, as in `masked`.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import _VF, Tensor, nn

from nn_graphs.errors import NNGraphsError, check_known

State = Tensor | tuple[Tensor, Tensor]


class MaskedRecurrent(nn.Module):
    """What masked recurrent layers share; see `MaskedRNN`, `MaskedGRU` and `MaskedLSTM`."""

    def set_mask(self, name: str, mask: Tensor) -> None:
        """Takes a new mask of one weight and sets what it hides to zero.

        Args:
            name: of the weight, e.g. "weight_hh_l0".
            mask: of the weight's shape, `[gates * hidden, in]`, or `[hidden, in]` for all gates.

        Raises:
            NNGraphsError: there is no such weight, or the mask has another shape or is not boolean.
        """
        check_known(name, self.weight_names, asked=f"mask the weight {name!r}")
        weight = getattr(self, name)
        gates = self.num_gates if weight.shape[0] % self.num_gates == 0 else 1
        shapes = {tuple(weight.shape), (weight.shape[0] // gates, weight.shape[1])}
        if mask.dtype != torch.bool or tuple(mask.shape) not in shapes:
            raise NNGraphsError(
                f"mask the weight {name} of the shape {list(weight.shape)}",
                found=f"the mask is {list(mask.shape)}, of {mask.dtype}.",
                do="Give a boolean tensor of that shape, or one for all gates.",
            )
        mask = mask.to(weight.device).repeat(weight.shape[0] // mask.shape[0], 1)
        self.register_buffer(f"mask_{name}", mask)
        self.apply_mask()

    def get_mask(self, name: str) -> Tensor:
        """Which values of a weight exist, of the weight's own shape."""
        return getattr(self, f"mask_{name}")

    @property
    def weight_names(self) -> list[str]:
        """Names of all weights, biases left out."""
        return [name for name in self._flat_weights_names if name.startswith("weight")]

    @property
    def num_gates(self) -> int:
        """How many weights lie one behind the other in one matrix."""
        return GATES[self.mode]

    @property
    def density(self) -> float:
        """Share of the weights that exist."""
        masks = [self.get_mask(name) for name in self.weight_names]
        return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    @torch.no_grad()
    def apply_mask(self) -> None:
        """Sets masked weights to zero, e.g. after new initial values."""
        for name in self.weight_names:
            getattr(self, name).mul_(self.get_mask(name))

    def reset_parameters(self) -> None:
        """Torch's own initial values where the masks are."""
        super().reset_parameters()
        if hasattr(self, "mask_weight_ih_l0"):  # not yet while the layer is being made
            self.apply_mask()

    def forward(self, inputs: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Outputs of all steps, and the last state, as torch's layer gives them.

        Args:
            inputs: `[steps, B, in]`, with `batch_first` `[B, steps, in]`, or `[steps, in]`.
            hx: the state before the first step; zeros where None.

        Raises:
            NNGraphsError: the inputs are packed, or of another shape.
        """
        is_single = isinstance(inputs, Tensor) and inputs.dim() == 2
        if not isinstance(inputs, Tensor) or inputs.dim() not in (2, 3):
            found = f"of {inputs.dim()} axes" if isinstance(inputs, Tensor) else "no tensor"
            raise NNGraphsError(
                f"run a {type(self).__name__}",
                found=f"the inputs are {found}.",
                do="Give one tensor of two or three axes; sequences are not packed here.",
            )
        axis = 0 if self.batch_first else 1
        values = inputs.unsqueeze(axis) if is_single else inputs
        states = (hx,) if isinstance(hx, Tensor) else hx
        if states is None:
            states = self._zeros(values, values.shape[axis])
        elif is_single:
            states = tuple(state.unsqueeze(1) for state in states)
        outputs, *ends = self._run(values, states)
        if is_single:
            outputs, ends = outputs.squeeze(axis), [end.squeeze(1) for end in ends]
        return outputs, tuple(ends) if len(ends) > 1 else ends[0]

    def _run(self, values: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The fused operation."""
        is_lstm = self.mode == "LSTM"
        return OPERATIONS[self.mode](
            values,
            list(states) if is_lstm else states[0],
            list(self._masked_weights()),
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )

    def _masked_weights(self) -> Iterator[Tensor]:
        for name in self._flat_weights_names:
            value = getattr(self, name)
            yield value * self.get_mask(name) if name.startswith("weight") else value

    def _zeros(self, values: Tensor, batch: int) -> tuple[Tensor, ...]:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        widths = [self.proj_size or self.hidden_size]
        if self.mode == "LSTM":
            widths.append(self.hidden_size)
        return tuple(
            torch.zeros(rows, batch, width, dtype=values.dtype, device=values.device)
            for width in widths
        )

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.apply_mask()

    def _init_masks(self) -> None:
        for name in self.weight_names:
            mask = torch.ones_like(getattr(self, name), dtype=torch.bool)
            self.register_buffer(f"mask_{name}", mask)


GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}
OPERATIONS = {
    "RNN_TANH": _VF.rnn_tanh,
    "RNN_RELU": _VF.rnn_relu,
    "GRU": _VF.gru,
    "LSTM": _VF.lstm,
}


class MaskedRNN(MaskedRecurrent, nn.RNN):
    """`nn.RNN` with masks; takes the same arguments."""

    def __init__(self, *args, **kwargs):
        nn.RNN.__init__(self, *args, **kwargs)
        self._init_masks()


class MaskedGRU(MaskedRecurrent, nn.GRU):
    """`nn.GRU` with masks; takes the same arguments."""

    def __init__(self, *args, **kwargs):
        nn.GRU.__init__(self, *args, **kwargs)
        self._init_masks()


class MaskedLSTM(MaskedRecurrent, nn.LSTM):
    """`nn.LSTM` with masks; takes the same arguments."""

    def __init__(self, *args, **kwargs):
        nn.LSTM.__init__(self, *args, **kwargs)
        self._init_masks()


LAYERS = {"rnn": MaskedRNN, "gru": MaskedGRU, "lstm": MaskedLSTM}


class MaskedDeepRNN(nn.Module):
    """Masked recurrent layers of any widths, one upon the other.

    Args:
        input_size: of each step.
        hidden_widths: of the layers.
        kind: "rnn", "gru" or "lstm".
        batch_first: whether inputs are `[B, steps, in]`, else `[steps, B, in]`.

    Raises:
        NNGraphsError: there is no such kind, or no layer.
    """

    def __init__(
        self,
        input_size: int,
        hidden_widths: Sequence[int],
        *,
        kind: str = "lstm",
        batch_first: bool = False,
    ):
        super().__init__()
        check_known(kind, LAYERS, asked=f"make a recurrent network of {kind!r} layers")
        if not hidden_widths:
            raise NNGraphsError(
                f"make a recurrent network of {kind!r} layers",
                found="there are no widths.",
                do="Give the width of one layer at least.",
            )
        self.batch_first = batch_first
        widths = zip([input_size, *hidden_widths], hidden_widths, strict=False)
        self.layers = nn.ModuleList(
            LAYERS[kind](before, width, batch_first=batch_first) for before, width in widths
        )

    def forward(self, inputs: Float[Tensor, "_ _ in"]) -> Float[Tensor, "B out"]:
        """The last layer's output at the last step."""
        values = inputs
        for layer in self.layers:
            values, _ = layer(values)
        return values[:, -1] if self.batch_first else values[-1]
