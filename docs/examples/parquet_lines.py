# SPDX-License-Identifier: MIT
"""Writes the rows of Parquet files as lines of JSON, a batch in memory at a time: parquet_lines.py FILE..."""
import json
import sys

import pyarrow.parquet


def main(paths):
    for path in paths:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=10000):
            for row in batch.to_pylist():
                # Pictures and dates have no form in JSON; a picture's bytes are dropped.
                row = {k: v for k, v in row.items() if v is not None and not isinstance(v, bytes)}
                sys.stdout.write(json.dumps(row, default=str, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
