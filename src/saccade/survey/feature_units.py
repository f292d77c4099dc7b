"""Features as rows of Parquet: the units of `features --out FOLDER`.

key      what the image is called
label    text, null where unknown
feature  D numbers, float32 or float16; null where the image is unreadable
error    why it is unreadable
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..classify.features import FeatureBatch
from ..classify.units import ERROR, Row, UnitKind
from ..core.errors import DataError, ImageError, printable, storable
from ..data.sources.parquet.row_groups import import_pyarrow
from .feature_file import Seeing, facts_of

NAME = "features"


def feature_units(seeing: Seeing, half: bool) -> UnitKind:
    """What the units of features that `seeing` computes are. Raises ModelError for a network without named parts."""
    pa, _ = import_pyarrow()
    facts = {name: value for name, value in facts_of(seeing).items() if name not in ("format", "saccade")}
    number, size = pa.float16() if half else pa.float32(), facts["num_features"]
    schema = pa.schema(
        [("key", pa.string()), ("label", pa.string()), ("feature", pa.list_(number, size)), (ERROR, pa.string())]
    )
    decisive = [facts["weights_sha256"], facts["preprocessing_sha256"]]
    return UnitKind(
        name=NAME,
        schema=schema,
        to_batch=lambda rows: _batch(rows, schema, np.float16 if half else np.float32),
        model_sha256=hashlib.sha256(json.dumps(decisive).encode()).hexdigest(),
        settings={"half": half},
        facts=facts,
    )


def feature_rows(batches: Iterable[FeatureBatch], bad: Callable[[ImageError], None]) -> Iterator[Row]:
    """A row for each image; `bad` hears of each that cannot be read."""
    for batch in batches:
        feature = iter(batch.feature_GD)
        for place, item in enumerate(batch.items):
            row: Row = {"key": storable(item.key), "label": storable(item.label) or None}
            error = batch.errors.get(place)
            if error is not None:
                bad(error)
            yield row | ({"feature": next(feature)} if error is None else {ERROR: storable(error.reason)})


def _batch(rows: list[Row], schema: Any, number: type[np.floating[Any]]) -> Any:
    """The rows as Arrow has them. Raises DataError for a feature that float16 cannot hold."""
    pa, _ = import_pyarrow()
    feature_type = schema.field("feature").type
    feature_ND = np.zeros((len(rows), feature_type.list_size), number)
    for place, row in enumerate(rows):
        if "feature" in row:
            with np.errstate(over="ignore"):
                feature_ND[place] = row["feature"]
            if not np.isfinite(feature_ND[place]).all():
                raise DataError(
                    f"{printable(row['key'])}: a feature is {np.abs(row['feature']).max():.4g}, more than float16 "
                    f"holds (65,504).\nLeave --half out."
                )
    absent = pa.array(["feature" not in row for row in rows])
    columns = [
        pa.array([row["key"] for row in rows], pa.string()),
        pa.array([row["label"] for row in rows], pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(feature_ND.reshape(-1)), type=feature_type, mask=absent),
        pa.array([row.get(ERROR) for row in rows], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
