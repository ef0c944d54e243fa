"""Bring a Chromium for the tests of the page, where none is on PATH: Debian's, else the one that playwright brings."""

import os
import shutil
import subprocess
import sys

if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
    if shutil.which("apt-get") and os.getuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-qq", "--no-install-recommends", "chromium"], check=True)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"], check=True)
