"""Optimizers by name: which rule steps which parameters, weight decay where it belongs, state as named tensors."""

from collections.abc import Iterable

import torch
from torch import nn

from ..models.surgery import parts_of_parameters
from .config import OptimizerConfig
from .update_rules import Adam, GradientDescent, Muon, RootMeanSquare, Rule, Slots


class ParameterGroup:
    """Parameters that are stepped alike. `rate` is the learning rate now, `peak_rate` what the schedule scales."""

    def __init__(self, parameters: list[nn.Parameter], rule: Rule, peak_rate: float, weight_decay: float) -> None:
        self.parameters = parameters
        self.rule = rule
        self.peak_rate = self.rate = peak_rate
        self.weight_decay = weight_decay
        self.slots: list[dict[str, torch.Tensor]] = [self._fresh(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step at `factor` times the peak rate; parameters without a gradient stay."""
        self.rate = factor * self.peak_rate
        moved = [(p, p.grad, slots) for p, slots in zip(self.parameters, self.slots, strict=True) if p.grad is not None]
        if moved:
            slots: Slots = {name: [own[name] for _, _, own in moved] for name in self.rule.slots}
            parameters: list[torch.Tensor] = [parameter for parameter, _, _ in moved]
            self.rule.step(parameters, [grad for _, grad, _ in moved], slots, self.rate, self.weight_decay)

    def forget_gradients(self) -> None:
        """As if no backward pass had been."""
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """All state, named `<parameter's number>.<slot>`."""
        return {f"{index}.{name}": slots[name] for index, slots in enumerate(self.slots) for name in slots}

    @torch.no_grad()
    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave, in the memory layout of each parameter, which fused kernels rely on.

        Raises KeyError or RuntimeError where it does not fit."""
        for name, own in self.tensors().items():
            if own.shape != tensors[name].shape:
                raise RuntimeError(f"{name} has the shape {tuple(tensors[name].shape)}, not {tuple(own.shape)}")
            own.copy_(tensors[name])

    def _fresh(self, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
        scalar = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return {
            name: scalar.clone() if name == "step" else torch.zeros_like(parameter, requires_grad=False)
            for name in self.rule.slots
        }


def build_optimizers(
    model: nn.Module,
    config: OptimizerConfig,
    precision: torch.dtype = torch.float32,
    parts: Iterable[nn.Module] | None = None,
) -> list[ParameterGroup]:
    """The groups of `model`'s trainable parameters. `precision` is that of the machine's fast matrix products.

    Biases and normalisation, one number a channel in whatever shape, are not decayed. The head's matrix, which maps
    to the classes, is not Muon's (Jordan et al. 2024, github.com/KellerJordan/Muon). With a `layer_rate_factor` below 1
    each part of the network has its own rate (Howard and Ruder 2018, arXiv:1801.06146, section 3.2); what is in none,
    such as GoogLeNet's side branches, has that of the last layer. `parts` are these in order of computation; by default
    the stem, the stages and what follows them.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if config.layer_rate_factor == 1:
        return _groups(named, config, precision)
    if parts is None:
        lists = [parameters for _, parameters in parts_of_parameters(model)]
    else:
        lists = [list(part.parameters()) for part in parts]
    groups = []
    ids = [{id(parameter) for parameter in parameters} for parameters in reversed(lists) if parameters]
    ids[0] |= {id(parameter) for _, parameter in named}.difference(*ids)
    for number, own in enumerate(ids):
        factor = config.layer_rate_factor**number
        rates = {
            "learning_rate": config.learning_rate * factor,
            "other_learning_rate": config.other_learning_rate * factor,
        }
        groups += _groups([pair for pair in named if id(pair[1]) in own], config.model_copy(update=rates), precision)
    return groups


def _groups(
    named: list[tuple[str, nn.Parameter]], config: OptimizerConfig, precision: torch.dtype
) -> list[ParameterGroup]:
    is_muon = config.name == "muon"
    groups = []
    if is_muon:
        matrices = [p for name, p in named if _is_muons(name, p)]
        muon = Muon(config.momentum, precision, config.muon_iterations, config.unit_filters)
        groups.append(ParameterGroup(matrices, muon, config.learning_rate, config.weight_decay))
        named = [(name, p) for name, p in named if not _is_muons(name, p)]
    rule = _build_rule(config)
    rate = config.other_learning_rate if is_muon else config.learning_rate
    decay = config.other_weight_decay if is_muon else config.weight_decay
    groups.append(ParameterGroup([p for _, p in named if is_matrix(p)], rule, rate, decay))
    groups.append(ParameterGroup([p for _, p in named if not is_matrix(p)], rule, rate, 0.0))
    return [group for group in groups if group.parameters]


def optimizer_tensors(groups: list[ParameterGroup]) -> dict[str, torch.Tensor]:
    """All state as tensors named `optimizer.<group>.<parameter>.<slot>`."""
    return {
        f"optimizer.{number}.{name}": tensor
        for number, group in enumerate(groups)
        for name, tensor in group.tensors().items()
    }


def restore_optimizers(groups: list[ParameterGroup], tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` gave. Raises KeyError or RuntimeError where it does not fit."""
    for number, group in enumerate(groups):
        prefix = f"optimizer.{number}."
        group.restore({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})


def is_matrix(parameter: torch.Tensor) -> bool:
    """Whether a parameter is a matrix or a bank of filters, not a number a channel, such as (C,) or (C, 1, 1)."""
    return parameter.ndim == 2 or (parameter.ndim > 2 and any(side > 1 for side in parameter.shape[1:]))


def _is_muons(name: str, parameter: nn.Parameter) -> bool:
    return is_matrix(parameter) and not name.startswith("head.")


def _build_rule(config: OptimizerConfig) -> Rule:
    if config.name == "rmsprop":
        return RootMeanSquare(config.rmsprop_decay, config.momentum)
    if config.name in ("adam", "adamw"):
        return Adam((config.momentum, config.second_momentum), decoupled=config.name == "adamw")
    momenta = {"sgd": 0.0, "muon": config.other_momentum}
    return GradientDescent(
        momentum=momenta.get(config.name, config.momentum), nesterov=config.name in ("nesterov", "muon")
    )
