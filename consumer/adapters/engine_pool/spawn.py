"""Spawning an engine child: a fresh interpreter, never a fork of a worker that has threads."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from consumer.adapters.engine_pool.process_tree import MARKER_VARIABLE
from consumer.adapters.engine_pool.settings import EngineProcessSettings

_OF_WORKER: Final = re.compile(
    r"BACKTEST_|(OPENAI|ANTHROPIC|CLAUDE|GEMINI|GROQ|MISTRAL|COHERE|DEEPSEEK|OPENROUTER|TOGETHER|FIREWORKS|CEREBRAS"
    r"|XAI|PERPLEXITY|HUGGINGFACE|OLLAMA|LITELLM|VLLM|MOONSHOTAI|PYDANTIC_AI|AZURE_OPENAI|AWS_BEARER)_"
    r"|HF_TOKEN|.*_(API_KEY|API_TOKEN|AUTH_TOKEN)$",
    re.IGNORECASE,
)


def spawn_child(
    module: str,
    settings: EngineProcessSettings,
    socket_fd: int,
    output_fd: int,
    marker: str,
    more_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start `module` in a fresh interpreter, in a session of its own: a terminal's Ctrl-C is the worker's alone.

    more_fds: open in the child too, under the same numbers. Call it from a thread that lives as long as the worker: the
    kernel ends the child with the thread that made it.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(socket_fd), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=output_fd,
        pass_fds=(socket_fd, *more_fds),
        start_new_session=True,
        env=child_environment(settings, marker),
    )


def child_environment(settings: EngineProcessSettings, marker: str) -> dict[str, str]:
    """The worker's environment without its own settings and without what opens a language model's provider: neither
    the database's password nor a key is any business of a strategy's.
    """
    environment = {name: value for name, value in os.environ.items() if not _OF_WORKER.match(name)}
    threads = str(settings.threads)
    for name in (
        "POLARS_MAX_THREADS",
        "NUMBA_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
    ):
        environment[name] = threads
    environment[MARKER_VARIABLE] = marker
    # The title may not run over the environment, where the marker must stay readable.
    environment["SPT_NOENV"] = "1"
    environment.update(settings.environment)
    package_root = str(Path(__file__).parents[3])
    if package_root not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        searched = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([package_root, *([searched] if searched else [])])
    return environment
