"""What a strict type checker makes of a user's code; `test_public.py` compares it with what stands behind it here."""

from pathlib import Path
from typing import reveal_type

import numpy as np

import saccade
from saccade import api

settings = {"optimizer": {"learning_rate": 0.1}}
images = np.zeros((10, 8, 8), np.uint8)
request = api.TrainRequest(source=(images, ["a", "b"] * 5), settings=settings, out="runs/x")
answers = list(api.predict("runs/x", images))
reveal_type(api.train(request))  # is: saccade.train.run.TrainResult
reveal_type(saccade.api.train(request).judgement.metrics.top1)  # is: float
reveal_type(api.evaluate("runs/x", "digits"))  # is: saccade.classify.evaluation.Evaluation
reveal_type(api.report(Path("runs/x")))  # is: pathlib.Path
reveal_type(answers)  # is: list[saccade.core.types.Prediction | saccade.core.errors.ImageError]
api.evaluate("runs/x", [("a.jpg", "cat"), (Path("b.jpg"), "dog", "test")])
reveal_type(api.features("runs/x", images, "f.npz"))  # is: saccade.survey.feature_file.FeaturesWritten
reveal_type(api.similar("runs/x", "a.jpg", images).found[0].distance)  # is: float
reveal_type(api.suggest("runs/x", images, count=5))  # is: saccade.survey.suggest.Suggestions
reveal_type(api.drift("runs/x", "new").is_drifted)  # is: bool
reveal_type(api.add_class("runs/x", "zebra").added)  # is: tuple[str, ...]
reveal_type(api.predict_to_label_studio("runs/x", "new", "tasks.json"))  # is: saccade.classify.exports.Exported
reveal_type(api.predict_to_fiftyone("runs/x", images, "export").num_answered)  # is: int
reveal_type(api.predict_to_folder("runs/x", "new", "answers").is_complete)  # is: bool
reveal_type(saccade.load("runs/x")("a.jpg"))  # is: saccade.core.types.Prediction
reveal_type(saccade.load("runs/x", "runs/y")(["a.jpg"]))  # is: list[saccade.core.types.Prediction]
reveal_type(saccade.SaccadeClassifier(epochs=3).fit(images, ["a", "b"] * 5))  # is: saccade.estimators.SaccadeClassifier
api.evaluate(3, "digits")  # is an error
api.TrainRequest(source="digits", epoch=3)  # is an error
