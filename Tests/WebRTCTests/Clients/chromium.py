"""A headless Chromium with a folder of its own."""

import os
import shutil
import signal
import subprocess
import tempfile


class Chromium:
    def __init__(self, program):
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="chromium-")

    def open(self, url, *flags, size, **options):
        """Starts it; `size` is that of its window, "900,700"; `options` are those of the process."""
        self.process = subprocess.Popen(
            [
                self.program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-extensions", "--disable-background-networking", "--disable-component-update",
                f"--user-data-dir={self.folder}/profile", "--autoplay-policy=no-user-gesture-required",
                "--allow-loopback-in-peer-connection", f"--window-size={size}", *flags, url,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **options,
        )

    def wait(self, seconds=None):
        self.process.wait(seconds)

    def signal(self, number):
        """To all of its processes, if they live."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def end(self):
        self.signal(signal.SIGKILL)
        self.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
