"""The places of the studio, in the order of its header. A new one is an entry here."""

from .data.pages import data_routes
from .design.pages import design_routes
from .lab.pages import lab_routes
from .place import Place
from .predict.pages import predict_routes
from .runs.pages import runs_routes

PLACES: tuple[Place, ...] = (
    Place(name="runs", title="Runs", key="r", routes=runs_routes),
    Place(name="design", title="Design", key="d", routes=design_routes),
    Place(name="data", title="Data", key="a", routes=data_routes),
    Place(name="lab", title="Lab", key="l", routes=lab_routes),
    Place(name="predict", title="Predict", key="p", routes=predict_routes),
)
