"""What the eager baselines share: repeated timing, a table and one line of JSON."""

import json
import statistics
import time

import torch

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def percentile(values, fraction):
    """The value at `fraction` of the sorted list, interpolated between neighbours."""
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def timed(call):
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def report(name, settings, groups):
    """Prints each group's times (milliseconds) as a table row, then everything as one JSON line."""
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in settings.items()))
    print(f"{'':24}{'count':>7}{'P50 ms':>11}{'P99 ms':>11}{'mean ms':>11}{'min ms':>11}")
    result = {"benchmark": name, "implementation": "eager", **settings}
    for label, times in groups.items():
        row = {
            "count": len(times),
            "p50_ms": round(percentile(times, 0.5), 3),
            "p99_ms": round(percentile(times, 0.99), 3),
            "mean_ms": round(statistics.fmean(times), 3),
            "min_ms": round(min(times), 3),
        }
        print(f"{label:24}{row['count']:>7}" + "".join(f"{row[k]:>11.2f}" for k in list(row)[1:]))
        result[label.replace(" ", "_")] = row
    print(json.dumps(result))
