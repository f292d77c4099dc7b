"""What a run says of every image of a set, as a map of Ray Data: python ray_data.py RUN SOURCE OUT NUM_PARTS

Each row is a part of the work, whose answers go to the folder OUT as files; only counts come back. RUN, SOURCE and OUT
lie on a disk that every node sees. A part that Ray starts again leaves the files that are there as they are.
"""

import sys

import ray

from saccade import api

run, source, out, num_parts = *sys.argv[1:4], int(sys.argv[4])


def answer(row: dict[str, int]) -> dict[str, int]:
    """Make the units of one part."""
    written = api.predict_to_folder(run, source, out, unit_of=f"{row['id']}/{num_parts}")
    return {"num_answered": written.num_answered, "num_bad": written.num_bad}


rows = ray.data.range(num_parts, override_num_blocks=num_parts).map(answer, num_cpus=1).take_all()
print(
    f"{sum(row['num_answered'] for row in rows):,} images answered, {sum(row['num_bad'] for row in rows):,} unreadable"
)
