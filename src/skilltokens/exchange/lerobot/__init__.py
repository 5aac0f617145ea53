"""Demonstrations from and to LeRobot's data sets, version 3.

    meta/info.json                  fps, features {name: {dtype, shape, names}}, totals, templates of paths, robot_type
    meta/stats.json                 of each feature min, max, mean, std, count and quantiles
    meta/tasks.parquet              task_index and the sentence
    meta/episodes/chunk-*/*.parquet where the rows and the pictures of each episode lie, its task, its statistics
    data/chunk-*/file-*.parquet     the rows of many episodes; a picture is the bytes of a PNG
    videos/KEY/chunk-*/file-*.mp4   the pictures of many episodes, one behind another
    meta/skilltokens.json           in our exports: all that the layout cannot express, and the digest of every file
    private/task-*.parquet          in our exports: features for tools alone (`types.SIMULATOR`)

Source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3, and lerobot 0.6.1, whose reader opens our exports.
LeRobot itself is not needed: pyarrow reads and writes tables, Pillow PNG, PyAV videos.
"""

from skilltokens.types import DemonstrationError

try:
    from skilltokens.exchange.lerobot.reading import import_lerobot, name_of
    from skilltokens.exchange.lerobot.writing import FileSizes, export_lerobot
except ImportError as problem:
    if (problem.name or "").startswith("skilltokens"):
        raise
    raise DemonstrationError(
        f'LeRobot data sets need {problem.name}: run `pip install "skilltokens[lerobot]"`'
    ) from problem

__all__ = ["FileSizes", "export_lerobot", "import_lerobot", "name_of"]
