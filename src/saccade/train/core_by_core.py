"""A step of fine-tuning in as many parts as there are cores, each computed by one core from its images to its
gradients, which are then added up.

Two cores that share each layer of a small network wait for each other at its end, and hold the cores that threads which
decode images want. Only where the sum over the parts is what the whole batch gives: nothing that is trained looks at
the batch as one (batch normalisation) or draws (dropout, stochastic depth).
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from ..core import torch_private
from ..core.runtime import Runtime
from ..kernels.one_core_each import one_core_each

FEWEST_IMAGES = 4  # of a part
MOST_CORES = 4  # more cores get too few images each of a usual batch
KNOWN = ("saccade.", "torch.")  # whose layers are known to draw and to normalise by what is asked below alone

Part = Callable[[slice], tuple[torch.Tensor, torch.Tensor]]


def can_part(live: Iterable[nn.Module], runtime: Runtime) -> bool:
    """Whether a batch may be computed in parts behind which `live`, the modules that are trained, has learned the
    same; the last bits apart, since sums are taken in another order."""
    if runtime.device.type != "cpu" or not 1 < runtime.num_threads <= MOST_CORES or not runtime.ranks.is_alone:
        return False
    return all(_sees_each_image_alone(layer) for module in live for layer in module.modules())


def _sees_each_image_alone(layer: nn.Module) -> bool:
    if not type(layer).__module__.startswith(KNOWN) or isinstance(layer, torch_private.BatchNorm):
        return False
    draws = (getattr(layer, name, 0) for name in ("p", "probability"))  # of dropout; of stochastic depth
    return not any(isinstance(probability, int | float) and probability > 0 for probability in draws)


def num_parts(num_images: int, runtime: Runtime) -> int:
    """In how many parts a batch of `num_images` is computed."""
    return max(1, min(runtime.num_threads, num_images // FEWEST_IMAGES))


def gradients_of_parts(
    part: Part, num_images: int, parameters: list[nn.Parameter], runtime: Runtime
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the loss, the number right) of a batch, its gradients in `parameters`. `part` gives both of the images of a
    slice of the batch, the loss as the part's share. Raises what `part` raises."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    number = num_parts(num_images, runtime)
    bounds = [at * num_images // number for at in range(number + 1)]

    def compute(place: slice) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor | None, ...]]:
        loss, num_right = part(place)
        return loss.detach(), num_right, torch.autograd.grad(loss, trained, allow_unused=True)

    with one_core_each(runtime) as pool:
        found = list(pool.map(compute, map(slice, bounds, bounds[1:])))
    for parameter, gradients in zip(trained, zip(*(own for _, _, own in found), strict=True), strict=True):
        parameter.grad = _added(parameter, [gradient for gradient in gradients if gradient is not None])
    return torch.stack([loss for loss, _, _ in found]).sum(), torch.stack([right for _, right, _ in found]).sum()


def _added(parameter: nn.Parameter, gradients: list[torch.Tensor]) -> torch.Tensor | None:
    """Their sum in this order, in the memory layout of the parameter."""
    if not gradients:
        return None
    total = torch.empty_like(parameter, requires_grad=False).copy_(gradients[0])
    for gradient in gradients[1:]:
        total += gradient
    return total
