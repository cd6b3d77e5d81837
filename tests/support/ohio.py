"""Made-up files of OhioT1DM's shape: nobody's data."""

from datetime import datetime, timedelta

import numpy as np

START = datetime(2021, 12, 7, 20)
STAMP = "%d-%m-%Y %H:%M:%S"


def at(minutes):
    """Return the stamp so many minutes after the start."""
    return (START + timedelta(minutes=minutes)).strftime(STAMP)


def readings(hours, seed=0, gaps=()):
    """Return events of glucose every five minutes, none in the hours of `gaps`."""
    rng = np.random.default_rng(seed)
    return [
        {"ts": at(m), "value": int(rng.integers(40, 400))}
        for m in range(0, 60 * hours, 5)
        if m // 60 not in gaps
    ]


def write(folder, patient="1", part="training", **events):
    """Write a file; elements that are not given have no events, those given as None are absent."""
    usual = dict.fromkeys(
        ("glucose_level", "finger_stick", "basal", "temp_basal", "bolus", "meal", "exercise"), ()
    )
    usual["basal"] = ({"ts": at(-600), "value": 1.0},)
    elements = "".join(
        f"<{name}>{''.join(_event(e) for e in found)}</{name}>\n"
        for name, found in (usual | events).items()
        if found is not None
    )
    folder.mkdir(exist_ok=True)
    path = folder / f"{patient}-ws-{part}.xml"
    path.write_text(f'<?xml version="1.0"?>\n<patient id="{patient}">\n{elements}</patient>\n')
    return path


def _event(fields):
    return "<event " + " ".join(f'{k}="{v}"' for k, v in fields.items()) + "/>"
