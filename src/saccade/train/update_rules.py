"""Update rules: how gradients become steps, each as one class that knows its arithmetic and its state's names.

They call torch's own fused and foreach kernels directly. torch.optim wraps the same kernels for its compiler, whose
import takes a second or two of every start.
"""

import math
from typing import Protocol

import torch

from ..core import torch_private

Tensors = list[torch.Tensor]
Slots = dict[str, Tensors]

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Rule(Protocol):
    """`slots` names the tensors kept for each parameter: like the parameter, but `step`, a float32 scalar."""

    slots: tuple[str, ...]

    def step(self, parameters: Tensors, gradients: Tensors, slots: Slots, rate: float, weight_decay: float) -> None:
        """Change `parameters` and `slots` in place."""


class GradientDescent:
    """p -= rate * d with d = g + weight_decay * p, or with momentum b = momentum * b + d: b, or d + momentum * b for
    Nesterov's (Sutskever et al. 2013, section 2, in the form where the rate scales the momentum)."""

    def __init__(self, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.momentum, self.nesterov = momentum, nesterov and momentum > 0
        self.slots: tuple[str, ...] = ("momentum_buffer",) if momentum else ()

    def step(self, parameters: Tensors, gradients: Tensors, slots: Slots, rate: float, weight_decay: float) -> None:
        """See the class."""
        torch_private.fused_sgd_(
            parameters,
            gradients,
            slots.get("momentum_buffer", []),
            weight_decay=weight_decay,
            momentum=self.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=False,  # the buffer starts as zeros, which comes to the same
        )


class RootMeanSquare:
    """RMSProp (Tieleman and Hinton 2012, lecture 6.5): gradients over the root of their running mean square, with
    momentum on top; weight decay is part of the gradient."""

    def __init__(self, decay: float, momentum: float, epsilon: float = 1e-8) -> None:
        self.decay, self.momentum, self.epsilon = decay, momentum, epsilon
        self.slots: tuple[str, ...] = ("square_avg", "momentum_buffer") if momentum else ("square_avg",)

    def step(self, parameters: Tensors, gradients: Tensors, slots: Slots, rate: float, weight_decay: float) -> None:
        """See the class."""
        if weight_decay:
            gradients = list(torch_private.foreach_add(gradients, parameters, alpha=weight_decay))
        torch_private.foreach_mul_(slots["square_avg"], self.decay)
        torch_private.foreach_addcmul_(slots["square_avg"], gradients, gradients, 1 - self.decay)
        root = torch_private.foreach_sqrt(slots["square_avg"])
        torch_private.foreach_add_(root, self.epsilon)
        if not self.momentum:
            torch_private.foreach_addcdiv_(parameters, gradients, root, -rate)
            return
        torch_private.foreach_mul_(slots["momentum_buffer"], self.momentum)
        torch_private.foreach_addcdiv_(slots["momentum_buffer"], gradients, root)
        torch_private.foreach_add_(parameters, slots["momentum_buffer"], alpha=-rate)


class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1); with `decoupled`, AdamW's weight decay (Loshchilov and
    Hutter 2019, arXiv:1711.05101, algorithm 2, the rate scaling the decay)."""

    slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq", "step")

    def __init__(self, betas: tuple[float, float], decoupled: bool, epsilon: float = 1e-8) -> None:
        self.betas, self.epsilon = betas, epsilon
        self._kernel = torch_private.fused_adamw_ if decoupled else torch_private.fused_adam_

    def step(self, parameters: Tensors, gradients: Tensors, slots: Slots, rate: float, weight_decay: float) -> None:
        """See the class."""
        torch_private.foreach_add_(slots["step"], 1)
        self._kernel(
            parameters,
            gradients,
            slots["exp_avg"],
            slots["exp_avg_sq"],
            [],
            slots["step"],
            lr=rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=weight_decay,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )


class Muon:
    """Momentum, orthogonalised (Jordan et al. 2024, kellerjordan.github.io/posts/muon): a filter bank (out, in, kh, kw)
    is stepped as the matrix (out, in*kh*kw), at rate * sqrt(max(1, rows / columns)), with decoupled weight decay.

    With `unit_filters` each matrix is first scaled to the Frobenius norm sqrt(rows) (cifar10-airbench). `precision` is
    that of the orthogonalisation: bfloat16 where the machine has units for it. Float64 parameters keep float64.
    """

    slots: tuple[str, ...] = ("momentum_buffer",)

    def __init__(
        self, momentum: float, precision: torch.dtype, iterations: int = 5, unit_filters: bool = False
    ) -> None:
        self.momentum, self.precision = momentum, precision
        self.iterations, self.unit_filters = iterations, unit_filters

    def step(self, parameters: Tensors, gradients: Tensors, slots: Slots, rate: float, weight_decay: float) -> None:
        """See the class."""
        torch_private.foreach_lerp_(slots["momentum_buffer"], gradients, 1 - self.momentum)
        directions = torch_private.foreach_lerp(gradients, slots["momentum_buffer"], self.momentum)
        if weight_decay:
            torch_private.foreach_mul_(parameters, 1 - rate * weight_decay)
        for parameter, direction in zip(parameters, directions, strict=True):
            matrix = direction.reshape(direction.shape[0], -1)
            precision = matrix.dtype if matrix.dtype == torch.float64 else self.precision
            if self.unit_filters:
                parameter.mul_(math.sqrt(len(parameter)) / parameter.norm().clamp(min=1e-7))
            update = orthogonalise(matrix.to(precision), self.iterations).to(parameter.dtype).view(parameter.shape)
            scale = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
            parameter.add_(update, alpha=-rate * scale)


def orthogonalise(matrix_RC: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Nearly the nearest matrix with equal singular values (about 0.7 to 1.2 after 5), by Newton-Schulz iterations of
    degree five (Jordan et al. 2024). A matrix of zeros stays zero."""
    a, b, c = MUON_COEFFICIENTS
    is_tall = matrix_RC.shape[0] > matrix_RC.shape[1]
    x = matrix_RC.T if is_tall else matrix_RC
    x = x / x.norm().clamp(min=1e-7)  # the spectral norm is at most the Frobenius norm
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x
