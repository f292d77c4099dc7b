"""Optimizers by name, torch's own, with weight decay where it belongs; their state as named tensors."""

from typing import Any

import torch
from torch import nn

from .config import OptimizerConfig


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of `model`'s trainable parameters: one, or two for muon (filters and matrices; all others).

    Parameters with fewer than two dimensions (biases, normalisation) are not decayed. The head's matrix, which maps
    to the classes, is not Muon's (Jordan et al. 2024, github.com/KellerJordan/Muon).
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if config.name != "muon":
        return [_build_plain(_decay_groups(named, config.weight_decay), config, config.learning_rate)]
    matrices = [(name, p) for name, p in named if p.ndim >= 2 and not name.startswith("head.")]
    others = [(name, p) for name, p in named if p.ndim < 2 or name.startswith("head.")]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(FilterMuon([p for _, p in matrices], config))
    if others:
        groups = _decay_groups(others, config.weight_decay)
        optimizers.append(_build_plain(groups, config, config.other_learning_rate))
    return optimizers


class FilterMuon(torch.optim.Muon):
    """torch's Muon for filters too: each (out, in, kh, kw) filter bank is stepped as the matrix (out, in*kh*kw)."""

    def __init__(self, parameters: list[nn.Parameter], config: OptimizerConfig) -> None:
        self._filters = parameters
        self._matrices = [nn.Parameter(p.detach().reshape(p.shape[0], -1).clone()) for p in parameters]
        super().__init__(
            self._matrices, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step on matrix copies of the filters: channels-last filters have no matrix view."""
        for filters, matrix in zip(self._filters, self._matrices, strict=True):
            matrix.data.copy_(filters.data.reshape(filters.shape[0], -1))
            matrix.grad = None if filters.grad is None else filters.grad.reshape(filters.shape[0], -1)
        result = super().step(closure)
        for filters, matrix in zip(self._filters, self._matrices, strict=True):
            filters.data.copy_(matrix.data.view(filters.shape))
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the filters as well as of the matrices."""
        super().zero_grad(set_to_none)
        for filters in self._filters:
            filters.grad = None


def peak_learning_rates(optimizers: list[torch.optim.Optimizer]) -> list[list[float]]:
    """The learning rate of every group as built, which the schedule's factor multiplies."""
    return [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]


def set_learning_rates(optimizers: list[torch.optim.Optimizer], peaks: list[list[float]], factor: float) -> None:
    """Set every group to `factor` times its peak."""
    for optimizer, group_peaks in zip(optimizers, peaks, strict=True):
        for group, peak in zip(optimizer.param_groups, group_peaks, strict=True):
            group["lr"] = peak * factor


def optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """All state as tensors named `optimizer.<number>.<parameter>.<key>`; step counts become float64 scalars."""
    tensors = {}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float64)
                tensors[f"optimizer.{number}.{index}.{key}"] = tensor
    return tensors


def restore_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, in the memory layout of each parameter, which fused steps rely on."""
    for number, optimizer in enumerate(optimizers):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            kind, owner, index, key = (name.split(".", 3) + ["", "", ""])[:4]
            if kind == "optimizer" and owner == str(number):
                parameter = parameters[int(index)]
                same_shape = tensor.shape == parameter.shape and tensor.ndim > 0
                laid_out = torch.empty_like(parameter, requires_grad=False).copy_(tensor) if same_shape else tensor
                state.setdefault(int(index), {})[key] = laid_out
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _decay_groups(named: list[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict[str, Any]]:
    decayed = [parameter for _, parameter in named if parameter.ndim >= 2]
    plain = [parameter for _, parameter in named if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _build_plain(groups: list[dict[str, Any]], config: OptimizerConfig, learning_rate: float) -> torch.optim.Optimizer:
    betas = (config.momentum, config.second_momentum)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=learning_rate, alpha=config.second_momentum, momentum=config.momentum)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, betas=betas, fused=_can_fuse(groups))
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=_can_fuse(groups))
    momentum = 0.0 if config.name == "sgd" else config.momentum
    nesterov = config.name in ("nesterov", "muon")
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=nesterov, fused=_can_fuse(groups))


def _can_fuse(groups: list[dict[str, Any]]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for group in groups for p in group["params"])
