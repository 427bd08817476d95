"""Calibrates with Apache Spark: partitions of file names become statistics, which are reduced to one.

    find /photos -name '*.jpg' | python3 spark.py MODEL OUT.qcal PARTITIONS

The workers need the command, the model and the files under the same names.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession


def qonnx(*arguments, stdin=None):
    """What the command writes to standard output."""
    return subprocess.run(["qonnx", *arguments, "-q", "-o", "-"], input=stdin, stdout=subprocess.PIPE, check=True).stdout


def calibrate(model, names):
    """The statistics of one partition; none where it is empty."""
    lines = "".join(name + "\n" for name in names)
    if lines:
        yield qonnx("calibrate", model, "@-", "-j", "1", stdin=lines.encode())


def merge(first, second):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("1.qcal", "2.qcal")]
        for path, statistics in zip(paths, (first, second)):
            path.write_bytes(statistics)
        return qonnx("merge", *map(str, paths))


if __name__ == "__main__":
    model, out, partitions = sys.argv[1:]
    names = sys.stdin.read().splitlines()
    spark = SparkSession.builder.appName("qonnx").getOrCreate()
    counted = spark.sparkContext.parallelize(names, int(partitions)).mapPartitions(lambda part: calibrate(model, part))
    Path(out).write_bytes(counted.treeReduce(merge))
    spark.stop()
