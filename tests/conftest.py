"""What every test finds: one thread for each process, and no way to the user's store and figures."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

# Before torch is imported anywhere: several processes with spinning threads would slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["KDLIB_PROGRESS"] = "off"  # a slow machine would say more on stderr than a quick one
os.environ.pop("KDLIB_PRESET", None)

SCRATCH = Path(tempfile.mkdtemp(prefix="kdlib-tests-"))
os.environ["KDLIB_STORE"] = str(SCRATCH / "store")
os.environ["KDLIB_FIGURES"] = str(SCRATCH / "figures")


def pytest_configure(config):
    """A suite that was started in the background inherits a deaf ear for Ctrl-C; what it starts must hear it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config):
    shutil.rmtree(SCRATCH, ignore_errors=True)
