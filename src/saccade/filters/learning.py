"""Learned edges: the numbers of a kernel as parameters, found by gradient descent from a photo and its target.

The taps of a photo are nearly equal to their neighbours, so plain descent creeps along the differences. As LeCun et
al. 1998 (Efficient BackProp, section 4.3) advise, the inputs are centred, decorrelated and scaled first; every
direction then has curvature one, and Nesterov's descent with one fixed rate converges for every photo.
"""

import numpy as np
import torch

from ..conv.geometry import Window
from ..core.errors import DataError
from .photo import brightness
from .target import LearnedKernel, Target

MAX_STEPS = 2000
LEARNING_RATE, MOMENTUM = 0.8, 0.5
GRADIENT_TOLERANCE = 1e-10  # of the first gradient
FLAT = 1e-10  # a direction with less than this share of the largest variance is not in the photo
MAX_EXAMPLES, MAX_NUMBERS, MIN_EXAMPLES_PER_TAP = 400_000, 20_000_000, 20


def learn_kernel(
    image_HWC: np.ndarray, target: Target, kernel_hw: tuple[int, int], seed: int, true_convolution: bool = False
) -> LearnedKernel:
    """Learn the numbers that turn the photo into `target`, from random ones drawn with `seed`.

    The target has the photo's size (its border, which depends on padding, is left out) or that of a valid result.
    Colour channels that both have share one kernel; else brightness is used. Raises DataError where the sizes do not
    agree or the photo is flat.
    """
    inputs_HWC, answers_HWC = _same_channels(image_HWC, target.value_HWC)
    answers_HWC = _valid_part(answers_HWC, inputs_HWC.shape[:2], kernel_hw)
    examples_NT, answer_N = _examples(inputs_HWC, answers_HWC, kernel_hw)
    if target.is_picture:
        examples_NT, answer_N = _without_cut_values(examples_NT, answer_N)
    if len(examples_NT) <= examples_NT.shape[1]:
        raise DataError(
            f"The photo has {len(examples_NT)} window positions, too few to learn {examples_NT.shape[1]} numbers and a "
            f"bias from.\nUse a larger photo or a smaller --kernel-size."
        )
    mean_T = examples_NT.mean(axis=0)
    basis_TD = _decorrelating_basis(examples_NT - mean_T)
    start_T = np.random.default_rng(seed).normal(size=(examples_NT.shape[1],))
    fit = _Fit(examples_NT - mean_T, basis_TD, answer_N)
    losses = fit.descend(start_T)
    weights_T = fit.weights_T()
    weights_HW = weights_T.reshape(kernel_hw)
    return LearnedKernel(
        weights_HW=weights_HW[::-1, ::-1] if true_convolution else weights_HW,
        bias=fit.bias() - float(mean_T @ weights_T),
        explained=fit.explained(),
        losses=losses,
        num_undetermined=len(weights_T) - basis_TD.shape[1],
        num_examples=len(answer_N),
    )


class _Fit:
    """The descent in decorrelated coordinates; values are in units of the answers' deviation."""

    def __init__(self, centred_NT: np.ndarray, basis_TD: np.ndarray, answer_N: np.ndarray) -> None:
        self._basis_TD = basis_TD
        self._mean, self._scale = float(answer_N.mean()), float(answer_N.std()) or 1.0
        self._input_ND = torch.from_numpy(centred_NT @ basis_TD)
        self._answer_N = torch.from_numpy((answer_N - self._mean) / self._scale)
        self._weight_D = torch.zeros(basis_TD.shape[1], dtype=torch.float64, requires_grad=True)
        self._bias = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def descend(self, start_T: np.ndarray) -> tuple[float, ...]:
        """Gradient descent from the kernel `start_T`; the losses before each step."""
        start_D = np.linalg.pinv(self._basis_TD) @ start_T / self._scale
        with torch.no_grad():
            self._weight_D.copy_(torch.from_numpy(start_D))
        parameters = [self._weight_D, self._bias]
        optimizer = torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True)
        losses: list[float] = []
        first_gradient = 0.0
        for _ in range(MAX_STEPS):
            optimizer.zero_grad()
            loss = self._residual_N().square().mean() / 2
            loss.backward()
            losses.append(2 * loss.item() * self._scale**2)
            gradient = max(float(parameter.grad.norm()) for parameter in parameters if parameter.grad is not None)
            first_gradient = first_gradient or gradient
            if gradient <= GRADIENT_TOLERANCE * first_gradient:
                break
            optimizer.step()
        return tuple(losses)

    def weights_T(self) -> np.ndarray:
        kernel_T: np.ndarray = self._basis_TD @ self._weight_D.detach().numpy() * self._scale
        return kernel_T

    def bias(self) -> float:
        return self._mean + float(self._bias.detach()) * self._scale

    def explained(self) -> float | None:
        """One minus the residual's share of the answers' variance."""
        variance = float(self._answer_N.square().mean())
        return 1 - float(self._residual_N().detach().square().mean()) / variance if variance else None

    def _residual_N(self) -> torch.Tensor:
        """Prediction minus answer."""
        return self._input_ND @ self._weight_D + self._bias - self._answer_N


def _same_channels(image_HWC: np.ndarray, target_HWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if image_HWC.shape[2] == target_HWC.shape[2]:
        return image_HWC.astype(np.float64), target_HWC
    return brightness(image_HWC), brightness(target_HWC)


def _valid_part(target_HWC: np.ndarray, image_hw: tuple[int, ...], kernel_hw: tuple[int, int]) -> np.ndarray:
    """The part of the target whose windows lie inside the photo."""
    windows = [Window(kernel) for kernel in kernel_hw]
    valid_hw = tuple(window.output_size(size) for window, size in zip(windows, image_hw))
    if min(valid_hw) < 1:
        raise DataError(
            f"The photo is smaller than the kernel: {_size(image_hw)} pixels (height x width) for a kernel of "
            f"{_size(kernel_hw)}.\nUse a larger photo or a smaller --kernel-size."
        )
    if target_HWC.shape[:2] == valid_hw:
        return target_HWC
    if target_HWC.shape[:2] != image_hw:
        raise DataError(
            f"The target has another size than the photo: {_size(target_HWC.shape)} against {_size(image_hw)} pixels "
            f"(height x width).\nA target has the photo's size, or {_size(valid_hw)} without padding: "
            f"{windows[0].formula(image_hw[0])}, {windows[1].formula(image_hw[1])}."
        )
    top, left = ((kernel - 1) // 2 for kernel in kernel_hw)
    return target_HWC[top : top + valid_hw[0], left : left + valid_hw[1]]


def _examples(
    image_HWC: np.ndarray, answers_HWC: np.ndarray, kernel_hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Window contents examples_NT (T taps) and their answers: all positions, or evenly spread ones of a large photo."""
    num_taps = kernel_hw[0] * kernel_hw[1]
    most = max(min(MAX_EXAMPLES, MAX_NUMBERS // num_taps), MIN_EXAMPLES_PER_TAP * num_taps)
    num_examples = min(answers_HWC.size, most)
    chosen_N = np.linspace(0, answers_HWC.size - 1, num_examples).round().astype(np.intp)
    row_N, column_N, channel_N = np.unravel_index(chosen_N, answers_HWC.shape)
    windows = np.lib.stride_tricks.sliding_window_view(image_HWC, kernel_hw, axis=(0, 1))
    examples_NT = windows[row_N, column_N, channel_N].reshape(num_examples, num_taps)
    return examples_NT, answers_HWC[row_N, column_N, channel_N]


def _without_cut_values(examples_NT: np.ndarray, answer_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The examples whose answer a picture can hold: a filter is linear, so those alone determine it without bias."""
    whole = (answer_N > 0) & (answer_N < 255)
    if whole.sum() <= examples_NT.shape[1]:
        raise DataError(
            f"Only {whole.sum()} of the target's {len(answer_N)} values used lie between 0 and 255; the others are cut "
            f"off, and nothing can be learned from them.\n"
            f"Write the target as numbers instead: 'saccade filter PHOTO --kernel sobel-x --out target.npy'."
        )
    return examples_NT[whole], answer_N[whole]


def _decorrelating_basis(centred_NT: np.ndarray) -> np.ndarray:
    """basis_TD: `centred @ basis` has D uncorrelated columns of variance one. Raises DataError where D is 0."""
    variance_T, directions_TT = np.linalg.eigh(centred_NT.T @ centred_NT / len(centred_NT))
    present = variance_T > FLAT * variance_T[-1]
    if variance_T[-1] < FLAT:
        raise DataError(
            "The photo is flat: every window that can be used sees the same pixels, so no kernel can be learned."
        )
    basis_TD: np.ndarray = directions_TT[:, present] / np.sqrt(variance_T[present])
    return basis_TD


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
