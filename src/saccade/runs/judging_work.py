"""What comes behind the last epoch, as far as its time can be told before: passes of images, and a report."""

MAX_TRAIN = 1000  # training images whose features are kept; more tell strangers little better (docs/results.md)
OF_EACH_CLASS = 10  # but so many of each class at least
PASS_SHARE = (0.1, 0.6)  # of a training step's time that a pass without a gradient takes
REPORT_S = (1.0, 6.0)


def num_passes(num_train: int, num_validation: int, num_judged: int, num_classes: int) -> int:
    """How many images pass to judge: those of the verdict, and those that say what answers are made of."""
    return num_judged + num_validation + min(num_train, max(MAX_TRAIN, OF_EACH_CLASS * num_classes))
