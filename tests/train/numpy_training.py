"""Training in NumPy float64, written from the papers and sharing no code with the package.

The network: a 3x3 convolution of one channel without padding, ReLU, then two linear classifiers on the flattened maps,
the head and an auxiliary one. Parameters are a dictionary by the network's own names.
"""

import math
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]


def windows(image_BHW: np.ndarray) -> np.ndarray:
    """patch_BPQ: the P = (H-2)(W-2) patches of Q = 9 pixels."""
    view = np.lib.stride_tricks.sliding_window_view(image_BHW, (3, 3), axis=(1, 2))
    return view.reshape(len(image_BHW), -1, 9)


@dataclass
class Loss:
    smoothing: float = 0.0
    class_weight_K: np.ndarray | None = None
    auxiliary_weight: float = 0.0
    gamma: float = 0.0

    def target(self, label: np.ndarray, num_classes: int) -> np.ndarray:
        given = label if label.ndim == 2 else np.eye(num_classes)[label]
        return (1 - self.smoothing) * given + self.smoothing / num_classes

    def image_weights(self, label: np.ndarray, num_classes: int) -> np.ndarray:
        """weight_B: an image counts as its label does, whatever its target is softened to."""
        given = label if label.ndim == 2 else np.eye(num_classes)[label]
        weight_K = np.ones(num_classes) if self.class_weight_K is None else self.class_weight_K
        return (given * weight_K).sum(axis=1)

    def total_weight(self, label: np.ndarray, num_classes: int) -> float:
        return float(self.image_weights(label, num_classes).sum())

    def head(self, logits_BK: np.ndarray, label: np.ndarray, total: float) -> tuple[float, np.ndarray]:
        """Weighted sum over `total` of -t (1 - p)^gamma log p, and its gradient by the logits."""
        num_classes = logits_BK.shape[1]
        weight_B1 = self.image_weights(label, num_classes)[:, None]
        shifted = logits_BK - logits_BK.max(axis=1, keepdims=True)
        log_p_BK = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        p_BK, wanted_BK = np.exp(log_p_BK), self.target(label, num_classes)
        focus_BK = (1 - p_BK) ** self.gamma
        loss = -(weight_B1 * wanted_BK * focus_BK * log_p_BK).sum() / total
        slope_BK = wanted_BK * (self.gamma * (1 - p_BK) ** (self.gamma - 1) * p_BK * log_p_BK - focus_BK)  # p dL/dp
        gradient_BK = weight_B1 * (slope_BK - p_BK * slope_BK.sum(axis=1, keepdims=True)) / total
        return float(loss), gradient_BK


def gradients(p: Arrays, image_BHW: np.ndarray, label: np.ndarray, loss: Loss) -> tuple[float, Arrays]:
    """The loss of a batch and its gradient by every parameter."""
    patch_BPQ = windows(image_BHW)
    filter_OQ = p["stem.weight"].reshape(len(p["stem.weight"]), -1)
    before_BOP = np.einsum("oq,bpq->bop", filter_OQ, patch_BPQ) + p["stem.bias"][:, None]
    feature_BD = np.maximum(before_BOP, 0).reshape(len(image_BHW), -1)
    total = loss.total_weight(label, len(p["head.bias"]))
    g: Arrays = {}
    value, feature_gradient_BD = 0.0, np.zeros_like(feature_BD)
    for name, share in (("head", 1.0), ("auxiliary", loss.auxiliary_weight)):
        part, d_BK = loss.head(feature_BD @ p[f"{name}.weight"].T + p[f"{name}.bias"], label, total)
        value += share * part
        g[f"{name}.weight"], g[f"{name}.bias"] = share * d_BK.T @ feature_BD, share * d_BK.sum(axis=0)
        feature_gradient_BD += share * d_BK @ p[f"{name}.weight"]
    d_BOP = feature_gradient_BD.reshape(before_BOP.shape) * (before_BOP > 0)
    g["stem.weight"] = np.einsum("bop,bpq->oq", d_BOP, patch_BPQ).reshape(p["stem.weight"].shape)
    g["stem.bias"] = d_BOP.sum(axis=(0, 2))
    return value, g


def clip(g: Arrays, norm: float) -> Arrays:
    """Scaled down to a global norm (Pascanu et al. 2013, algorithm 1)."""
    total = math.sqrt(sum(float((value**2).sum()) for value in g.values()))
    return {name: value * min(1.0, norm / (total + 1e-6)) for name, value in g.items()} if norm else g


def newton_schulz(matrix: np.ndarray, iterations: int) -> np.ndarray:
    """Iterations of 3.4445 X - 4.7750 X X'X + 2.0315 X X'X X'X after division by the Frobenius norm."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(iterations):
        square = x.T @ x
        x = 3.4445 * x - 4.7750 * x @ square + 2.0315 * x @ square @ square
    return x


@dataclass
class Rule:
    """One optimizer by name, over all parameters; matrices are decayed, vectors are not."""

    name: str
    rate: float
    beta: float = 0.9
    second: float = 0.999
    decay: float = 0.0
    other_rate: float = 0.0
    other_beta: float = 0.9
    other_decay: float = 0.0
    iterations: int = 5
    unit_filters: bool = False
    steps: int = 0
    state: dict[str, Arrays] = field(default_factory=dict)

    def step(self, p: Arrays, g: Arrays, factor: float) -> None:
        self.steps += 1
        for name in p:
            own = self.state.setdefault(name, {"m": np.zeros_like(p[name]), "v": np.zeros_like(p[name])})
            is_matrix = p[name].ndim >= 2
            if self.name == "muon" and is_matrix and not name.startswith("head."):
                self.muon(p, name, g[name], own, factor * self.rate)
            elif self.name == "muon":
                other = Rule(name="nesterov", rate=self.other_rate, beta=self.other_beta)
                decay = self.other_decay if is_matrix else 0.0
                other.nesterov(p, name, g[name], own, factor * other.rate, decay)
            else:
                decay = self.decay if is_matrix else 0.0
                getattr(self, self.name)(p, name, g[name], own, factor * self.rate, decay)

    def sgd(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float, decay: float) -> None:
        p[name] = p[name] - rate * (g + decay * p[name])

    def gradient_momentum(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, decay: float) -> np.ndarray:
        d = g + decay * p[name]
        own["m"] = self.beta * own["m"] + d
        return d

    def momentum(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float, decay: float) -> None:
        self.gradient_momentum(p, name, g, own, decay)
        p[name] = p[name] - rate * own["m"]

    def nesterov(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float, decay: float) -> None:
        d = self.gradient_momentum(p, name, g, own, decay)
        p[name] = p[name] - rate * (d + self.beta * own["m"])

    def rmsprop(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float, decay: float) -> None:
        d = g + decay * p[name]
        own["v"] = self.second * own["v"] + (1 - self.second) * d**2
        own["m"] = self.beta * own["m"] + d / (np.sqrt(own["v"]) + 1e-8)
        p[name] = p[name] - rate * own["m"]

    def adam(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float, decay: float) -> None:
        d = g + decay * p[name]
        own["m"] = self.beta * own["m"] + (1 - self.beta) * d
        own["v"] = self.second * own["v"] + (1 - self.second) * d**2
        mean, square = own["m"] / (1 - self.beta**self.steps), own["v"] / (1 - self.second**self.steps)
        p[name] = p[name] - rate * mean / (np.sqrt(square) + 1e-8)

    def adamw(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float, decay: float) -> None:
        p[name] = p[name] * (1 - rate * decay)
        self.adam(p, name, g, own, rate, 0.0)

    def muon(self, p: Arrays, name: str, g: np.ndarray, own: Arrays, rate: float) -> None:
        own["m"] = self.beta * own["m"] + (1 - self.beta) * g
        direction = (1 - self.beta) * g + self.beta * own["m"]
        matrix = newton_schulz(direction.reshape(len(g), -1), self.iterations)
        stretch = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
        kept = p[name] * (1 - rate * self.decay)
        if self.unit_filters:
            kept = kept * math.sqrt(len(g)) / math.sqrt(float((kept**2).sum()))
        p[name] = kept - rate * stretch * matrix.reshape(g.shape)


def factor(name: str, step: int, num_steps: int, warmup_fraction: float, final: float) -> float:
    """The learning rate over its peak: linear warm-up, then the shape; drops by 10 at 1/2 and 3/4 for `step`."""
    rising = math.floor(warmup_fraction * num_steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / (num_steps - rising)
    shapes = {
        "constant": 1.0,
        "step": 0.1 ** ((step >= num_steps / 2) + (step >= 3 * num_steps / 4)),
        "cosine": final + (1 - final) * math.cos(math.pi * done / 2) ** 2,
        "triangular": (1 - done) + done * final,
    }
    return shapes[name]
